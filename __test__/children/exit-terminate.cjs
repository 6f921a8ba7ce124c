'use strict';
// Ends worker_threads threads that have a memory open and busy, again and again, and takes the directory over from the
// main thread: `node exit-terminate.cjs <directory> <rounds> <terminate | exit>`.

const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads');
const { openMemory } = require('../..');

const OPTIONS = { maxAttempts: 100, backoffBaseMs: 1, backoffMaxMs: 2, maxSessionMessages: 1_000_000 };

async function rounds(dataDir, count, how) {
  const counts = new Int32Array(new SharedArrayBuffer(8)); // acknowledged, sent
  let longest = 0;
  for (let round = 0; round < count; round++) {
    const worker = new Worker(__filename, { workerData: { dataDir, how, round, counts } });
    const failed = new Promise((_, reject) => worker.on('error', reject));
    const exited = new Promise((resolve) => worker.on('exit', resolve));
    // Some are ended while they are still opening.
    if (round % 5 !== 4) await Promise.race([new Promise((resolve) => worker.once('message', resolve)), failed]);
    await new Promise((resolve) => setTimeout(resolve, (round * 7) % 40));
    if (how === 'terminate' || round % 5 === 4) await worker.terminate();
    else await exited;
    const since = performance.now();
    const memory = await openMemory({ dataDir, ...OPTIONS });
    longest = Math.max(longest, performance.now() - since);
    const { observations } = await memory.store.getStats();
    const found = memory.queue.depth() + observations;
    const [acknowledged, sent] = [Atomics.load(counts, 0), Atomics.load(counts, 1)];
    if (found < acknowledged || found > sent)
      throw new Error(`round ${round}: ${found} found, ${acknowledged} acknowledged, ${sent} sent`);
    const { handles } = await memory.health();
    if (handles.memories !== 1) throw new Error(`round ${round}: ${handles.memories} memories are open`);
    await memory.dispose();
  }
  if (Atomics.load(counts, 0) < 10 * count) throw new Error('hardly anything was enqueued');
  console.log(`${count} rounds, ${Atomics.load(counts, 0)} acknowledged, next open within ${longest.toFixed(0)} ms`);
}

async function traffic({ dataDir, how, round, counts }) {
  const memory = await openMemory({ dataDir, ...OPTIONS });
  const sessions = [];
  for (let i = 0; i < 3; i++) sessions.push(await memory.store.createSDKSession(`claude-${i}`, 'project', 'prompt'));
  const produce = async (session) => {
    for (;;) {
      const burst = Array.from({ length: 20 }, () => {
        Atomics.add(counts, 1, 1);
        return memory.queue
          .enqueue(session, { type: 'observation', text: 'x'.repeat(500) })
          .then(() => Atomics.add(counts, 0, 1));
      });
      await Promise.all(burst);
    }
  };
  const consume = async (session) => {
    for await (const batch of memory.queue.consume(session, { keepAlive: true })) {
      await batch.commit({
        observations: batch.messages.map(({ id }) => ({ type: 'discovery', title: `${id}`, facts: [], concepts: [] })),
      });
    }
  };
  const read = async () => {
    for (;;) await memory.store.getStats();
  };
  for (const session of sessions) produce(session);
  consume(sessions[0]);
  consume(sessions[1]);
  read();
  memory.queue.ready().next();
  parentPort.postMessage('busy');
  if (how === 'exit') setTimeout(() => process.exit(0), (round * 7) % 40);
}

if (isMainThread) rounds(process.argv[2], Number(process.argv[3]), process.argv[4]);
else traffic(workerData);
