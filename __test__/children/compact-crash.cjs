'use strict';
// `node compact-crash.cjs <directory>`, with the point at which it dies in CLAUDE_MEM_NATIVE_FAULT.

const { openMemory } = require('../fault/index.cjs');

async function main() {
  const memory = await openMemory({ dataDir: process.argv[2], indexing: 'manual' });
  await memory.compact();
  return memory.dispose();
}

main();
