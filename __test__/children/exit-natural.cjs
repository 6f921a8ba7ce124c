'use strict';
// Leaves one thing pending on an open memory and comes to its end: `node --expose-gc exit-natural.cjs <kind> <directory>`.

const { openMemory } = require('../..');

const [kind, dataDir] = process.argv.slice(2);
let memory;

const kinds = {
  consumer: (session) => void memory.queue.consume(session).next().finally(() => console.log('settled')),
  ready: () => void memory.queue.ready().next().finally(() => console.log('settled')),
  async 'kept consumer'(session) {
    const consumer = memory.queue.consume(session, { keepAlive: true, idleTimeoutMs: 300 });
    const { done } = await consumer.next();
    console.log(`done ${done}: ${consumer.endReason}`);
  },
  write: (session) => void memory.queue.enqueue(session, { type: 'observation' }).then(({ id }) => console.log(`stored ${id > 0}`)),
  dispose: () => void memory.dispose().then(() => console.log('disposed')),
  async leased(session) {
    await memory.queue.enqueue(session, { type: 'observation' });
    const { value } = await memory.queue.consume(session).next();
    console.log(`holds ${value.messages.length}`);
  },
  async garbage(session) {
    await memory.queue.enqueue(session, { type: 'observation' });
    memory = null;
    for (let i = 0; i < 5; i++) {
      globalThis.gc();
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  },
};

async function main() {
  memory = await openMemory({ dataDir });
  await kinds[kind](await memory.store.createSDKSession('claude', 'project', 'prompt'));
}

main();
