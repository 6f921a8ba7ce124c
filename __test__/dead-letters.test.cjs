'use strict';
// Dead letters: how messages become them, and list, show, retry, purge.

const assert = require('node:assert/strict');
const { describe, test } = require('node:test');
const { setTimeout: sleep } = require('node:timers/promises');

const foreign = require('./foreign/index.cjs');
const { NO_BACKOFF, message, names, next, openedMemory, settled, until } = require('./opened-memory.cjs');

/** Makes a dead letter of each message that waits in a session; their ids. */
async function bury(memory, id, error) {
  const consumer = memory.queue.consume(id, { maxBatch: 100 });
  const batch = await next(consumer);
  const ids = batch.messages.map((each) => each.id);
  await batch.deadLetter(ids, error);
  await batch.commit();
  consumer.dispose();
  return ids;
}

describe('a message becomes one', () => {
  test('after maxAttempts alone; the next message is not blamed for it', async (t) => {
    const { memory, session, put } = await openedMemory(t, { ...NO_BACKOFF, maxAttempts: 2 });
    const id = await session();
    await put(id, 'a');
    await sleep(5);
    await put(id, 'b');
    const consumer = memory.queue.consume(id, { maxBatch: 1 });
    const first = await next(consumer);
    assert.deepEqual((await first.release({ error: 'one' })).deadLettered, []);
    const second = await next(consumer);
    const released = await second.release({ error: 'two' });
    assert.deepEqual(released, { depth: 1, readyAtEpoch: null, deadLettered: [first.upto] });
    const [waiting] = await memory.queue.discover();
    assert.deepEqual([waiting.depth, waiting.attempts], [1, 0]);
    const next_ = await next(consumer);
    assert.deepEqual([names(next_), next_.messages[0].attempts], [['b'], 0]);
    assert.equal(waiting.oldestEpoch, next_.messages[0].enqueuedAtEpoch);
    const [dead] = await memory.queue.deadLetters();
    assert.deepEqual([dead.id, dead.reason, dead.error, dead.attempts], [first.upto, 'max-attempts', 'two', 2]);
  });

  test('only alone: a batch of two never dies by itself', async (t) => {
    const { memory, session, put } = await openedMemory(t, { ...NO_BACKOFF, maxAttempts: 1 });
    const id = await session();
    await put(id, 'a', 'b');
    const consumer = memory.queue.consume(id, { maxBatch: 2 });
    assert.deepEqual((await (await next(consumer)).release()).deadLettered, []);
    const { deadLettered } = await (await next(consumer)).release();
    assert.equal(deadLettered.length, 1);
    assert.equal(memory.queue.depth(id), 1);
  });

  test('when its lease ran out often enough', async (t) => {
    const { memory, session, put } = await openedMemory(t, { ...NO_BACKOFF, maxAttempts: 1 });
    const id = await session();
    await put(id, 'a');
    const consumer = memory.queue.consume(id, { leaseMs: 20 });
    const batch = await next(consumer);
    await until(() => memory.queue.depth(id) === 0);
    const [dead] = await memory.queue.deadLetters();
    assert.deepEqual([dead.reason, dead.error], ['max-attempts', 'the lease ran out']);
    await assert.rejects(batch.commit({ observations: [{ type: 'change' }] }), { code: 'ERR_LEASE_LOST' });
    assert.equal((await memory.store.getStats()).observations, 0);
  });

  test('when its session is gone, or its number is another session now; what was acknowledged is not', async (t) => {
    const { memory, session, put, database } = await openedMemory(t);
    const [gone, other] = [await session('gone'), await session('other')];
    await put(gone, 'done', 'a', 'b');
    await put(other, 'c');
    const consumer = memory.queue.consume(gone, { maxBatch: 1 });
    await (await next(consumer)).commit();
    await foreign.execute(database, `DELETE FROM sdk_sessions WHERE id = ${gone}`);
    await foreign.execute(database, `UPDATE sdk_sessions SET claude_session_id = 'stranger' WHERE id = ${other}`);
    const waiting = [consumer.next(), memory.queue.consume(other).next()];
    await until(() => memory.queue.depth() === 0);
    const dead = await memory.queue.deadLetters();
    assert.deepEqual(
      dead
        .map(({ sessionDbId, claudeSessionId, reason, attempts }) => [sessionDbId, claudeSessionId, reason, attempts])
        .sort(),
      [
        [gone, 'gone', 'session-gone', 0],
        [gone, 'gone', 'session-gone', 0],
        [other, 'other', 'session-gone', 0],
      ],
    );
    for (const { id } of dead) await assert.rejects(memory.queue.retryDeadLetter(id), { code: 'ERR_NOT_FOUND' });
    assert.equal((await memory.health()).queue.dead, 3);
    await memory.dispose();
    await settled(Promise.all(waiting));
  });
});

