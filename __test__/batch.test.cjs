'use strict';
// Batches: what they carry, and how they end: committed, released, disposed, purged, lost.

const assert = require('node:assert/strict');
const { describe, test } = require('node:test');
const { setTimeout: sleep } = require('node:timers/promises');

const foreign = require('./foreign/index.cjs');
const { NO_BACKOFF, isSettled, message, names, next, openedMemory, settled, until } = require('./opened-memory.cjs');

/** A session with waiting messages, and its consumer. */
async function consuming(t, waiting, { consume, open = NO_BACKOFF } = {}) {
  const opened = await openedMemory(t, open);
  const id = await opened.session();
  await opened.put(id, ...waiting);
  return { ...opened, id, consumer: opened.memory.queue.consume(id, consume) };
}

describe('messages', () => {
  test('carry what was enqueued, with id, attempts and enqueuedAtEpoch', async (t) => {
    const before = Date.now();
    const { consumer } = await consuming(t, ['a']);
    const batch = await next(consumer);
    const [delivered] = batch.messages;
    const { id, enqueuedAtEpoch, ...rest } = delivered;
    assert.deepEqual(rest, { ...message('a'), attempts: 0 });
    assert.equal(batch.upto, id);
    assert.equal(batch.promptNumber, 1);
    assert.ok(enqueuedAtEpoch >= before && enqueuedAtEpoch <= Date.now());
    assert.equal(batch.messages, batch.messages, 'built once');
  });

  test('large texts are read on demand: no copy waits on the heap, and every way to read them works', async (t) => {
    const { memory, session } = await openedMemory(t);
    const id = await session();
    const large = 'Grüße 🦀 "\\\n\ud800'.repeat(10_000);
    const sent = { type: 'observation', tool_input: large, small: 'x', tool_response: `${large}!`, list: [large] };
    await memory.queue.enqueue(id, sent);
    const batch = await next(memory.queue.consume(id));
    const [delivered] = batch.messages;
    for (const field of ['tool_input', 'tool_response']) {
      const property = Object.getOwnPropertyDescriptor(delivered, field);
      assert.equal(typeof property.get, 'function', field);
      assert.ok(property.enumerable);
    }
    assert.ok(delivered.tool_input === large);
    assert.ok(delivered.tool_input === large, 'also a second time');
    assert.ok(delivered.tool_response === `${large}!`);
    assert.ok(delivered.list[0] === large);
    const copy = { ...delivered };
    assert.ok(copy.tool_input === large);
    const parsed = JSON.parse(JSON.stringify(delivered));
    assert.deepEqual(parsed, { ...sent, id: delivered.id, attempts: 0, enqueuedAtEpoch: delivered.enqueuedAtEpoch });
    assert.deepEqual(Object.keys(delivered).sort(), [...Object.keys(sent), 'id', 'attempts', 'enqueuedAtEpoch'].sort());

    // Whoever wants to keep a text copies it; afterwards it is freed.
    await batch.commit();
    assert.ok(delivered.tool_input === large, 'a committed batch keeps its texts until it is disposed');
    batch.dispose();
    assert.throws(() => delivered.tool_input, { code: 'ERR_DISPOSED' });
    assert.equal(delivered.small, 'x');
    assert.ok(copy.tool_input === large);
  });

  test('readText refuses what is no large text', async (t) => {
    const { consumer } = await consuming(t, ['a']);
    const batch = await next(consumer);
    assert.throws(() => batch.readText(0, 'tool_name'), { code: 'ERR_INVALID_ARG' });
    assert.throws(() => batch.readText(1, 'tool_name'), { code: 'ERR_INVALID_ARG' });
    assert.throws(() => batch.readText(), { code: 'ERR_INVALID_ARG' });
  });

  test('a message of 20 MB comes and goes', async (t) => {
    const { memory, session } = await openedMemory(t);
    const id = await session();
    const text = 'x'.repeat(20 << 20);
    await memory.queue.enqueueRaw(id, Buffer.from(`{"type":"observation","tool_response":"${text}"}`));
    const batch = await next(memory.queue.consume(id));
    assert.ok(batch.messages[0].tool_response === text);
    await batch.commit();
  });
});

