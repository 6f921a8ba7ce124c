'use strict';
// What waits must not be on the V8 heap: 400 sessions, 20,000 messages of 4.3 KB, nothing drained.

const { setImmediate: nextTurn, setTimeout: sleep } = require('node:timers/promises');
const { withEventLoopDelay } = require('../event-loop-delay.cjs');
const { toolCall } = require('../payload.cjs');

const SESSIONS = 400;
const MESSAGES = 20_000;
const MESSAGE_BYTES = 4_300;
// So many enqueues are under way at a time; each is awaited, as a worker does before it answers its hook.
const WINDOW = 8;
const IDLE_MS = 3_000;

const MB = 1e6;

/** Bytes used on the V8 heap once everything unreachable is gone. */
async function settledHeap() {
  for (let round = 0; round < 5; round += 1) {
    globalThis.gc();
    await nextTurn();
  }
  return process.memoryUsage().heapUsed;
}

async function fill(queue, sessions) {
  for (let sent = 0; sent < MESSAGES; sent += WINDOW) {
    const window = [];
    for (let index = sent; index < Math.min(sent + WINDOW, MESSAGES); index += 1) {
      window.push(queue.enqueue(sessions[index % SESSIONS], toolCall(MESSAGE_BYTES, index)));
    }
    await Promise.all(window);
    await nextTurn(); // requests arrive in turns of their own
  }
}

async function run(driver, directory) {
  if (driver.provides.includes('idle')) {
    const { delay } = await withEventLoopDelay(() => sleep(IDLE_MS));
    return { delayP50: delay.p50, delayP99: delay.p99, delayMax: delay.max };
  }
  const queue = await driver.open(directory);
  const sessions = [];
  for (let index = 0; index < SESSIONS; index += 1) sessions.push(await queue.createSession(`session-${index}`));
  const heapBefore = await settledHeap();
  const rssBefore = process.memoryUsage().rss;

  const startedAt = performance.now();
  const { delay } = await withEventLoopDelay(() => fill(queue, sessions));
  const elapsedMs = performance.now() - startedAt;

  const heapAfter = await settledHeap();
  const figures = {
    waiting: queue.depth(),
    heapBefore,
    heapAfter,
    heapGrowth: heapAfter - heapBefore,
    rssGrowth: process.memoryUsage().rss - rssBefore,
    messagesPerSecond: MESSAGES / (elapsedMs / 1000),
    delayP50: delay.p50,
    delayP99: delay.p99,
    delayMax: delay.max,
  };
  await queue.close();
  return figures;
}

const megabytes = (bytes) => (bytes / MB).toFixed(2);
const milliseconds = (ms) => ms.toFixed(2);

module.exports = {
  title: `heap: ${SESSIONS} sessions, ${MESSAGES} messages of ${MESSAGE_BYTES / 1000} KB, nothing drained`,
  accepts: (driver) => driver.provides.includes('queue') || driver.provides.includes('idle'),
  variants: [
    { title: 'default heap', nodeFlags: [] },
    { title: '26 MB heap', nodeFlags: ['--max-old-space-size=26'] },
  ],
  columns: [
    { heading: 'driver', key: 'driver' },
    { heading: 'variant', key: 'variant' },
    { heading: 'waiting', key: 'waiting' },
    { heading: 'heap before MB', key: 'heapBefore', format: megabytes },
    { heading: 'after MB', key: 'heapAfter', format: megabytes },
    { heading: 'growth MB', key: 'heapGrowth', format: megabytes },
    { heading: 'rss growth MB', key: 'rssGrowth', format: megabytes },
    { heading: 'messages/s', key: 'messagesPerSecond', format: (rate) => rate.toFixed(0) },
    { heading: 'loop delay p50 ms', key: 'delayP50', format: milliseconds },
    { heading: 'p99 ms', key: 'delayP99', format: milliseconds },
    { heading: 'max ms', key: 'delayMax', format: milliseconds },
  ],

  /** The figures against what is wanted of them. */
  notes(cells) {
    const figuresOf = (driver, variant) =>
      cells.find((cell) => cell.driver === driver && cell.variant === variant)?.figures;
    return this.variants.flatMap(({ title }) => {
      const native = figuresOf('native', title);
      const idle = figuresOf('idle', title);
      if (!native) return [];
      const notes = [
        `${title}: heapUsed grew by ${megabytes(native.heapGrowth)} MB; wanted at most 1 MB: ${native.heapGrowth <= MB ? 'met' : 'NOT MET'}.`,
      ];
      if (idle) {
        const difference = native.delayP99 - idle.delayP99;
        notes.push(
          `${title}: event-loop delay p99 is ${milliseconds(difference)} ms above an idle process; wanted at most 2 ms: ${difference <= 2 ? 'met' : 'NOT MET'}.`,
        );
      }
      return notes;
    });
  },

  run,
};
