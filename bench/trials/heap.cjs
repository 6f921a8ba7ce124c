'use strict';
// What waits must not be on the V8 heap: 400 sessions, 20,000 messages of 4.3 KB, nothing drained.

const { setImmediate: nextTurn, setTimeout: sleep } = require('node:timers/promises');
const { observe } = require('../observe.cjs');
const { toolCall } = require('../payload.cjs');
const { makeSessions } = require('../sessions.cjs');

const SESSIONS = 400;
const MESSAGES = 20_000;
const MESSAGE_BYTES = 4_300;
// So many enqueues are under way at a time; each is awaited, as a worker does before it answers its hook.
const WINDOW = 8;
const IDLE_MS = 2_000;

const MB = 1e6;

/** Bytes used on the V8 heap once everything unreachable is gone. */
async function settledHeap() {
  for (let round = 0; round < 5; round += 1) {
    globalThis.gc();
    await nextTurn();
  }
  return process.memoryUsage().heapUsed;
}

async function fill(queue, sessions, count) {
  for (let sent = 0; sent < count; sent += WINDOW) {
    const window = [];
    for (let index = sent; index < Math.min(sent + WINDOW, count); index += 1) {
      window.push(queue.enqueue(sessions[index % sessions.length], toolCall(MESSAGE_BYTES, index)));
    }
    await Promise.all(window);
    await nextTurn(); // requests arrive in turns of their own
  }
}

const wanted = { growth: { atMost: 1 }, delayP99: { above: 2, peer: 'idle' } };

module.exports = {
  title: `Heap: ${SESSIONS} sessions, ${MESSAGES.toLocaleString('en')} messages of ${MESSAGE_BYTES / 1000} KB, nothing drained`,
  accepts: (driver) => ['native', 'event-emitter', 'idle'].includes(driver.id),
  peer: 'idle',
  repetitions: 3,
  variants: [
    { title: 'default heap', nodeFlags: [], wanted },
    { title: '26 MB heap', nodeFlags: ['--max-old-space-size=26'], wanted },
  ],
  measures: {
    growth: { title: 'heapUsed after GC grows by', unit: 'MB' },
    rss: { title: 'resident memory grows by', unit: 'MB' },
    rate: { title: 'enqueues a second', unit: 'messages/s', better: 'more' },
    delayP99: { title: 'event-loop delay p99', unit: 'ms' },
  },

  async run(driver, { directory, quick }) {
    if (driver.provides.includes('idle')) {
      const { process: loop } = await observe(() => sleep(quick ? 20 : IDLE_MS));
      return { measures: { delayP99: loop.delayP99 }, process: loop };
    }
    const count = quick ? 40 : MESSAGES;
    const queue = await driver.open(directory);
    const sessions = await makeSessions(queue, quick ? 4 : SESSIONS);
    const heapBefore = await settledHeap();
    const rssBefore = process.memoryUsage().rss;
    const { ms, process: loop } = await observe(() => fill(queue, sessions, count));
    const heapAfter = await settledHeap();
    const measures = {
      growth: (heapAfter - heapBefore) / MB,
      rss: (process.memoryUsage().rss - rssBefore) / MB,
      rate: count / (ms / 1000),
      delayP99: loop.delayP99,
    };
    if (queue.depth() !== count) throw new Error(`${queue.depth()} of ${count} messages wait`);
    await queue.close();
    return { measures, process: loop };
  },
};
