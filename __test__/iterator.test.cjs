'use strict';
// The edges of the iterator: who ends it, when, and what becomes of the batch that is open at that moment.

const assert = require('node:assert/strict');
const { describe, test } = require('node:test');

const { NO_BACKOFF, isSettled, message, names, next, openedMemory, settled, until } = require('./opened-memory.cjs');
const foreign = require('./foreign/index.cjs');

const DONE = { value: undefined, done: true };

/** The attempts of what is delivered next, which is then committed. */
async function attemptsOfNext(memory, id) {
  const consumer = memory.queue.consume(id, { maxBatch: 1 });
  const batch = await next(consumer);
  const [{ attempts }] = batch.messages;
  await batch.commit();
  consumer.dispose();
  return attempts;
}

describe('a consumer that ended by itself with a batch open', () => {
  // By a pause it is told to stop: that is nobody's fault. A TTL tells nobody anything.
  const ENDS = [
    ['paused', 0, ({ memory }, id) => memory.queue.pause(id)],
    ['expired', 1, () => {}, { sessionTtlMs: 300 }],
  ];
  const STEPS = [
    ['next()', (consumer) => consumer.next()],
    ['return()', (consumer) => consumer.return()],
  ];
  for (const [reason, counted, end, options] of ENDS) {
    for (const [how, step] of STEPS) {
      test(`${reason}: ${how} answers the end and releases it, ${counted ? 'counted' : 'uncounted'}`, async (t) => {
        const opened = await openedMemory(t, { ...NO_BACKOFF, ...options });
        const { memory } = opened;
        const id = await opened.session();
        await opened.put(id, 'a');
        const consumer = memory.queue.consume(id);
        const batch = await next(consumer);
        await end(opened, id);
        await until(() => consumer.endReason === reason);
        assert.equal(memory.queue.metrics(id).inFlight, 1, 'still open');
        assert.deepEqual(await settled(step(consumer)), DONE);
        await until(() => memory.queue.metrics(id).inFlight === 0);
        await assert.rejects(batch.commit(), { code: 'ERR_LEASE_LOST' });
        await memory.queue.resume(id);
        assert.equal(await attemptsOfNext(memory, id), counted);
      });
    }
  }

  test('may commit it before it asks for the next', async (t) => {
    const { memory, session, put } = await openedMemory(t);
    const id = await session();
    await put(id, 'a', 'b');
    const consumer = memory.queue.consume(id, { maxBatch: 1 });
    const batch = await next(consumer);
    await memory.queue.pause(id);
    assert.equal(consumer.endReason, 'paused');
    assert.equal((await batch.commit()).depth, 1);
    assert.deepEqual(await settled(consumer.next()), DONE);
  });

  test('leaves alone what its successor holds', async (t) => {
    const { memory, session, put } = await openedMemory(t);
    const id = await session();
    await put(id, 'a', 'b');
    const first = memory.queue.consume(id, { maxBatch: 1 });
    const batch = await next(first);
    await memory.queue.pause(id);
    await batch.commit();
    await memory.queue.resume(id);
    const second = memory.queue.consume(id);
    const theirs = await next(second);
    assert.deepEqual(await settled(first.next()), DONE);
    assert.deepEqual(await settled(first.return()), DONE);
    first.dispose();
    assert.equal((await theirs.commit()).depth, 0);
  });

  test('a body that neither commits nor releases, paused in the middle: its loop ends, nothing counts', async (t) => {
    const { memory, session, put } = await openedMemory(t, NO_BACKOFF);
    const id = await session();
    await put(id, 'a');
    let bodies = 0;
    for await (const batch of memory.queue.consume(id, { keepAlive: true })) {
      bodies += 1;
      assert.deepEqual(names(batch), ['a']);
      await memory.queue.pause(id);
    }
    assert.equal(bodies, 1);
    await until(() => memory.queue.metrics(id).inFlight === 0);
    await memory.queue.resume(id);
    assert.equal(await attemptsOfNext(memory, id), 0);
  });
});

describe('an endsBatch message whose commit failed', () => {
  test('does not end the iteration; the message comes again, and its commit ends it', async (t) => {
    const opened = await openedMemory(t, NO_BACKOFF);
    const { memory, database } = opened;
    const id = await opened.session();
    await memory.queue.enqueue(id, { type: 'summarize' });
    await opened.put(id, 'behind');
    const consumer = memory.queue.consume(id, { keepAlive: true });
    const attempts = [];
    for await (const batch of consumer) {
      attempts.push(batch.messages[0].attempts);
      assert.equal(batch.messages[0].type, 'summarize');
      assert.equal(batch.messages.length, 1);
      if (attempts.length === 1) {
        const lock = await foreign.hold(database);
        await assert.rejects(batch.commit({ summary: { request: 'r' }, deadlineMs: 50 }), { code: 'ERR_BUSY' });
        await lock.stop();
        assert.equal(consumer.endReason, null, 'the iteration goes on');
      } else {
        await batch.commit({ summary: { request: 'r' } });
      }
    }
    assert.deepEqual(attempts, [0, 1]);
    assert.equal(consumer.endReason, 'summary');
    assert.equal((await memory.store.getAllRecentSummaries()).length, 1, 'stored once');
    // What is behind it stays, and is offered to others.
    assert.equal(memory.queue.depth(id), 1);
    assert.equal(memory.queue.isReady(id), true);
    // What it counts of the next message is read from the file, a moment after the commit.
    await until(async () => (await memory.queue.discover())[0].attempts === 0);
    assert.deepEqual(await next(memory.queue.ready()), { sessionDbId: id, depth: 1, attempts: 0 });
  });
});

