'use strict';
// A consumer that waits: the time from the acknowledgement of an enqueue to the message in JavaScript, fresh and
// after 5,000 waits.

const { setImmediate: nextTurn } = require('node:timers/promises');
const { observe } = require('../observe.cjs');
const { toolCall } = require('../payload.cjs');
const { median } = require('../statistics.cjs');

const WAITS = 5_000;
const SAMPLE = 300;

module.exports = {
  title: 'Waking a consumer that waits',
  accepts: (driver) => driver.provides.includes('wake-up'),
  variants: [{ title: '' }],
  measures: {
    fresh: { title: 'acknowledged → message in JS, fresh', unit: 'µs', wanted: { atMost: 100 } },
    later: { title: `the same after ${WAITS.toLocaleString('en')} waits`, unit: 'µs', wanted: { atMost: 100 } },
    whole: { title: 'enqueue called → message in JS, fresh', unit: 'µs' },
    wholeLater: { title: `the same after ${WAITS.toLocaleString('en')} waits`, unit: 'µs' },
  },
  async run(driver, { directory, quick }) {
    const queue = await driver.open(directory);
    const session = await queue.createSession('bench');
    const consumer = queue.consumer(session, 8);
    const message = toolCall(1_000, 1);
    const [waits, sample] = quick ? [20, 5] : [WAITS, SAMPLE];
    const round = async () => {
      let arrivedAt = 0;
      const arrival = consumer.next().then((batch) => {
        if (batch.messages.length !== 1) throw new Error(`${batch.messages.length} messages`);
        arrivedAt = performance.now();
        return batch;
      });
      await nextTurn(); // so that it waits
      const calledAt = performance.now();
      await queue.enqueue(session, message);
      const acknowledgedAt = performance.now();
      const batch = await arrival;
      await consumer.commit(batch, []);
      return { wake: Math.max(0, arrivedAt - acknowledgedAt) * 1_000, whole: (arrivedAt - calledAt) * 1_000 };
    };
    const rounds = async (count) => {
      const taken = [];
      for (let index = 0; index < count; index += 1) taken.push(await round());
      return { wake: median(taken.map(({ wake }) => wake)), whole: median(taken.map(({ whole }) => whole)) };
    };
    const { result, process } = await observe(async () => {
      await rounds(quick ? 1 : 50);
      const fresh = await rounds(sample);
      await rounds(waits - sample);
      const later = await rounds(sample);
      return { fresh: fresh.wake, later: later.wake, whole: fresh.whole, wholeLater: later.whole };
    });
    await consumer.close();
    await queue.close();
    return { measures: result, process };
  },
};