describe('list and show', () => {
  test('the newest first, without their messages; limit, offset and session', async (t) => {
    const { memory, session, put } = await openedMemory(t);
    const [id, other] = [await session('a'), await session('b')];
    await put(id, 'one', 'two');
    const [one, two] = await bury(memory, id, 'no');
    await sleep(3);
    await put(other, 'three');
    const [three] = await bury(memory, other);
    const listed = async (options) => (await memory.queue.deadLetters(options)).map((letter) => letter.id);
    assert.deepEqual(await listed(), [three, two, one]);
    assert.deepEqual(await listed({ limit: 1, offset: 1 }), [two]);
    assert.deepEqual(await listed({ sessionDbId: id }), [two, one]);
    const [letter] = await memory.queue.deadLetters({ sessionDbId: id, offset: 1 });
    assert.deepEqual(
      { ...letter, enqueuedAtEpoch: 0, deadAtEpoch: 0 },
      {
        id: one,
        sessionDbId: id,
        claudeSessionId: 'a',
        type: 'observation',
        attempts: 0,
        reason: 'rejected',
        error: 'no',
        enqueuedAtEpoch: 0,
        deadAtEpoch: 0,
        bytes: JSON.stringify(message('one')).length,
      },
    );
    assert.ok(letter.enqueuedAtEpoch <= letter.deadAtEpoch && letter.deadAtEpoch <= Date.now());
    assert.deepEqual(await memory.queue.getDeadLetter(one), { ...letter, message: message('one') });
    assert.equal(await memory.queue.getDeadLetter(4711), null);
  });

  test('they survive a restart', async (t) => {
    const opened = await openedMemory(t);
    const id = await opened.session();
    await opened.put(id, 'a');
    const [dead] = await bury(opened.memory, id);
    const memory = await opened.reopen();
    assert.deepEqual((await memory.queue.getDeadLetter(dead)).message, message('a'));
    assert.equal((await memory.health()).queue.dead, 1);
  });

  test('names what is wrong with its arguments', async (t) => {
    const { memory } = await openedMemory(t);
    await assert.rejects(memory.queue.deadLetters({ session: 1 }), { code: 'ERR_INVALID_ARG' });
    await assert.rejects(memory.queue.deadLetters({ limits: 1 }), /did you mean limit\?/);
    await assert.rejects(memory.queue.deadLetters({ limit: 0 }), { code: 'ERR_INVALID_ARG' });
    await assert.rejects(memory.queue.getDeadLetter('x'), { code: 'ERR_INVALID_ARG' });
    await assert.rejects(memory.queue.purgeDeadLetters({ id: 1 }), { code: 'ERR_INVALID_ARG' });
    await assert.rejects(memory.queue.purgeDeadLetters({ ids: 1 }), { code: 'ERR_INVALID_ARG' });
  });
});

