'use strict';
// `node backup-crash.cjs backup|restore <directory> <folder>`, with the point at which it dies in
// CLAUDE_MEM_NATIVE_FAULT.

const { openMemory, restore } = require('../fault/index.cjs');

const [command, dataDir, folder] = process.argv.slice(2);

async function main() {
  if (command === 'restore') return restore(folder, dataDir, { overwrite: true });
  const memory = await openMemory({ dataDir });
  await memory.backup(folder);
  return memory.dispose();
}

main();
