'use strict';
// What is acknowledged leaves the disk: only after a synced acknowledgement, in steps, and told meanwhile.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { describe, test } = require('node:test');

const { NO_BACKOFF, message, next, openedMemory, until } = require('./opened-memory.cjs');
const foreign = require('./foreign/index.cjs');

const queueOf = (directory) => path.join(directory, 'native', 'queue.db');
const sizeOf = (file) => fs.statSync(file, { throwIfNoEntry: false })?.size ?? 0;

/** Commits everything that waits in a session; resolves once its queue is empty. */
async function drain(memory, id, maxBatch = 500) {
  const consumer = memory.queue.consume(id, { maxBatch, maxBatchBytes: 64 << 20 });
  while (memory.queue.depth(id) > 0) await (await next(consumer)).commit();
  consumer.dispose();
}

/** Enqueues `count` messages of some `bytes`, a thousand in flight at a time. */
async function burst(memory, id, count, bytes) {
  const tool_response = 'x'.repeat(bytes);
  for (let sent = 0; sent < count; sent += 1_000) {
    const some = Math.min(1_000, count - sent);
    await Promise.all(
      Array.from({ length: some }, () => memory.queue.enqueue(id, message('burst', { tool_response }))),
    );
  }
}

test('while another process holds the shared file nothing is purged, and health tells how much waits', async (t) => {
  const { memory, session, put, database, directory } = await openedMemory(t);
  const id = await session();
  await put(id, 'a', 'b', 'c');
  await drain(memory, id);
  const lock = await foreign.hold(database);
  const { unpurged, unpurgedBytes } = memory.queue.metrics();
  assert.equal(unpurged, 3);
  assert.ok(unpurgedBytes > 3 * 50, String(unpurgedBytes));
  // The purge is due after a second of quiet.
  await new Promise((resolve) => setTimeout(resolve, 2_500));
  const count = async () => (await foreign.query(queueOf(directory), 'SELECT count(*) AS n FROM messages'))[0].n;
  assert.equal(await count(), 3, 'an acknowledgement that is not synced yet');
  assert.equal(memory.queue.metrics().unpurged, 3, 'still told');
  // The queue itself waits for nobody.
  await put(id, 'd');
  await lock.stop();
  await until(async () => (await count()) === 1);
  await until(() => memory.queue.metrics().unpurged === 0);
  assert.equal(memory.queue.depth(id), 1);
});

test('what is acknowledged frees the bounds at once, although it lies in the file still', async (t) => {
  const { memory, session, directory } = await openedMemory(t, { maxSessionMessages: 4, maxSessionBytes: 2_000 });
  const id = await session();
  const tool_response = 'x'.repeat(300);
  const fill = () =>
    Promise.all(Array.from({ length: 4 }, () => memory.queue.enqueue(id, message('a', { tool_response }))));
  for (let round = 1; round <= 3; round += 1) {
    await fill();
    await assert.rejects(memory.queue.enqueue(id, message('more')), { code: 'ERR_QUEUE_FULL' });
    const consumer = memory.queue.consume(id);
    const committed = (await next(consumer)).commit();
    await committed;
    consumer.dispose();
  }
  assert.equal(memory.queue.depth(id), 0);
  const [{ n }] = await foreign.query(queueOf(directory), 'SELECT count(*) AS n FROM messages');
  t.diagnostic(`${n} acknowledged messages were still in the file`);
  await fill();
});

test('after a burst of 20,000 the file shrinks to its size at the start, in steps that let others in between', async (t) => {
  const options = { maxSessionMessages: 100_000, ...NO_BACKOFF };
  const { memory, session, directory } = await openedMemory(t, options);
  const [id, other] = [await session('one'), await session('two')];
  await memory.queue.enqueue(id, message('first'));
  await drain(memory, id);
  const start = sizeOf(queueOf(directory));
  await burst(memory, id, 20_000, 4_300);
  // While all that is drained, purged and given back somebody goes on enqueueing.
  const latencies = [];
  let peak = 0;
  const drained = drain(memory, id);
  await until(async () => {
    const since = performance.now();
    await memory.queue.enqueue(other, message('between'));
    latencies.push(performance.now() - since);
    peak = Math.max(peak, sizeOf(queueOf(directory)) + sizeOf(`${queueOf(directory)}-wal`));
    // The last ones wait for a quiet second, which this loop does not give.
    return memory.queue.depth(id) === 0 && memory.queue.metrics().unpurged < 2_000;
  });
  await drained;
  await drain(memory, other);
  await until(() => sizeOf(queueOf(directory)) <= start + (1 << 20));
  const slowest = Math.max(...latencies).toFixed(1);
  t.diagnostic(
    `${latencies.length} enqueues while it was drained and purged, the slowest took ${slowest} ms; peak ${peak >> 20} MB`,
  );
});

test('messages that are thrown away give their pages back as well', async (t) => {
  const { memory, session, directory } = await openedMemory(t);
  const id = await session();
  await burst(memory, id, 2_000, 4_300);
  await memory.queue.purge(id);
  await until(() => sizeOf(queueOf(directory)) < 1 << 20);
});

describe('a reader of another process that stays', () => {
  for (const [name, fileOf, write] of [
    [
      'queue.db',
      queueOf,
      async (memory, id) => {
        await burst(memory, id, 1_500, 16_000);
        await drain(memory, id);
      },
    ],
    [
      'claude-mem.db',
      (directory) => path.join(directory, 'claude-mem.db'),
      async (memory) => {
        const narrative = 'x'.repeat(200_000);
        const store = () => memory.store.storeObservation('one', 'project', { type: 'change', narrative });
        await Promise.all(Array.from({ length: 120 }, store));
      },
    ],
  ]) {
    test(`on ${name}: writes go on, health warns and says how much it holds back; once it has gone the log is cut`, async (t) => {
      const { memory, session, directory } = await openedMemory(t, { maxSessionMessages: 100_000, ...NO_BACKOFF });
      const id = await session('one');
      const file = fileOf(directory);
      const health = async () => {
        const { status, reasons, database, queueDatabase } = await memory.health();
        return { status, reasons, ...(name === 'queue.db' ? queueDatabase : database) };
      };
      const reader = await foreign.pin(file);
      for (let round = 0; (await health()).walPages * 4_096 < 140 << 20; round += 1) {
        assert.ok(round < 20, 'the log does not grow');
        await write(memory, id);
      }
      await until(async () => (await health()).status === 'warn');
      const { reasons, walPages, walBytes, pinnedPages } = await health();
      assert.match(reasons.join('\n'), new RegExp(`the log of ${name} has \\d+ bytes \\(\\d+ pages, \\d+ of them`));
      assert.ok(pinnedPages > 0 && pinnedPages <= walPages && walBytes > 128 << 20);
      t.diagnostic(
        `log ${walBytes >> 20} MB, ${pinnedPages} of ${walPages} pages pinned, file ${sizeOf(file) >> 20} MB`,
      );
      await reader.stop();
      // Nobody writes any more; the log is cut all the same, and nothing is left to warn of.
      await until(() => sizeOf(`${file}-wal`) === 0);
      await until(async () => {
        const { status, pinnedPages } = await health();
        return status === 'ok' && pinnedPages === 0;
      });
    });
  }
});
