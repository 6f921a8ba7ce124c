'use strict';
// One durable enqueue after the other, each awaited.

const { observe } = require('../observe.cjs');
const { toolCalls } = require('../payload.cjs');
const { makeSessions } = require('../sessions.cjs');
const { median } = require('../statistics.cjs');

const MESSAGES = 3_000;

module.exports = {
  title: 'One enqueue of 4 KB after the other',
  accepts: (driver) => driver.provides.includes('queue'),
  peer: 'better-sqlite3',
  variants: [{ title: '' }],
  measures: {
    rate: { title: 'enqueues a second', unit: 'messages/s', better: 'more' },
    latency: { title: 'median latency', unit: 'µs' },
  },
  async run(driver, { directory, quick }) {
    const queue = await driver.open(directory);
    const [session] = await makeSessions(queue, 1);
    const messages = toolCalls(4_000, quick ? 20 : MESSAGES);
    const { result, ms, process } = await observe(async () => {
      const times = [];
      for (const message of messages) {
        const startedAt = performance.now();
        await queue.enqueue(session, message);
        times.push((performance.now() - startedAt) * 1_000);
      }
      return median(times);
    });
    await queue.close();
    return { measures: { rate: messages.length / (ms / 1_000), latency: result }, process };
  },
};
