'use strict';
// The whole way of a message: 400 sessions × 50 messages of 4.3 KB are enqueued, then each session's are claimed at
// once and committed with three observations. What is written is counted until the files are purged and closed.

const { bytesWritten, observe } = require('../observe.cjs');
const { observation, toolCalls } = require('../payload.cjs');
const { makeSessions } = require('../sessions.cjs');

const SESSIONS = 400;
const EACH = 50;
// So many sessions are drained at a time, as a worker has agents.
const AT_A_TIME = 16;

module.exports = {
  title: `Enqueue, claim ${EACH}, commit with three observations: ${SESSIONS} sessions × ${EACH} messages of 4.3 KB`,
  accepts: (driver) => driver.provides.includes('claims'),
  peer: 'better-sqlite3',
  variants: [{ title: '' }],
  measures: {
    rate: { title: 'whole cycles a second', unit: 'messages/s', better: 'more', wanted: { faster: 3.5 } },
    written: { title: 'written a message', unit: 'bytes', wanted: { faster: 4 } },
  },
  async run(driver, { directory, quick }) {
    const count = quick ? 4 : SESSIONS;
    const queue = await driver.open(directory);
    const sessions = await makeSessions(queue, count);
    const messages = toolCalls(4_300, count * EACH);
    const answers = Array.from({ length: 64 }, (_, seed) => observation(seed));
    const writtenBefore = bytesWritten();
    const { ms, process } = await observe(async () => {
      await queue.enqueueAll(sessions, messages);
      const waiting = [...sessions];
      const drain = async () => {
        for (let session = waiting.pop(); session !== undefined; session = waiting.pop()) {
          const consumer = queue.consumer(session, EACH);
          const batch = await consumer.next();
          if (batch.messages.length !== EACH) throw new Error(`a batch of ${batch.messages.length} messages`);
          const seed = session % 60;
          await consumer.commit(batch, answers.slice(seed, seed + 3));
          await consumer.close();
        }
      };
      await Promise.all(Array.from({ length: AT_A_TIME }, drain));
    });
    if (queue.depth() !== 0) throw new Error(`${queue.depth()} messages are left`);
    await queue.settled();
    await queue.close();
    const written = bytesWritten();
    return {
      measures: {
        rate: messages.length / (ms / 1_000),
        ...(written === null ? {} : { written: (written - writtenBefore) / messages.length }),
      },
      process,
    };
  },
};