describe('retry', () => {
  test('enqueues it again, at the tail, under a new id, with no attempts', async (t) => {
    const { memory, session, put } = await openedMemory(t, { ...NO_BACKOFF, maxAttempts: 1 });
    const id = await session();
    await put(id, 'a', 'b');
    const consumer = memory.queue.consume(id, { maxBatch: 1 });
    const first = await next(consumer);
    await first.release();
    const pending = await memory.queue.retryDeadLetter(first.upto);
    assert.deepEqual([pending.depth, pending.duplicate], [2, false]);
    assert.ok(pending.id > first.upto);
    assert.deepEqual(await memory.queue.deadLetters(), []);
    assert.equal((await memory.health()).queue.dead, 0);
    await (await next(consumer)).commit();
    const again = await next(consumer);
    assert.deepEqual([names(again), again.upto, again.messages[0].attempts], [['a'], pending.id, 0]);
    await again.commit();
    await assert.rejects(memory.queue.retryDeadLetter(first.upto), { code: 'ERR_NOT_FOUND' });
  });

  test('wakes a waiting consumer, and keeps what the message was: its prompt, its end, its dedupe key', async (t) => {
    const { memory, session } = await openedMemory(t);
    const id = await session();
    await memory.queue.enqueue(id, { type: 'summarize', prompt_number: 6 }, { dedupeKey: 'k' });
    const [dead] = await bury(memory, id);
    const consumer = memory.queue.consume(id);
    const waiting = consumer.next();
    const { id: again } = await memory.queue.retryDeadLetter(dead);
    const { value: batch } = await settled(waiting);
    assert.deepEqual([batch.promptNumber, batch.upto], [6, again]);
    const duplicate = await memory.queue.enqueue(id, { type: 'summarize' }, { dedupeKey: 'k' });
    assert.deepEqual([duplicate.id, duplicate.duplicate], [again, 'waiting']);
    await batch.commit();
    assert.equal(consumer.endReason, 'summary');
  });

  test("respects the session's bounds", async (t) => {
    const { memory, session, put } = await openedMemory(t, { maxSessionMessages: 1 });
    const id = await session();
    await put(id, 'a');
    const [dead] = await bury(memory, id);
    await put(id, 'b');
    await assert.rejects(memory.queue.retryDeadLetter(dead), { code: 'ERR_QUEUE_FULL', depth: 1, limit: 1 });
    assert.equal((await memory.queue.deadLetters()).length, 1);
  });
});

describe('purge and bounds', () => {
  test('those that fit every filter go; without one all', async (t) => {
    const { memory, session, put } = await openedMemory(t);
    const [id, other] = [await session('a'), await session('b')];
    await put(id, 'one', 'two');
    await put(other, 'three');
    const [one] = await bury(memory, id);
    const [three] = await bury(memory, other);
    assert.equal(await memory.queue.purgeDeadLetters({ ids: [one, three], sessionDbId: id }), 1);
    assert.equal(await memory.queue.purgeDeadLetters({ olderThanEpoch: 1 }), 0);
    assert.equal(await memory.queue.purgeDeadLetters({ ids: [] }), 0);
    assert.equal((await memory.health()).queue.dead, 2);
    assert.equal(await memory.queue.purgeDeadLetters({ sessionDbId: id, olderThanEpoch: Date.now() + 1_000 }), 1);
    assert.equal(await memory.queue.purgeDeadLetters(), 1);
    assert.deepEqual(await memory.queue.deadLetters(), []);
    assert.equal((await memory.health()).queue.dead, 0);
  });

  test('beyond maxDeadLetters the oldest go, whichever way they came', async (t) => {
    const { memory, session, put } = await openedMemory(t, { maxDeadLetters: 3 });
    const id = await session();
    for (let n = 0; n < 5; n += 1) {
      await put(id, `${n}`);
      await bury(memory, id);
      await sleep(2);
    }
    const kept = await Promise.all(
      (await memory.queue.deadLetters()).map(async (letter) => (await memory.queue.getDeadLetter(letter.id)).message),
    );
    assert.deepEqual(
      kept.map(({ tool_name }) => tool_name),
      ['4', '3', '2'],
    );
    const { queue, status, reasons } = await memory.health();
    assert.deepEqual([queue.dead, queue.deadEvicted], [3, 2]);
    assert.equal(status, 'warn');
    assert.match(reasons.join(), /3 of at most 3 dead letters/);
  });

  test('beyond deadLetterAgeMs they go', async (t) => {
    const opened = await openedMemory(t, { deadLetterAgeMs: 1 });
    const id = await opened.session();
    await opened.put(id, 'a');
    await bury(opened.memory, id);
    await sleep(10);
    const memory = await opened.reopen();
    assert.deepEqual(await memory.queue.deadLetters(), []);
    assert.equal((await memory.health()).queue.dead, 0);
  });
});
