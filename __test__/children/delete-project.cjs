'use strict';
// `node delete-project.cjs <directory>`: fills a project and deletes it, with a fault in CLAUDE_MEM_NATIVE_FAULT.

const fs = require('node:fs');
const { openMemory } = require('../fault/index.cjs');

async function main() {
  const memory = await openMemory({ dataDir: process.argv[2] });
  for (let n = 0; n < 3; n++) {
    const { sessionDbId } = await memory.store.beginPrompt(`claude-${n}`, 'p', 'prompt');
    await memory.store.storeObservation(`claude-${n}`, 'p', { type: 'change', title: 'title' });
    await memory.store.storeSummary(`claude-${n}`, 'p', { request: 'request' });
    await memory.queue.enqueue(sessionDbId, { type: 'observation' }, { dedupeKey: 'key' });
    await memory.queue.enqueue(sessionDbId, { type: 'observation' });
    if (n === 0) {
      const { value: batch } = await memory.queue.consume(sessionDbId, { maxBatch: 1, keepAlive: true }).next();
      await batch.deadLetter([batch.messages[0].id], 'on purpose');
    }
  }
  fs.writeSync(1, 'begun');
  await memory.deleteProject('p');
  fs.writeSync(1, ' ended');
  await memory.dispose();
}

main();
