'use strict';
// The registry of active sessions: initialize, TTL, cap, delete.

const assert = require('node:assert/strict');
const { describe, test } = require('node:test');
const { setTimeout: sleep } = require('node:timers/promises');

const { isSettled, message, names, next, openedMemory, settled, until } = require('./opened-memory.cjs');

const DONE = { value: undefined, done: true };

describe('initialize', () => {
  test('answers the session, with the newest stored prompt where none is given', async (t) => {
    const { memory } = await openedMemory(t);
    const { sessionDbId: id } = await memory.store.beginPrompt('claude', 'project', 'first');
    const second = await memory.store.beginPrompt('claude', 'project', 'second');
    const before = Date.now();
    const { startTime, ...rest } = await memory.sessions.initialize(id);
    assert.deepEqual(rest, {
      sessionDbId: id,
      claudeSessionId: 'claude',
      sdkSessionId: 'claude',
      project: 'project',
      userPrompt: 'second',
      lastPromptNumber: second.promptNumber,
    });
    assert.ok(startTime >= before && startTime <= Date.now());
    const given = await memory.sessions.initialize(id, { userPrompt: 'given', promptNumber: 9 });
    assert.deepEqual([given.userPrompt, given.lastPromptNumber, given.startTime], ['given', 9, startTime]);
  });

  test('answers the prompt of a session row that no prompt hook has seen', async (t) => {
    const { memory, session } = await openedMemory(t);
    const { userPrompt, lastPromptNumber } = await memory.sessions.initialize(await session());
    assert.deepEqual([userPrompt, lastPromptNumber], ['ask', null]);
  });

  test('rejects with ERR_NOT_FOUND for a session that does not exist', async (t) => {
    const { memory } = await openedMemory(t);
    await assert.rejects(memory.sessions.initialize(4711), { code: 'ERR_NOT_FOUND' });
    assert.equal(memory.sessions.count(), 0);
  });

  test('a second one leaves the consumer alone', async (t) => {
    const { memory, session, put } = await openedMemory(t);
    const id = await session();
    await memory.sessions.initialize(id);
    const consumer = memory.queue.consume(id);
    const pending = consumer.next();
    await memory.sessions.initialize(id, { userPrompt: 'go on', promptNumber: 2 });
    assert.equal(await isSettled(pending), false);
    assert.equal(consumer.endReason, null);
    await put(id, 'a');
    assert.deepEqual(names((await settled(pending)).value), ['a']);
  });

  test('names what is wrong with its arguments', async (t) => {
    const { memory, session } = await openedMemory(t);
    const id = await session();
    await assert.rejects(memory.sessions.initialize(id, { prompt: 'x' }), { code: 'ERR_INVALID_ARG' });
    await assert.rejects(memory.sessions.initialize(id, { userprompt: 'x' }), /did you mean userPrompt\?/);
    await assert.rejects(memory.sessions.initialize('x'), { code: 'ERR_INVALID_ARG' });
    await assert.rejects(memory.sessions.initialize(id, { promptNumber: -1 }), { code: 'ERR_INVALID_ARG' });
  });
});

