'use strict';
// Leaves one thing pending on an open memory and comes to its end: `node --expose-gc exit-natural.cjs <kind> <directory>`,
// with the test build where a fault is armed.

const { openMemory } = require(process.env.CLAUDE_MEM_NATIVE_FAULT ? '../fault/index.cjs' : '../..');
const { collectGarbage } = require('../runtime.cjs');

const [kind, dataDir] = process.argv.slice(2);
let memory;

const kinds = {
  consumer: (session) =>
    void memory.queue
      .consume(session)
      .next()
      .finally(() => console.log('settled')),
  ready: () =>
    void memory.queue
      .ready()
      .next()
      .finally(() => console.log('settled')),
  async 'kept consumer'(session) {
    const consumer = memory.queue.consume(session, { keepAlive: true, idleTimeoutMs: 300 });
    const { done } = await consumer.next();
    console.log(`done ${done}: ${consumer.endReason}`);
  },
  write: (session) =>
    void memory.queue.enqueue(session, { type: 'observation' }).then(({ id }) => console.log(`stored ${id > 0}`)),
  dispose: () => void memory.dispose().then(() => console.log('disposed')),
  async leased(session) {
    await memory.queue.enqueue(session, { type: 'observation' });
    const { value } = await memory.queue.consume(session).next();
    console.log(`holds ${value.messages.length}`);
  },
  async offered(session) {
    await memory.queue.enqueue(session, { type: 'observation' });
    const { value } = await memory.queue.ready().next();
    console.log(`offered ${value.depth}`);
  },
  // The end of a wait is on its way, and nothing else is alive.
  async disposed(session) {
    const [consumer, ready] = [memory.queue.consume(session), memory.queue.ready()];
    const ends = [consumer.next(), ready.next()];
    consumer.dispose();
    ready.dispose();
    await Promise.all(ends);
    const returning = [memory.queue.consume(session), memory.queue.ready()];
    const waits = returning.map((iterator) => iterator.next());
    await Promise.all(returning.map((iterator) => iterator.return()));
    await Promise.all(waits);
    console.log('told');
  },
  // What is over has nothing to wait for: the code behind a loop runs, however the loop has ended.
  async ended(session) {
    const [consumer, ready] = [memory.queue.consume(session), memory.queue.ready()];
    await memory.dispose();
    for await (const batch of consumer) console.log(batch);
    for await (const offer of ready) console.log(offer);
    console.log('behind the loops');
  },
  async garbage(session) {
    await memory.queue.enqueue(session, { type: 'observation' });
    memory = null;
    for (let i = 0; i < 5; i++) {
      collectGarbage();
      await new Promise((resolve) => setTimeout(resolve, 5));
    }
  },
};

async function main() {
  memory = await openMemory({ dataDir });
  await kinds[kind](await memory.store.createSDKSession('claude', 'project', 'prompt'));
}

main();
