'use strict';
// 1,000,000 messages wait in a process whose old generation may hold 26 MB.

const { setImmediate: nextTurn } = require('node:timers/promises');
const { observe } = require('../observe.cjs');
const { toolCalls } = require('../payload.cjs');
const { makeSessions } = require('../sessions.cjs');

const MESSAGES = 1_000_000;
const WINDOW = 1_000;

module.exports = {
  title: '1,000,000 messages of 300 bytes, nothing drained, --max-old-space-size=26',
  accepts: (driver) => ['native', 'event-emitter'].includes(driver.id),
  repetitions: 1,
  variants: [{ title: '', nodeFlags: ['--max-old-space-size=26'] }],
  measures: {
    waiting: { title: 'messages waiting at the end', unit: 'messages', better: 'more', wanted: { atLeast: MESSAGES } },
    heap: { title: 'largest heapUsed', unit: 'MB', wanted: { atMost: 26 } },
    rss: { title: 'resident memory at the end', unit: 'MB' },
    rate: { title: 'enqueues a second', unit: 'messages/s', better: 'more' },
  },
  async run(driver, { directory, quick }) {
    const count = quick ? 2_000 : MESSAGES;
    const bounds = { maxSessionMessages: 10_000_000, maxSessionBytes: 2 ** 32, maxQueueBytes: 2 ** 34 };
    const queue = await driver.open(directory, bounds);
    const sessions = await makeSessions(queue, quick ? 4 : 400);
    const different = toolCalls(300, 128);
    const { ms, process: loop } = await observe(async () => {
      for (let sent = 0; sent < count; sent += WINDOW) {
        // Fresh objects, as from requests.
        const window = Array.from({ length: WINDOW }, (_, index) => ({ ...different[(sent + index) % 128] }));
        await queue.enqueueAll(sessions, window);
        await nextTurn();
      }
    });
    const measures = {
      waiting: queue.depth(),
      heap: loop.heapPeak / 1e6,
      rss: process.memoryUsage().rss / 1e6,
      rate: count / (ms / 1_000),
    };
    await queue.close();
    return { measures, process: loop };
  },
};
