'use strict';
// queue.ready(): the loop of a worker's scheduler.

const assert = require('node:assert/strict');
const { test } = require('node:test');

const { NO_BACKOFF, isSettled, message, next, openedMemory, settled } = require('./opened-memory.cjs');

const DONE = { value: undefined, done: true };

test('tells of sessions with deliverable messages and no consumer, as they become so', async (t) => {
  const { memory, session, put } = await openedMemory(t);
  const [id, other] = [await session('a'), await session('b')];
  await put(id, 'a', 'b');
  const ready = memory.queue.ready();
  assert.equal(ready[Symbol.asyncIterator](), ready);
  assert.deepEqual(await next(ready), { sessionDbId: id, depth: 2, attempts: 0 });
  const pending = ready.next();
  assert.equal(await isSettled(pending), false);
  await put(other, 'c');
  assert.deepEqual((await settled(pending)).value, { sessionDbId: other, depth: 1, attempts: 0 });
});

test('a session with a consumer is not told of, until that ends', async (t) => {
  const { memory, session, put } = await openedMemory(t);
  const id = await session();
  const consumer = memory.queue.consume(id);
  const pending = memory.queue.ready().next();
  await put(id, 'a');
  assert.equal(await isSettled(pending), false);
  consumer.dispose();
  assert.equal((await settled(pending)).value.sessionDbId, id);
});

test('a session is told of when its backoff is over, with its attempts', async (t) => {
  const { memory, session, put } = await openedMemory(t);
  const id = await session();
  await put(id, 'a');
  const consumer = memory.queue.consume(id);
  await (await next(consumer)).release({ delayMs: 50 });
  consumer.dispose();
  assert.equal(memory.queue.isReady(id), false);
  assert.deepEqual(await next(memory.queue.ready()), { sessionDbId: id, depth: 1, attempts: 1 });
  assert.equal(memory.queue.isReady(id), true);
});

test('a session is told of when it is resumed', async (t) => {
  const { memory, session, put } = await openedMemory(t);
  const id = await session();
  await memory.queue.pause(id);
  await put(id, 'a');
  const pending = memory.queue.ready().next();
  assert.equal(await isSettled(pending), false);
  await memory.queue.resume(id);
  assert.equal((await settled(pending)).value.sessionDbId, id);
});

test('sessions are told of after a restart', async (t) => {
  const opened = await openedMemory(t);
  const ids = [await opened.session('a'), await opened.session('b')];
  await opened.put(ids[1], 'b');
  await opened.put(ids[0], 'a');
  const memory = await opened.reopen();
  const ready = memory.queue.ready();
  const found = [await next(ready), await next(ready)].map(({ sessionDbId }) => sessionDbId);
  assert.deepEqual(found.sort(), ids);
});

test('one that found a consumer since, or was purged, is left out', async (t) => {
  const { memory, session, put } = await openedMemory(t);
  const [id, purged, other] = [await session('a'), await session('b'), await session('c')];
  const ready = memory.queue.ready();
  for (const each of [id, purged, other]) await put(each, 'x');
  memory.queue.consume(id);
  await memory.queue.purge(purged);
  assert.equal((await next(ready)).sessionDbId, other);
});

test('every iterator is told; one that has not looked is not told twice', async (t) => {
  const { memory, session, put } = await openedMemory(t);
  const id = await session();
  const [one, two] = [memory.queue.ready(), memory.queue.ready()];
  await put(id, 'a');
  await put(id, 'b');
  assert.equal((await next(one)).depth, 2);
  assert.equal((await next(two)).depth, 2);
  assert.equal(await isSettled(one.next()), false);
});

test('ends after limit', async (t) => {
  const { memory, session, put } = await openedMemory(t);
  const ids = [await session('a'), await session('b'), await session('c')];
  for (const id of ids) await put(id, 'x');
  const found = [];
  for await (const { sessionDbId } of memory.queue.ready({ limit: 2 })) found.push(sessionDbId);
  assert.deepEqual(found, ids.slice(0, 2));
  assert.equal((await memory.health()).handles.ready, 0);
});

test('break, return and dispose end it; what waits settles; twice without harm', async (t) => {
  const { memory, session, put } = await openedMemory(t);
  await put(await session(), 'a');
  for await (const _ of memory.queue.ready()) break;
  const ready = memory.queue.ready();
  await next(ready);
  const pending = ready.next();
  ready.dispose();
  ready.dispose();
  ready[Symbol.dispose]();
  assert.deepEqual(await settled(pending), DONE);
  assert.deepEqual(await ready.next(), DONE);
  const returned = memory.queue.ready();
  assert.deepEqual(await returned.return(), DONE);
  assert.deepEqual(await returned.next(), DONE);
  assert.equal((await memory.health()).handles.ready, 0);
});

test('ends when the memory is disposed', async (t) => {
  const { memory } = await openedMemory(t);
  const ready = memory.queue.ready();
  const pending = ready.next();
  await memory.dispose();
  assert.deepEqual(await settled(pending), DONE);
  assert.deepEqual(await ready.next(), DONE);
  assert.throws(() => memory.queue.ready(), { code: 'ERR_DISPOSED' });
});

test('a second next() while one is pending, and bad options, are refused', async (t) => {
  const { memory } = await openedMemory(t);
  const ready = memory.queue.ready();
  ready.next();
  await assert.rejects(ready.next(), { code: 'ERR_INVALID_ARG' });
  ready.dispose();
  assert.throws(() => memory.queue.ready({ limits: 1 }), /did you mean limit\?/);
  for (const options of [{ limit: 0 }, { limit: 'x' }, { keepAlive: 1 }]) {
    assert.throws(() => memory.queue.ready(options), { code: 'ERR_INVALID_ARG' });
  }
});

test('a scheduler that is a loop over it stores every message once', async (t) => {
  const opened = await openedMemory(t, NO_BACKOFF);
  const { memory } = opened;
  const ids = await Promise.all(['a', 'b', 'c', 'd', 'e'].map((name) => opened.session(name)));
  const sent = 40;
  const stored = new Map(ids.map((id) => [id, []]));
  let failures = 0;
  const ready = memory.queue.ready();
  const scheduler = (async () => {
    for await (const { sessionDbId } of ready) {
      if (memory.queue.hasConsumer(sessionDbId)) continue;
      (async () => {
        for await (const batch of memory.queue.consume(sessionDbId, { idleTimeoutMs: 20 })) {
          if ((failures += 1) % 7 === 0) {
            await batch.release({ error: 'now and then' });
            continue;
          }
          stored.get(sessionDbId).push(...batch.messages.map(({ n }) => n));
          await batch.commit();
          if (ids.every((id) => stored.get(id).length === sent)) ready.dispose();
        }
      })();
    }
  })();
  for (let n = 0; n < sent; n += 1) {
    await Promise.all(ids.map((id) => memory.queue.enqueue(id, message('x', { n }))));
  }
  await settled(scheduler);
  for (const id of ids) {
    assert.deepEqual(
      stored.get(id),
      Array.from({ length: sent }, (_, n) => n),
    );
  }
});