describe('commit', () => {
  test('stores the answer and acknowledges the messages', async (t) => {
    const { memory, id, consumer } = await consuming(t, ['a', 'b', 'c'], { consume: { maxBatch: 2 } });
    const batch = await next(consumer);
    const committed = await batch.commit({
      observations: [
        { type: 'change', title: 'one', facts: ['f'], files_modified: ['/a'] },
        { type: 'bugfix', title: 'two', promptNumber: 9, createdAtEpoch: 1_700_000_000_000 },
      ],
      summary: { request: 'r', learned: 'l' },
    });
    assert.equal(committed.depth, 1);
    assert.equal(committed.observations.length, 2);
    assert.equal(committed.observations[1].createdAtEpoch, 1_700_000_000_000);
    const [one, two] = await Promise.all(committed.observations.map((row) => memory.store.getObservationById(row.id)));
    assert.deepEqual(
      [one.title, one.type, one.prompt_number, one.project, one.sdk_session_id, one.facts, one.created_at_epoch],
      ['one', 'change', 1, 'project', 'claude', '["f"]', committed.observations[0].createdAtEpoch],
    );
    assert.deepEqual([two.title, two.prompt_number, two.created_at_epoch], ['two', 9, 1_700_000_000_000]);
    const [summary] = await memory.store.getSessionSummariesByIds([committed.summary.id]);
    assert.deepEqual([summary.request, summary.learned, summary.prompt_number], ['r', 'l', 1]);
    assert.equal(summary.created_at_epoch, committed.summary.createdAtEpoch);
    assert.equal(memory.queue.depth(id), 1);
    assert.deepEqual(names(await next(consumer)), ['c']);
  });

  test('an empty one is normal: done, not failed', async (t) => {
    const { memory, id, consumer } = await consuming(t, ['a', 'b'], { consume: { maxBatch: 1 } });
    assert.deepEqual(await (await next(consumer)).commit(), { observations: [], summary: null, depth: 1 });
    assert.deepEqual(await (await next(consumer)).commit({ observations: [], summary: null }), {
      observations: [],
      summary: null,
      depth: 0,
    });
    assert.equal(memory.queue.isBusy(id), false);
  });

  test('promptNumber and createdAtEpoch stand for rows that name none', async (t) => {
    const { memory, consumer } = await consuming(t, ['a']);
    const answer = {
      promptNumber: 7,
      createdAtEpoch: 5,
      observations: [{ type: 'change' }],
      summary: { request: 'r' },
    };
    const { observations, summary } = await (await next(consumer)).commit(answer);
    assert.equal((await memory.store.getObservationById(observations[0].id)).prompt_number, 7);
    assert.deepEqual([observations[0].createdAtEpoch, summary.createdAtEpoch], [5, 5]);
  });

  test('completeSession completes the session in the same transaction', async (t) => {
    const { memory, database, id, consumer } = await consuming(t, ['a', 'b'], { consume: { maxBatch: 1 } });
    const status = async () => (await foreign.query(database, `SELECT status FROM sdk_sessions WHERE id = ${id}`))[0];
    await (await next(consumer)).commit({});
    assert.deepEqual(await status(), { status: 'active' });
    await (await next(consumer)).commit({ completeSession: true });
    assert.deepEqual(await status(), { status: 'completed' });
    assert.equal(await memory.store.findActiveSDKSession('claude'), null);
  });

  test('a NULL sdk_session_id becomes claude_session_id in the same transaction', async (t) => {
    const { memory, database, id, consumer } = await consuming(t, ['a']);
    await foreign.execute(database, `UPDATE sdk_sessions SET sdk_session_id = NULL WHERE id = ${id}`);
    const batch = await next(consumer);
    const { observations } = await batch.commit({ observations: [{ type: 'change' }] });
    assert.equal((await memory.store.getObservationById(observations[0].id)).sdk_session_id, 'claude');
    assert.equal((await memory.store.getSessionById(id)).sdk_session_id, 'claude');
  });

  test('twice: the second rejects with ERR_LEASE_LOST and stores nothing', async (t) => {
    const { memory, consumer } = await consuming(t, ['a']);
    const batch = await next(consumer);
    const answer = { observations: [{ type: 'change' }] };
    await batch.commit(answer);
    await assert.rejects(batch.commit(answer), (error) => {
      assert.equal(error.code, 'ERR_LEASE_LOST');
      assert.match(error.message, /no longer held/);
      return true;
    });
    await assert.rejects(batch.release(), { code: 'ERR_LEASE_LOST' });
    await assert.rejects(batch.deadLetter([batch.upto]), { code: 'ERR_LEASE_LOST' });
    assert.throws(() => batch.extend(1_000), { code: 'ERR_LEASE_LOST' });
    assert.equal((await memory.store.getStats()).observations, 1);
  });

  test('while one is pending a second one, and a release, are refused', async (t) => {
    const { memory, database, consumer } = await consuming(t, ['a']);
    const batch = await next(consumer);
    const hook = await foreign.hold(database);
    const commit = batch.commit({ observations: [{ type: 'change' }] });
    await assert.rejects(batch.commit(), /pending already/);
    await assert.rejects(batch.release(), /pending/);
    await assert.rejects(batch.deadLetter([batch.upto]), /pending/);
    assert.equal(await isSettled(commit), false);
    await hook.stop();
    await settled(commit);
    assert.equal((await memory.store.getStats()).observations, 1);
  });

  test('a committing batch cannot expire', async (t) => {
    const { memory, database, consumer } = await consuming(t, ['a'], { consume: { leaseMs: 100 } });
    const batch = await next(consumer);
    const hook = await foreign.hold(database);
    const commit = batch.commit({ observations: [{ type: 'change' }] });
    await sleep(300);
    assert.equal(consumer.endReason, null);
    await hook.stop();
    assert.equal((await settled(commit)).depth, 0);
    assert.equal((await memory.store.getStats()).observations, 1);
  });

  test('rejected by a lock beyond deadlineMs it stores nothing, and the batch is still held', async (t) => {
    const { memory, database, consumer } = await consuming(t, ['a']);
    const batch = await next(consumer);
    const hook = await foreign.hold(database);
    const answer = { observations: [{ type: 'change' }], deadlineMs: 50 };
    await assert.rejects(settled(batch.commit(answer)), { code: 'ERR_BUSY' });
    await hook.stop();
    assert.equal((await memory.store.getStats()).observations, 0);
    await batch.commit(answer);
    assert.equal((await memory.store.getStats()).observations, 1);
  });

  test('rejected by the schema it stores nothing, and the batch may be committed again', async (t) => {
    const { memory, id, consumer } = await consuming(t, ['a']);
    const batch = await next(consumer);
    const answer = { observations: [{ type: 'change' }, { type: 'no-such-type' }] };
    await assert.rejects(batch.commit(answer), { code: 'ERR_CONSTRAINT' });
    assert.equal((await memory.store.getStats()).observations, 0);
    assert.equal(memory.queue.depth(id), 1);
    await batch.commit({ observations: [{ type: 'change' }] });
    assert.equal(memory.queue.depth(id), 0);
  });

  test('names what is wrong with an answer', async (t) => {
    const { consumer } = await consuming(t, ['a']);
    const batch = await next(consumer);
    for (const [answer, expected] of [
      [{ observation: [] }, /unknown option 'observation'; did you mean observations\?/],
      [{ observations: {} }, /observations/],
      [{ observations: [1] }, /observations\[0\]/],
      [{ summary: 'text' }, /summary/],
      [{ promptNumber: -1 }, /promptNumber/],
      [{ completeSession: 'maybe' }, /completeSession/],
      [{ deadlineMs: 0 }, /deadlineMs/],
      [[], /answer/],
    ]) {
      await assert.rejects(batch.commit(answer), (error) => {
        assert.equal(error.code, 'ERR_INVALID_ARG');
        assert.match(error.message, expected);
        return true;
      });
    }
    assert.equal((await batch.commit()).depth, 0, 'it is still held');
  });
});