describe('dispose from outside', () => {
  test('while a for await waits ends it, without an error', async (t) => {
    const { memory, session } = await openedMemory(t);
    const consumer = memory.queue.consume(await session(), { keepAlive: true });
    setTimeout(() => consumer.dispose(), 50);
    for await (const _ of consumer) assert.fail('nothing was enqueued');
    assert.equal(consumer.endReason, 'disposed');
  });

  test('while a body works gives its batch back at once, uncounted; its commit is refused', async (t) => {
    const { memory, session, put } = await openedMemory(t);
    const id = await session();
    await put(id, 'a');
    const consumer = memory.queue.consume(id);
    for await (const batch of consumer) {
      consumer.dispose();
      await assert.rejects(batch.commit({ observations: [{ type: 'change', title: 'lost' }] }), {
        code: 'ERR_LEASE_LOST',
      });
    }
    assert.equal(await attemptsOfNext(memory, id), 0);
    assert.deepEqual(await memory.store.getAllRecentObservations(), []);
  });

  test('while a commit is pending lets it finish', async (t) => {
    const { memory, session, put } = await openedMemory(t);
    const id = await session();
    await put(id, 'a');
    const consumer = memory.queue.consume(id);
    const batch = await next(consumer);
    const committed = batch.commit({ observations: [{ type: 'change', title: 'kept' }] });
    consumer.dispose();
    assert.equal((await committed).depth, 0);
    assert.equal((await memory.store.getAllRecentObservations()).length, 1);
  });
});

test('next() while a commit is pending waits for it and releases nothing', async (t) => {
  const { memory, session, put } = await openedMemory(t);
  const id = await session();
  await put(id, 'a', 'b');
  const consumer = memory.queue.consume(id, { maxBatch: 1 });
  const batch = await next(consumer);
  const [{ depth }, following] = await Promise.all([batch.commit(), next(consumer)]);
  assert.equal(depth, 1);
  assert.deepEqual(names(following), ['b']);
  assert.equal(following.messages[0].attempts, 0);
  await following.commit();
});

test('of two consumers at the same moment one gets the session; its end lets the other in', async (t) => {
  const { memory, session, put } = await openedMemory(t);
  const id = await session();
  await put(id, 'a');
  const first = memory.queue.consume(id);
  assert.throws(() => memory.queue.consume(id), { code: 'ERR_LOCKED' });
  const batch = await next(first);
  assert.throws(() => memory.queue.consume(id), { code: 'ERR_LOCKED' });
  await first.return();
  const second = memory.queue.consume(id);
  assert.deepEqual(names(await next(second)), ['a'], 'after the backoff of the first');
  await assert.rejects(batch.commit(), { code: 'ERR_LEASE_LOST' });
  first.dispose();
  assert.equal(memory.queue.hasConsumer(id), true, 'the end of the first is not that of the second');
});

test('ready() does not offer a session whose batch is open, and does once it is over', async (t) => {
  const { memory, session, put } = await openedMemory(t);
  const id = await session();
  await put(id, 'a');
  const consumer = memory.queue.consume(id);
  const batch = await next(consumer);
  await memory.queue.pause(id);
  await memory.queue.resume(id);
  assert.equal(consumer.endReason, 'paused');
  const offer = memory.queue.ready({ keepAlive: true }).next();
  await put(id, 'b');
  assert.equal(await isSettled(offer), false, 'one batch of a session at a time');
  await batch.commit();
  assert.deepEqual((await settled(offer)).value, { sessionDbId: id, depth: 1, attempts: 0 });
});

test('extend() on a batch whose consumer has ended still puts the end of its lease off', async (t) => {
  const { memory, session, put } = await openedMemory(t);
  const id = await session();
  await put(id, 'a');
  const consumer = memory.queue.consume(id, { leaseMs: 60_000 });
  const batch = await next(consumer);
  await memory.queue.pause(id);
  batch.extend(1);
  await until(() => memory.queue.metrics(id).inFlight === 0);
  assert.throws(() => batch.extend(1_000), { code: 'ERR_LEASE_LOST' });
  assert.equal((await batch.commit()).depth, 0, 'nobody has claimed since');
});
