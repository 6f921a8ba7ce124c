'use strict';
// 10,000 durable enqueues at once, over 400 sessions. A driver that commits each takes fewer where that takes long;
// what is compared is the rate.

const { observe } = require('../observe.cjs');
const { toolCalls } = require('../payload.cjs');
const { makeSessions } = require('../sessions.cjs');

const MESSAGES = 10_000;
const variant = (bytes, title, durability, wanted) => ({
  title: `${title}${durability === 'full' ? ", durability 'full'" : ''}`,
  bytes,
  durability,
  ...(wanted ? { wanted: { rate: { faster: wanted } } } : {}),
});

module.exports = {
  title: '10,000 enqueues in flight',
  accepts: (driver) => driver.provides.includes('queue'),
  peer: 'better-sqlite3',
  variants: [
    variant(300, '300 bytes', 'normal', 4),
    variant(4_300, '4.3 KB', 'normal', 2.5),
    variant(65_536, '64 KB', 'normal', 2.5),
    variant(300, '300 bytes', 'full', 8),
    variant(4_300, '4.3 KB', 'full', 8),
    variant(65_536, '64 KB', 'full'),
  ],
  measures: { rate: { title: 'enqueues a second', unit: 'messages/s', better: 'more' } },
  async run(driver, { directory, variant: { bytes, durability }, quick }) {
    if (durability === 'full' && !driver.provides.includes('durable')) return null;
    const bounds = { maxInFlightBytes: 2 ** 31, maxQueueBytes: 2 ** 32 };
    const queue = await driver.open(directory, { durability, ...(driver.id === 'native' ? bounds : {}) });
    const sessions = await makeSessions(queue, quick ? 4 : 400);
    const each = driver.provides.includes('commits each');
    const share = each && durability === 'full' ? 20 : 1;
    const count = MESSAGES / share;
    const messages = toolCalls(bytes, quick ? 20 : count);
    const { ms, process } = await observe(() => queue.enqueueAll(sessions, messages));
    await queue.close();
    return { measures: { rate: messages.length / (ms / 1_000) }, process };
  },
};