describe('get, list and count', () => {
  test('read native memory', async (t) => {
    const { memory, session } = await openedMemory(t);
    const [id, other] = [await session('a'), await session('b')];
    assert.deepEqual([memory.sessions.get(id), memory.sessions.list(), memory.sessions.count()], [null, [], 0]);
    const { startTime } = await memory.sessions.initialize(id, { promptNumber: 3 });
    const info = memory.sessions.get(id);
    assert.deepEqual(info, {
      sessionDbId: id,
      claudeSessionId: 'a',
      sdkSessionId: 'a',
      project: 'project',
      lastPromptNumber: 3,
      startTime,
      lastActiveEpoch: info.lastActiveEpoch,
      draining: false,
    });
    await sleep(2);
    await memory.sessions.initialize(other);
    assert.deepEqual(
      memory.sessions.list().map(({ sessionDbId }) => sessionDbId),
      [id, other],
    );
    assert.equal(memory.sessions.count(), 2);
    assert.equal((await memory.health()).sessions.active, 2);
    assert.throws(() => memory.sessions.get('x'), { code: 'ERR_INVALID_ARG' });
  });

  test('enqueue registers by itself, with the newest prompt number', async (t) => {
    const { memory, session } = await openedMemory(t);
    const id = await session();
    await memory.queue.enqueue(id, message('a', { prompt_number: 4 }));
    assert.equal(memory.sessions.get(id).lastPromptNumber, 4);
    await memory.queue.enqueue(id, message('a', { prompt_number: undefined }));
    assert.equal(memory.sessions.get(id).lastPromptNumber, 4);
    assert.equal(memory.sessions.count(), 1);
  });

  test('enqueue, claim and commit refresh it', async (t) => {
    const { memory, session, put } = await openedMemory(t);
    const id = await session();
    const last = () => memory.sessions.get(id).lastActiveEpoch;
    let before = 0;
    const refreshed = () => {
      const [then, now] = [before, last()];
      before = now;
      return now > then;
    };
    await put(id, 'a');
    assert.ok(refreshed());
    await sleep(5);
    const batch = await next(memory.queue.consume(id));
    assert.ok(refreshed(), 'claim');
    await sleep(5);
    await batch.commit();
    assert.ok(refreshed(), 'commit');
  });
});

describe('expiry', () => {
  test("after sessionTtlMs a session is forgotten, its consumer ends 'expired', its messages stay", async (t) => {
    const { memory, session, put } = await openedMemory(t, { sessionTtlMs: 150 });
    const id = await session();
    await put(id, 'a');
    const consumer = memory.queue.consume(id);
    await (await next(consumer)).release({ delayMs: 60_000 });
    const pending = consumer.next();
    assert.deepEqual(await settled(pending), DONE);
    assert.equal(consumer.endReason, 'expired');
    assert.deepEqual([memory.sessions.get(id), memory.sessions.count()], [null, 0]);
    assert.equal(memory.queue.depth(id), 1);
    assert.equal(memory.queue.hasConsumer(id), false);
  });

  test('at maxSessions the one idle longest goes', async (t) => {
    const { memory, session, put } = await openedMemory(t, { maxSessions: 2 });
    const [a, b, c] = [await session('a'), await session('b'), await session('c')];
    await put(a, 'x');
    await sleep(3);
    await put(b, 'x');
    await sleep(3);
    await put(a, 'y');
    const consumer = memory.queue.consume(b);
    await (await next(consumer)).release({ delayMs: 60_000, countAttempt: false });
    // The claim refreshed b; refresh a again.
    await sleep(3);
    await put(a, 'z');
    await sleep(3);
    const pending = consumer.next();
    await put(c, 'x');
    assert.deepEqual(await settled(pending), DONE);
    assert.equal(consumer.endReason, 'expired');
    assert.deepEqual(
      memory.sessions
        .list()
        .map(({ sessionDbId }) => sessionDbId)
        .sort(),
      [a, c],
    );
    assert.equal(memory.queue.depth(b), 1, 'its messages stay');
  });
});

