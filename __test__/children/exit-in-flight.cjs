'use strict';
// Ends by process.exit with thousands of promises in flight: `node exit-in-flight.cjs <directory> <ms | at-once>`. Prints
// how many enqueues were acknowledged before.

const fs = require('node:fs');
const { openMemory } = require('../..');

const [dataDir, when] = process.argv.slice(2);

async function main() {
  const memory = await openMemory({ dataDir, maxSessionMessages: 100_000 });
  const session = await memory.store.createSDKSession('claude', 'project', 'prompt');
  const waiting = await memory.store.createSDKSession('waiting', 'project', 'prompt');
  let acknowledged = 0;
  process.on('exit', () => fs.writeSync(1, String(acknowledged)));
  for (let i = 0; i < 6_000; i++) {
    memory.queue.enqueue(session, { type: 'observation', n: i, text: 'x'.repeat(1_000) }).then(() => acknowledged++);
    if (i % 10 === 0) memory.store.getStats();
    if (i % 100 === 0)
      memory.store.storeObservation('claude', 'project', {
        type: 'discovery',
        title: `row ${i}`,
        facts: [],
        concepts: [],
      });
  }
  memory.queue.consume(waiting).next();
  memory.queue.ready().next();
  memory.health();
  if (when === 'at-once') process.exit(0);
  if (when === 'disposing') {
    memory.dispose();
    process.exit(0);
  }
  setTimeout(() => process.exit(0), Number(when));
}

main();
