'use strict';
// `node merge-crash.cjs <directory>`: merges the segments of the text indexes, with the point at which it dies in
// CLAUDE_MEM_NATIVE_FAULT.

const { openMemory } = require('../fault/index.cjs');
const { OPTIONS } = require('./merge-options.cjs');

async function main() {
  const memory = await openMemory({ dataDir: process.argv[2], ...OPTIONS, indexing: 'manual' });
  await memory.vectors.sync().result;
  return memory.dispose();
}

main();
