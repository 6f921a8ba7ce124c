'use strict';
// How late the event loop is while a worker's queues fill and drain: undisturbed, while another process holds the
// write lock of claude-mem.db for 3 s, and with a single message of 50 MB.

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const path = require('node:path');
const { setTimeout: sleep, setImmediate: nextTurn } = require('node:timers/promises');
const { observe } = require('../observe.cjs');
const { betterSqlite3 } = require('../peers.cjs');
const { observation, toolCalls } = require('../payload.cjs');
const { makeSessions } = require('../sessions.cjs');

const SESSIONS = 400;
const EACH = 24;
// Messages a batch, as consume() has it where nobody says otherwise.
const BATCH = 8;
// So many requests arrive in a turn of the event loop.
const WINDOW = 8;
const LOCK_MS = 3_000;

const HUGE = 50_000_000;

/** Enqueues, as requests arrive: a few in each turn. */
async function fill(queue, sessions, messages) {
  for (let sent = 0; sent < messages.length; sent += WINDOW) {
    const window = messages.slice(sent, sent + WINDOW);
    await Promise.all(
      window.map((message, index) => queue.enqueue(sessions[(sent + index) % sessions.length], message)),
    );
    await nextTurn();
  }
}

/** Sixteen agents take what there is, session by session. */
async function drain(queue, sessions) {
  const waiting = [...sessions];
  const agent = async () => {
    for (let session = waiting.pop(); session !== undefined; session = waiting.pop()) {
      const consumer = queue.consumer(session, BATCH);
      for (let taken = 0; taken < EACH; taken += BATCH) {
        const batch = await consumer.next();
        if (batch.messages.length !== BATCH) throw new Error(`a batch of ${batch.messages.length} messages`);
        await nextTurn(); // the model's answer
        await consumer.commit(batch, [observation(1), observation(2), observation(3)]);
      }
      await consumer.close();
    }
  };
  await Promise.all(Array.from({ length: 16 }, agent));
}

/** Resolves once another process has the lock, with a function that waits for that process to end. */
async function lockFor(directory, ms) {
  const arguments_ = [path.join(__dirname, '../lock-holder.cjs'), path.join(directory, 'claude-mem.db'), String(ms)];
  const child = spawn(process.execPath, arguments_, { stdio: ['ignore', 'pipe', 'inherit'] });
  await once(child.stdout, 'data');
  const ended = once(child, 'exit');
  return () => ended;
}

const figures = (driver) => (driver.provides.includes('idle') ? 'idle' : 'queue');

async function run(driver, { directory, variant, quick }) {
  if (figures(driver) === 'idle') {
    const { process } = await observe(() => sleep(quick ? 20 : 2_000));
    return { measures: { p50: process.delayP50, p99: process.delayP99, max: process.delayMax }, process };
  }
  if (variant.locked && !betterSqlite3()) return null;
  const queue = await driver.open(directory);
  const sessions = await makeSessions(queue, quick ? 4 : SESSIONS);
  const messages = toolCalls(4_300, sessions.length * EACH);
  const work = {
    async normal() {
      await fill(queue, sessions, messages);
      await drain(queue, sessions);
    },
    async locked() {
      const released = await lockFor(directory, quick ? 50 : LOCK_MS);
      const first = sessions.slice(0, sessions.length / 2);
      await fill(queue, first, messages.slice(0, messages.length / 2));
      await drain(queue, first);
      await released();
    },
    async huge() {
      const text = Buffer.alloc(quick ? 100_000 : HUGE, 'x').latin1Slice();
      const [session] = sessions;
      await queue.enqueue(session, { type: 'observation', tool_name: 'Read', tool_input: '{}', tool_response: text });
      const consumer = queue.consumer(session, 1);
      const batch = await consumer.next();
      if (batch.messages[0].tool_name !== 'Read') throw new Error('another message came');
      await consumer.commit(batch, []);
      await consumer.close();
    },
  };
  const { process } = await observe(variant.locked ? work.locked : variant.huge ? work.huge : work.normal);
  await queue.close();
  return { measures: { p50: process.delayP50, p99: process.delayP99, max: process.delayMax }, process };
}

const within = { p99: { above: 2, peer: 'idle' } };

module.exports = {
  title: `Event-loop delay while ${SESSIONS} × ${EACH} messages of 4.3 KB are queued and drained`,
  accepts: (driver) =>
    driver.provides.includes('idle') ||
    ['native', 'better-sqlite3', 'node-sqlite', 'event-emitter'].includes(driver.id),
  peer: 'idle',
  repetitions: 3,
  variants: [
    { title: 'undisturbed', wanted: within },
    { title: 'another process holds the write lock for 3 s', locked: true, wanted: within },
    { title: 'one message of 50 MB', huge: true },
  ],
  measures: {
    p50: { title: 'delay p50', unit: 'ms' },
    p99: { title: 'delay p99', unit: 'ms' },
    max: { title: 'delay max', unit: 'ms' },
  },
  run,
};
