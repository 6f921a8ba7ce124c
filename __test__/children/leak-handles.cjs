'use strict';
// Rounds of handles; prints what is left of them as one line of JSON:
// `node --expose-gc leak-handles.cjs <kind> <rounds> <directory>`.

const fs = require('node:fs');
const { openMemory } = require('../..');
const { collectGarbage, countThreads } = require('../runtime.cjs');

const [kind, rounds, dataDir] = [process.argv[2], Number(process.argv[3]), process.argv[4]];
/** What the first rounds allocate for good: compiled code, statement caches, arenas of the allocator. */
const WARM_UP = Math.max(50, rounds / 10);
const OPTIONS = { dataDir, sessionTtlMs: 3_600_000 };

let memory;
let session;

const kinds = {
  async memories() {
    const opened = await openMemory(OPTIONS);
    await opened.queue.enqueue(session, { type: 'observation', text: 'x'.repeat(500) });
    const consumer = opened.queue.consume(session);
    const { value: batch } = await consumer.next();
    await batch.commit();
    await opened.store.getSessionById(session);
    await opened.sessions.initialize(session);
    await opened.dispose();
  },
  // The last one keeps the round's handles open: the memory takes them along.
  async 'memories with open handles'() {
    const opened = await openMemory(OPTIONS);
    const consumer = opened.queue.consume(session);
    await opened.queue.enqueue(session, { type: 'observation' }, { dedupeKey: 'one for all' });
    const batch = (await consumer.next()).value;
    const ended = opened.queue.ready().next();
    await opened.dispose();
    if (!(await ended).done || !(await consumer.next()).done) throw new Error('a wait outlived its memory');
    await batch.commit().then(
      () => Promise.reject(new Error('a batch outlived its memory')),
      (error) => error.code === 'ERR_DISPOSED' || Promise.reject(error),
    );
  },
  async consumers() {
    const consumer = memory.queue.consume(session);
    const ended = consumer.next();
    consumer.dispose();
    if (!(await ended).done) throw new Error('a disposed consumer goes on');
  },
  async batches() {
    await memory.queue.enqueue(session, { type: 'observation', text: 'x'.repeat(20_000) });
    const consumer = memory.queue.consume(session);
    const { value: batch } = await consumer.next();
    if (batch.messages[0].text.length !== 20_000) throw new Error('not what was enqueued');
    await batch.commit();
    batch.dispose();
    consumer.dispose();
  },
  async 'iterators of ready sessions'() {
    const ready = memory.queue.ready();
    const ended = ready.next();
    ready.dispose();
    if (!(await ended).done) throw new Error('a disposed iterator goes on');
  },
};

const count = (directory) => (fs.existsSync(directory) ? fs.readdirSync(directory).length : null);

async function sample() {
  // Threads say their last word a moment before they are gone, and memory is given back by steps.
  for (let i = 0; i < 10; i++) {
    collectGarbage();
    await new Promise((resolve) => setTimeout(resolve, 30));
  }
  const { heapUsed, rss } = process.memoryUsage();
  return { heapUsed, rss, descriptors: count('/proc/self/fd'), threads: countThreads() };
}

async function main() {
  const opened = await openMemory(OPTIONS);
  session = await opened.store.createSDKSession('claude', 'project', 'prompt');
  if (kind.startsWith('memories')) await opened.dispose();
  else memory = opened;
  for (let i = 0; i < WARM_UP; i++) await kinds[kind]();
  const before = await sample();
  const startedAt = performance.now();
  for (let i = 0; i < rounds; i++) await kinds[kind]();
  const seconds = (performance.now() - startedAt) / 1e3;
  const after = await sample();
  memory ??= await openMemory(OPTIONS);
  const { handles } = await memory.health();
  await memory.dispose();
  console.log(JSON.stringify({ before, after, handles, seconds }));
}

main();