describe('release', () => {
  test('the session waits for the backoff, or for delayMs', async (t) => {
    const { memory, id, consumer } = await consuming(t, ['a', 'b'], { open: { backoffBaseMs: 40_000 } });
    const first = await (await next(consumer)).release({ error: 'quota' });
    assert.deepEqual([first.depth, first.deadLettered], [2, []]);
    const wait = first.readyAtEpoch - Date.now();
    assert.ok(wait > 25_000 && wait <= 40_000, `the base, less up to a quarter of jitter: ${wait}`);
    assert.equal(memory.queue.isReady(id), false);
    const [waiting] = await memory.queue.discover();
    assert.deepEqual([waiting.readyAtEpoch, waiting.attempts], [first.readyAtEpoch, 1]);
    assert.equal(await isSettled(consumer.next()), false);
  });

  test('the backoff doubles with each attempt', async (t) => {
    const { consumer } = await consuming(t, ['a'], { open: { backoffBaseMs: 8, backoffMaxMs: 1_000_000 } });
    const waits = [];
    for (let attempt = 1; attempt <= 4; attempt += 1) {
      const batch = await next(consumer);
      const before = Date.now();
      const { readyAtEpoch } = await batch.release();
      waits.push(readyAtEpoch - before);
      assert.ok(readyAtEpoch - before >= 8 * 2 ** (attempt - 1) * 0.75 - 1, `${waits}`);
    }
  });

  test('delayMs: 0 comes again at once, and says so', async (t) => {
    const { consumer } = await consuming(t, ['a'], { open: { backoffBaseMs: 60_000 } });
    assert.deepEqual(await (await next(consumer)).release({ delayMs: 0 }), {
      depth: 1,
      readyAtEpoch: null,
      deadLettered: [],
    });
    assert.equal((await next(consumer)).messages[0].attempts, 1);
  });

  test('countAttempt: false counts none', async (t) => {
    const { consumer } = await consuming(t, ['a', 'b', 'c', 'd'], { open: { ...NO_BACKOFF, maxAttempts: 1 } });
    for (let round = 0; round < 3; round += 1) {
      const batch = await next(consumer);
      assert.deepEqual(names(batch), ['a', 'b', 'c', 'd'], 'nor is the batch halved');
      assert.equal(batch.messages[0].attempts, 0);
      const { deadLettered } = await batch.release({ countAttempt: false });
      assert.deepEqual(deadLettered, []);
    }
  });

  test('from the second attempt the batch is halved, down to one message', async (t) => {
    const all = Array.from({ length: 16 }, (_, n) => `${n}`);
    const { consumer } = await consuming(t, all);
    const sizes = [];
    for (let attempt = 0; attempt < 4; attempt += 1) {
      const batch = await next(consumer);
      assert.equal(batch.messages[0].attempts, attempt);
      sizes.push(batch.messages.length);
      await batch.release();
    }
    assert.deepEqual(sizes, [8, 4, 2, 1]);
  });

  test('a poisonous message is found: alone it becomes a dead letter, all others are stored', async (t) => {
    const all = Array.from({ length: 12 }, (_, n) => (n === 5 ? 'poison' : `${n}`));
    const { memory, id, consumer } = await consuming(t, all);
    const done = [];
    while (memory.queue.depth(id) > 0) {
      const batch = await next(consumer);
      if (names(batch).includes('poison')) await batch.release({ error: 'it made the agent fail' });
      else {
        done.push(...names(batch));
        await batch.commit();
      }
    }
    assert.deepEqual(
      done,
      all.filter((name) => name !== 'poison'),
    );
    const [dead] = await memory.queue.deadLetters();
    assert.deepEqual([dead.reason, dead.attempts, dead.error], ['max-attempts', 5, 'it made the agent fail']);
  });

  test('a backoff survives a restart', async (t) => {
    const opened = await openedMemory(t, { backoffBaseMs: 60_000 });
    const id = await opened.session();
    await opened.put(id, 'a');
    const { readyAtEpoch } = await (await next(opened.memory.queue.consume(id))).release();
    const memory = await opened.reopen();
    const [waiting] = await memory.queue.discover();
    assert.deepEqual([waiting.readyAtEpoch, waiting.attempts], [readyAtEpoch, 1]);
    assert.equal(memory.queue.isReady(id), false);
  });

  test('twice: the second rejects with ERR_LEASE_LOST', async (t) => {
    const { consumer } = await consuming(t, ['a'], { open: { backoffBaseMs: 60_000 } });
    const batch = await next(consumer);
    const outcomes = await Promise.allSettled([batch.release(), batch.release()]);
    assert.equal(outcomes[0].status, 'fulfilled');
    assert.equal(outcomes[1].reason.code, 'ERR_LEASE_LOST');
    await assert.rejects(batch.commit(), { code: 'ERR_LEASE_LOST' });
  });

  test('names a misspelled option and one out of its range', async (t) => {
    const { consumer } = await consuming(t, ['a']);
    const batch = await next(consumer);
    await assert.rejects(batch.release({ countAttempts: false }), /did you mean countAttempt\?/);
    await assert.rejects(batch.release({ delayMs: -1 }), { code: 'ERR_INVALID_ARG' });
    await assert.rejects(batch.release({ error: new Error('x') }), { code: 'ERR_INVALID_ARG' });
    await batch.commit();
  });
});