describe('delete', () => {
  test("abort ends the consumer 'deleted', counts no attempt, and leaves the messages", async (t) => {
    const { memory, session, put } = await openedMemory(t);
    const id = await session();
    await put(id, 'a', 'b');
    const consumer = memory.queue.consume(id, { maxBatch: 1 });
    const batch = await next(consumer);
    assert.deepEqual(await memory.sessions.delete(id), { existed: true, purged: 0, remaining: 2, draining: false });
    assert.equal(consumer.endReason, 'deleted');
    assert.deepEqual(await settled(consumer.next()), DONE);
    assert.equal(memory.sessions.get(id), null);
    await assert.rejects(batch.commit(), { code: 'ERR_LEASE_LOST' });
    const again = await next(memory.queue.consume(id));
    assert.deepEqual([again.messages[0].tool_name, again.messages[0].attempts], ['a', 0]);
  });

  test('purge throws the messages away and says how many', async (t) => {
    const { memory, session, put } = await openedMemory(t);
    const id = await session();
    await put(id, 'a', 'b', 'c');
    const consumer = memory.queue.consume(id);
    const batch = await next(consumer);
    const deleted = await memory.sessions.delete(id, { mode: 'abort', purge: true });
    assert.deepEqual(deleted, { existed: true, purged: 3, remaining: 0, draining: false });
    assert.equal(consumer.endReason, 'deleted');
    await assert.rejects(batch.commit({ observations: [{ type: 'change' }] }), { code: 'ERR_LEASE_LOST' });
    assert.equal((await memory.store.getStats()).observations, 0);
    assert.equal((await memory.store.getStats()).sessions, 1, 'its row stays');
    assert.equal(memory.queue.depth(), 0);
  });

  test('drain lets it go once its queue is empty', async (t) => {
    const { memory, session, put } = await openedMemory(t);
    const id = await session();
    await put(id, 'a', 'b');
    const consumer = memory.queue.consume(id, { maxBatch: 1 });
    assert.deepEqual(await memory.sessions.delete(id, { mode: 'drain' }), {
      existed: true,
      purged: 0,
      remaining: 2,
      draining: true,
    });
    assert.equal(memory.sessions.get(id).draining, true);
    assert.equal(consumer.endReason, null);
    const seen = [];
    for await (const batch of consumer) {
      seen.push(...names(batch));
      await batch.commit();
    }
    assert.deepEqual(seen, ['a', 'b']);
    assert.equal(consumer.endReason, 'deleted');
    assert.deepEqual([memory.sessions.get(id), memory.sessions.count()], [null, 0]);
  });

  test('drain of an empty queue ends a waiting consumer at once', async (t) => {
    const { memory, session } = await openedMemory(t);
    const id = await session();
    await memory.sessions.initialize(id);
    const consumer = memory.queue.consume(id);
    const pending = consumer.next();
    assert.deepEqual(await memory.sessions.delete(id, { mode: 'drain' }), {
      existed: true,
      purged: 0,
      remaining: 0,
      draining: false,
    });
    assert.deepEqual(await settled(pending), DONE);
    assert.equal(consumer.endReason, 'deleted');
  });

  test('drain of a session that waits since before a restart', async (t) => {
    const opened = await openedMemory(t);
    const id = await opened.session();
    await opened.put(id, 'a');
    const memory = await opened.reopen();
    assert.equal(memory.sessions.get(id), null);
    assert.equal((await memory.sessions.delete(id, { mode: 'drain' })).draining, true);
    const consumer = memory.queue.consume(id);
    await (await next(consumer)).commit();
    assert.deepEqual(await settled(consumer.next()), DONE);
    await until(() => memory.sessions.count() === 0);
  });

  test('a session that nobody knows: existed is false', async (t) => {
    const { memory, session } = await openedMemory(t);
    const nothing = { existed: false, purged: 0, remaining: 0, draining: false };
    for (const options of [undefined, { mode: 'drain' }, { purge: true }]) {
      assert.deepEqual(await memory.sessions.delete(await session(), options), nothing);
      assert.deepEqual(await memory.sessions.delete(4711, options), nothing);
    }
  });

  test('names what is wrong with its arguments', async (t) => {
    const { memory } = await openedMemory(t);
    await assert.rejects(memory.sessions.delete(1, { mode: 'drian' }), /did you mean 'drain'\?/);
    await assert.rejects(memory.sessions.delete(1, { purged: true }), /did you mean purge\?/);
    await assert.rejects(memory.sessions.delete(), { code: 'ERR_INVALID_ARG' });
  });
});
