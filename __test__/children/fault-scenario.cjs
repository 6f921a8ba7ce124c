'use strict';
// What a caller sees of a fault: `node fault-scenario.cjs <scenario> <directory>`, with the fault in
// CLAUDE_MEM_NATIVE_FAULT. Prints one line of JSON an observation, each in one synchronous write.

const fs = require('node:fs');
const { openMemory } = require('../fault/index.cjs');

const [scenario, dataDir] = process.argv.slice(2);
const OPTIONS = { dataDir, backoffBaseMs: 1, backoffMaxMs: 2, lockWaitMs: 2_000 };

const say = (seen) => fs.writeSync(1, `${JSON.stringify(seen)}\n`);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const row = (title) => ({ type: 'discovery', title, facts: [], concepts: [] });

/** `ok`, or the error's code; what settles never is reported as that. */
function outcome(promise) {
  let timer;
  const never = new Promise((resolve) => (timer = setTimeout(resolve, 20_000, 'never settled')));
  const settled = promise.then(
    () => 'ok',
    (error) => error.code,
  );
  return Promise.race([settled, never]).finally(() => clearTimeout(timer));
}

const scenarios = {
  /** Each command panics once, and works the second time. */
  async commands(memory, session) {
    const twice = async (name, call) => say([name, await outcome(call()), await outcome(call())]);
    await twice('enqueue', () => memory.queue.enqueue(session, { type: 'observation' }));
    await twice('read', () => memory.store.getObservationById(1));
    await twice('write', () => memory.store.storeObservation('claude', 'project', row('stored')));
    const consumer = memory.queue.consume(session, { keepAlive: true });
    say(['claim', await outcome(consumer.next())]);
    const { value: batch } = await consumer.next();
    await twice('release', () => batch.release({ delayMs: 0, countAttempt: false }));
    const { value: again } = await consumer.next();
    await twice('commit', () => again.commit({ observations: [row('committed')] }));
    say(['depth', memory.queue.depth()]);
    say(['stored', (await memory.store.getStats()).observations]);
    say(['status', (await memory.health()).status]);
  },

  /** A writer's own thread dies: what it answers from then on, and what goes on beside it. */
  async thread(memory, session) {
    say(['enqueue', await outcome(memory.queue.enqueue(session, { type: 'observation' }))]);
    say(['enqueue later', await outcome(memory.queue.enqueue(session, { type: 'observation' }))]);
    const consumer = memory.queue.consume(session, { keepAlive: true, idleTimeoutMs: 200 });
    const next = consumer.next();
    say(['next', await outcome(next)]);
    const batch = await next.then(({ value }) => value).catch(() => null);
    if (batch) say(['commit', await outcome(batch.commit({ observations: [row('committed')] }))]);
    if (batch) say(['commit later', await outcome(batch.commit({ observations: [row('committed')] }))]);
    say(['write', await outcome(memory.store.storeObservation('claude', 'project', row('stored')))]);
    say(['read', await outcome(memory.store.getStats())]);
    const { status, reasons } = await memory.health();
    say(['health', status, reasons.some((reason) => reason.includes('thread failed'))]);
  },

  /** The clock's turn panics with an idle timeout, a backoff, a lease and a pause due. */
  async clock(memory, session) {
    const consumer = memory.queue.consume(session, { keepAlive: true, idleTimeoutMs: 100 });
    say(['idle', (await consumer.next()).done, consumer.endReason]);
    await memory.queue.enqueue(session, { type: 'observation' });
    const holder = memory.queue.consume(session, { leaseMs: 100, keepAlive: true });
    const { value: batch } = await holder.next();
    while (holder.endReason === null) await pause(10);
    say(['lease', holder.endReason]);
    await memory.queue.pause(null, { untilEpoch: Date.now() + 200 });
    const { value: ready } = await memory.queue.ready({ keepAlive: true }).next();
    say(['resumed', ready.sessionDbId === session]);
    const { value: again } = await memory.queue.consume(session, { keepAlive: true }).next();
    say(['again', again.messages[0].id === batch.messages[0].id, again.messages[0].attempts]);
    await again.commit();
    const { status, reasons } = await memory.health();
    say(['health', status, reasons.some((reason) => reason.includes('clock failed'))]);
  },

  /** A process that dies somewhere in here. */
  async traffic(memory, session) {
    const put = async (from, to) => {
      for (let n = from; n < to; n++) {
        await memory.queue.enqueue(session, { type: 'observation', marker: `m${n}` }, { dedupeKey: `${n}` });
        say(['E', `m${n}`]);
      }
    };
    await put(0, 12);
    const consumer = memory.queue.consume(session, { maxBatch: 2, keepAlive: true });
    const first = await consumer.next();
    await first.value.release({ error: 'on purpose', delayMs: 0 });
    for (let left = 12; left > 0;) {
      const { value: batch } = await consumer.next();
      const markers = batch.messages.map(({ marker }) => marker);
      if (markers.includes('m7')) {
        await batch.deadLetter([batch.messages[markers.indexOf('m7')].id], 'poisonous');
        markers.splice(markers.indexOf('m7'), 1);
        say(['D', 'm7']);
        left--;
      }
      await batch.commit({ observations: markers.map(row) });
      for (const marker of markers) say(['C', marker]);
      left -= markers.length;
    }
    const waiting = consumer.next();
    await put(12, 14);
    await waiting;
    // Long enough for acknowledged messages to be purged.
    await pause(4_000);
  },
};

async function main() {
  if (scenario === 'open') {
    say(['open', await outcome(openMemory(OPTIONS))]);
    const memory = await openMemory(OPTIONS);
    say(['open again', (await memory.health()).handles.memories]);
    return memory.dispose();
  }
  const memory = await openMemory(OPTIONS);
  const session = await memory.store.createSDKSession('claude', 'project', 'prompt');
  if (scenario !== 'dispose') await scenarios[scenario](memory, session);
  else await memory.queue.enqueue(session, { type: 'observation' });
  const disposed = memory.dispose();
  say(['dispose', await outcome(disposed), await outcome(memory.dispose())]);
  const next = await openMemory(OPTIONS);
  say(['next owner', next.queue.depth(), (await next.store.getStats()).observations]);
  await next.dispose();
}

main();
