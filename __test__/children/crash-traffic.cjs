'use strict';
// Does everything that writes, once and in a fixed order, and dies where CLAUDE_MEM_NATIVE_FAULT says:
// `node crash-traffic.cjs <directory>`. Says what it was promised, one JSON line each, in one synchronous write:
//   ["enqueued", marker] ["given", marker, attempts] ["committed", marker] ["dead", marker]
// and, before it asks for it, what may be gone from then on: ["purging", marker], ["retrying", marker].

const fs = require('node:fs');
const { setTimeout: sleep } = require('node:timers/promises');
const { openMemory } = require('../fault/index.cjs');
const { OPTIONS, STRANGER, observation } = require('./crash-options.cjs');

const say = (...seen) => fs.writeSync(1, `${JSON.stringify(seen)}\n`);

async function put(memory, session, ...markers) {
  for (const marker of markers) {
    await memory.queue.enqueue(session, { type: 'observation', prompt_number: 1, marker }, { dedupeKey: marker });
    say('enqueued', marker);
  }
}

async function next(consumer) {
  const { value: batch } = await consumer.next();
  for (const { marker, attempts } of batch.messages) say('given', marker, attempts);
  return batch;
}

async function commit(batch, left = batch.messages) {
  const markers = left.map(({ marker }) => marker);
  await batch.commit({ observations: markers.map(observation) });
  for (const marker of markers) say('committed', marker);
}

async function main() {
  const memory = await openMemory({ dataDir: process.argv[2], ...OPTIONS });
  const { queue, store } = memory;
  const session = await store.createSDKSession('claude', 'project', 'prompt');
  await put(memory, session, ...Array.from({ length: 10 }, (_, n) => `m${n}`));

  // A batch that fails and comes again, halved; one with a message that the caller sends away.
  let consumer = queue.consume(session, { maxBatch: 2, keepAlive: true });
  await (await next(consumer)).release({ error: 'on purpose', delayMs: 0 });
  await commit(await next(consumer));
  const mixed = await next(consumer);
  await mixed.deadLetter([mixed.messages[0].id], 'rejected');
  say('dead', mixed.messages[0].marker);
  await commit(mixed, mixed.messages.slice(1));
  consumer.dispose();

  // A lease that runs out, and a message that fails alone until it dies.
  const held = queue.consume(session, { maxBatch: 1, leaseMs: 30, keepAlive: true });
  const dies = (await next(held)).messages[0].marker;
  while (held.endReason === null) await sleep(5);
  consumer = queue.consume(session, { maxBatch: 1, keepAlive: true });
  for (let dead = []; dead.length === 0;)
    ({ deadLettered: dead } = await (await next(consumer)).release({ delayMs: 0 }));
  say('dead', dies);
  consumer.dispose();

  // Deliveries stop and go on; a session is purged; another is gone.
  await queue.pause(session, { reason: 'quota' });
  await queue.resume(session);
  const second = await store.createSDKSession('second', 'project', 'prompt');
  await put(memory, second, 'p0', 'p1');
  say('purging', 'p0');
  say('purging', 'p1');
  await queue.purge(second);
  await queue.consume(STRANGER, { idleTimeoutMs: 50, keepAlive: true }).next();
  const letters = await queue.deadLetters();
  const letter = (reason) => letters.find((dead) => dead.reason === reason).id;
  say('dead', 'stranger');
  say('purging', 'stranger');
  await queue.purgeDeadLetters({ ids: [letter('session-gone')] });
  say('retrying', mixed.messages[0].marker);
  await queue.retryDeadLetter(letter('rejected'));

  // The rest, and one whose claim is written with it.
  consumer = queue.consume(session, { maxBatch: 3, keepAlive: true });
  while (queue.depth(session) > 0) await commit(await next(consumer));
  const waiting = next(consumer);
  await put(memory, session, 'last');
  await commit(await waiting);
  consumer.dispose();

  // Acknowledged messages are purged once it is quiet, and their pages given back.
  while (queue.metrics().unpurged > 0) await sleep(50);
  await sleep(300);
  await memory.dispose();
}

main();
