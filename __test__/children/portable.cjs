'use strict';
// `node portable.cjs exportTo|importFrom <directory> <file>`, with a fault in CLAUDE_MEM_NATIVE_FAULT.

const fs = require('node:fs');
const { openMemory } = require('../fault/index.cjs');

const [method, dataDir, file] = process.argv.slice(2);

async function main() {
  const memory = await openMemory({ dataDir });
  fs.writeSync(1, 'begun');
  await memory[method](file);
  fs.writeSync(1, ' ended');
}

main();
