'use strict';
// A claim of 50 messages while 20,000 wait.

const { observe } = require('../observe.cjs');
const { toolCalls } = require('../payload.cjs');
const { makeSessions } = require('../sessions.cjs');
const { median } = require('../statistics.cjs');

const CLAIMS = 100;

module.exports = {
  title: 'A claim of 50 out of 20,000 messages of 4.3 KB',
  accepts: (driver) => driver.provides.includes('claims'),
  peer: 'better-sqlite3',
  variants: [{ title: '' }],
  measures: { claim: { title: 'until the messages are there', unit: 'µs', wanted: { faster: 6 } } },
  async run(driver, { directory, quick }) {
    const queue = await driver.open(directory);
    const sessions = await makeSessions(queue, quick ? 4 : 400);
    await queue.enqueueAll(sessions, toolCalls(4_300, sessions.length * 50));
    const { result, process } = await observe(async () => {
      const times = [];
      for (const session of sessions.slice(0, CLAIMS)) {
        const consumer = queue.consumer(session, 50);
        const startedAt = performance.now();
        const { messages } = await consumer.next();
        times.push((performance.now() - startedAt) * 1_000);
        if (messages.length !== 50) throw new Error(`a claim of ${messages.length} messages`);
        await consumer.close();
      }
      return median(times);
    });
    await queue.close();
    return { measures: { claim: result }, process };
  },
};
