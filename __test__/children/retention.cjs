'use strict';
// `node retention.cjs <directory>`: a session is worked off, ends and is old enough to go, with a fault in
// CLAUDE_MEM_NATIVE_FAULT.

const fs = require('node:fs');
const { openMemory } = require('../fault/index.cjs');

async function main() {
  const memory = await openMemory({ dataDir: process.argv[2] });
  const { sessionDbId } = await memory.store.beginPrompt('claude', 'p', 'prompt');
  for (let n = 0; n < 3; n++)
    await memory.queue.enqueue(sessionDbId, { type: 'observation', secret: n }, { dedupeKey: `key ${n}` });
  const { value: batch } = await memory.queue.consume(sessionDbId, { keepAlive: true }).next();
  await batch.commit({ observations: [{ type: 'change', title: 'title' }] });
  await memory.queue.pause(sessionDbId, { reason: 'for good' });
  await memory.store.markSessionCompleted(sessionDbId);
  await memory.sessions.delete(sessionDbId);
  await new Promise((resolve) => setTimeout(resolve, 20));
  fs.writeSync(1, 'begun');
  const { sessions } = await memory.retention({ olderThan: Date.now() });
  fs.writeSync(1, ` ended ${sessions}`);
  await memory.dispose();
}

main();
