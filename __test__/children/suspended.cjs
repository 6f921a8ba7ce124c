'use strict';
// Holds a batch under a short lease while its parent suspends it; then does what a line on standard input says:
// `commit` (the batch that it holds), `rest` (everything else, with a new consumer), `end`.

const fs = require('node:fs');
const { createInterface } = require('node:readline');
const { openMemory } = require('../..');

const say = (...seen) => fs.writeSync(1, `${JSON.stringify(seen)}\n`);
const given = (batch) =>
  say(
    'given',
    batch.messages.map(({ marker }) => marker),
    batch.messages.map(({ attempts }) => attempts),
  );

async function commit(batch) {
  const observations = batch.messages.map(({ marker }) => ({ type: 'discovery', title: marker }));
  try {
    say('committed', (await batch.commit({ observations })).depth);
  } catch (error) {
    say('rejected', error.code);
  }
}

async function main() {
  // The backoff is long enough for a commit that comes at once, and short enough to wait for.
  const memory = await openMemory({ dataDir: process.argv[2], backoffBaseMs: 1_000, backoffMaxMs: 1_000 });
  const session = await memory.store.createSDKSession('claude', 'project', 'prompt');
  for (const marker of ['a', 'b']) await memory.queue.enqueue(session, { type: 'observation', marker });
  const holder = memory.queue.consume(session, { maxBatch: 1, leaseMs: 300, keepAlive: true });
  const { value: held } = await holder.next();
  const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  given(held);
  for (;;) {
    const { value: order } = await lines.next();
    if (order === 'commit') {
      await commit(held);
      holder.dispose();
    }
    if (order === 'end') break;
    if (order !== 'rest') continue;
    while (holder.endReason === null) await new Promise((resolve) => setTimeout(resolve, 10));
    const consumer = memory.queue.consume(session, { maxBatch: 1, keepAlive: true });
    while (memory.queue.depth(session) > 0) {
      const { value: batch } = await consumer.next();
      given(batch);
      await commit(batch);
    }
    consumer.dispose();
  }
  await memory.dispose();
  process.stdin.destroy();
}

main();