describe('deadLetter', () => {
  test('sends the ones that the caller knows away; the rest is committed', async (t) => {
    const { memory, id, consumer } = await consuming(t, ['a', 'bad', 'c']);
    const batch = await next(consumer);
    const bad = batch.messages[1].id;
    assert.equal(await batch.deadLetter([bad], 'not for us'), 1);
    assert.equal(memory.queue.depth(id), 2);
    assert.equal((await batch.commit({ observations: [{ type: 'change' }] })).depth, 0);
    const dead = await memory.queue.getDeadLetter(bad);
    assert.deepEqual([dead.reason, dead.error, dead.message.tool_name], ['rejected', 'not for us', 'bad']);
  });

  test('refuses strangers, also from another session', async (t) => {
    const { memory, session, put, consumer } = await consuming(t, ['a']);
    const batch = await next(consumer);
    const [{ id: stranger }] = await put(await session('other'), 'x');
    await assert.rejects(batch.deadLetter([batch.upto, stranger]), (error) => {
      assert.equal(error.code, 'ERR_INVALID_ARG');
      assert.match(error.message, new RegExp(`message ${stranger} is not in this batch`));
      return true;
    });
    await assert.rejects(batch.deadLetter('x'), { code: 'ERR_INVALID_ARG' });
    assert.equal((await memory.queue.deadLetters()).length, 0);
    await batch.commit();
  });

  test('all of them, then a release or a commit: nothing is left', async (t) => {
    const { memory, id, consumer } = await consuming(t, ['a', 'b', 'c'], { consume: { maxBatch: 2 } });
    const batch = await next(consumer);
    assert.equal(await batch.deadLetter(batch.messages.map((sent) => sent.id)), 2);
    assert.equal((await batch.commit()).depth, 1);
    assert.deepEqual(names(await next(consumer)), ['c']);
    assert.equal(memory.queue.depth(id), 1);
  });
});

describe('extend', () => {
  test("puts the lease's end off", async (t) => {
    const { consumer } = await consuming(t, ['a'], { consume: { leaseMs: 300 } });
    const batch = await next(consumer);
    batch.extend(60_000);
    await sleep(500);
    assert.equal(consumer.endReason, null);
    assert.equal((await batch.commit()).depth, 0);
  });

  test('and nearer', async (t) => {
    const { consumer } = await consuming(t, ['a']);
    const batch = await next(consumer);
    batch.extend(1);
    await until(() => consumer.endReason === 'expired');
    assert.throws(() => batch.extend(1_000), { code: 'ERR_LEASE_LOST' });
    assert.throws(() => batch.extend(0), { code: 'ERR_INVALID_ARG' });
  });
});

describe('dispose', () => {
  test('gives the messages back uncounted; twice without harm; then every call answers ERR_DISPOSED', async (t) => {
    const { consumer } = await consuming(t, ['a', 'b']);
    const batch = await next(consumer);
    batch.dispose();
    batch.dispose();
    batch[Symbol.dispose]();
    await batch[Symbol.asyncDispose]();
    for (const call of [() => batch.commit(), () => batch.release(), () => batch.deadLetter([1])]) {
      await assert.rejects(call(), { code: 'ERR_DISPOSED' });
    }
    for (const call of [() => batch.extend(1), () => batch.messages, () => batch.readText(0, 'x')]) {
      assert.throws(call, { code: 'ERR_DISPOSED' });
    }
    const again = await next(consumer);
    assert.deepEqual(
      again.messages.map(({ tool_name, attempts }) => [tool_name, attempts]),
      [
        ['a', 0],
        ['b', 0],
      ],
    );
  });

  test('after a commit changes nothing, and while one is pending neither', async (t) => {
    const { memory, id, consumer } = await consuming(t, ['a', 'b'], { consume: { maxBatch: 1 } });
    const batch = await next(consumer);
    await batch.commit();
    batch.dispose();
    const second = await next(consumer);
    const commit = second.commit({ observations: [{ type: 'change' }] });
    second.dispose();
    assert.equal((await commit).depth, 0);
    assert.equal(memory.queue.depth(id), 0);
    assert.equal((await memory.health()).handles.batches, 0);
  });
});
