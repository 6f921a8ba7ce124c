'use strict';
// Queues: enqueue and its bounds, dedupe keys, counters, pause, purge, discover, and what a restart finds.

const assert = require('node:assert/strict');
const path = require('node:path');
const { describe, test } = require('node:test');
const { setTimeout: sleep } = require('node:timers/promises');

const foreign = require('./foreign/index.cjs');
const { NO_BACKOFF, isSettled, message, names, next, openedMemory, settled, until } = require('./opened-memory.cjs');

const json = (value) => Buffer.from(JSON.stringify(value));

describe('enqueue', () => {
  test('answers the id, the depth and that it is no duplicate', async (t) => {
    const { memory, session } = await openedMemory(t);
    const id = await session();
    const first = await memory.queue.enqueue(id, message('a'));
    const second = await memory.queue.enqueue(id, message('b'));
    assert.deepEqual(first, { id: first.id, depth: 1, duplicate: false });
    assert.deepEqual(second, { id: second.id, depth: 2, duplicate: false });
    assert.ok(Number.isSafeInteger(first.id) && second.id > first.id);
  });

  test('takes any type, and none', async (t) => {
    const { memory, session } = await openedMemory(t);
    const id = await session();
    for (const value of [{ type: 'whatever' }, { type: 7 }, {}, { type: null, prompt_number: 'x' }]) {
      await memory.queue.enqueue(id, value);
    }
    const { messages } = await next(memory.queue.consume(id));
    assert.deepEqual(
      messages.map(({ type }) => type),
      ['whatever', 7, undefined, null],
    );
  });

  test('rejects with ERR_NOT_FOUND for a session that does not exist, and counts nothing', async (t) => {
    const { memory } = await openedMemory(t);
    await assert.rejects(memory.queue.enqueue(4711, message('a')), (error) => {
      assert.equal(error.code, 'ERR_NOT_FOUND');
      assert.equal(error.sessionDbId, 4711);
      assert.match(error.message, /4711.*createSDKSession/);
      return true;
    });
    assert.equal(memory.queue.depth(), 0);
    assert.equal(memory.queue.bytes(), 0);
    assert.equal(memory.sessions.count(), 0);
  });

  test('rejects what is no message, names what it got, and counts nothing', async (t) => {
    const { memory, session } = await openedMemory(t);
    const id = await session();
    const cycle = {};
    cycle.self = cycle;
    const throwing = {
      toJSON() {
        throw new Error('not today');
      },
    };
    for (const [value, expected] of [
      [undefined, /'message' must be an object, got undefined/],
      [null, /'message' must be an object, got null/],
      ['text', /'message' must be an object, got 'text'/],
      [[], /'message' must be an object, got an array/],
      [() => {}, /'message' must be an object, got a function/],
      [cycle, /'message' cannot be written as JSON: .*circular/i],
      [{ big: 1n }, /'message' cannot be written as JSON: .*BigInt/i],
      [throwing, /'message' cannot be written as JSON: not today/],
      [{ toJSON: () => undefined }, /'message' must be an object that JSON.stringify can write/],
      [{ toJSON: () => [1] }, /must be the JSON text of one object/],
    ]) {
      await assert.rejects(memory.queue.enqueue(id, value), (error) => {
        assert.equal(error.code, 'ERR_INVALID_ARG');
        assert.match(error.message, expected);
        return true;
      });
    }
    for (const bad of [0, -1, 1.5, 'x', undefined, null, {}, NaN, 2 ** 53]) {
      await assert.rejects(memory.queue.enqueue(bad, message('a')), { code: 'ERR_INVALID_ARG' });
    }
    assert.equal(memory.queue.depth(), 0);
    assert.equal(memory.queue.bytes(), 0);
  });

  test('names a misspelled option and one of the wrong kind', async (t) => {
    const { memory, session } = await openedMemory(t);
    const id = await session();
    const refused = (options, expected) =>
      assert.rejects(memory.queue.enqueue(id, message('a'), options), (error) => {
        assert.equal(error.code, 'ERR_INVALID_ARG');
        assert.match(error.message, expected);
        return true;
      });
    await refused({ dedupekey: 'x' }, /unknown option 'dedupekey'; did you mean dedupeKey\?/);
    await refused({ dedupeKey: '' }, /'dedupeKey' must be a string that is not empty/);
    await refused({ dedupeKey: 7 }, /'dedupeKey' must be a string/);
    await refused({ endsBatch: 1 }, /'endsBatch' must be true or false, got 1/);
    await refused({ deadlineMs: 0 }, /'deadlineMs' must be an integer from 1 to 600000 ms, got 0/);
    await refused('x', /'options' must be an object/);
    assert.equal(memory.queue.depth(), 0);
  });

  test('a lock on queue.db beyond the deadline rejects with ERR_BUSY, and the rejected message never comes', async (t) => {
    const { memory, session, directory, put } = await openedMemory(t);
    const id = await session();
    const hook = await foreign.hold(path.join(directory, 'native', 'queue.db'));
    const busy = memory.queue.enqueue(id, message('rejected'), { deadlineMs: 50 });
    assert.equal(memory.queue.depth(id), 1, 'accepted');
    await assert.rejects(settled(busy), { code: 'ERR_BUSY' });
    assert.equal(memory.queue.depth(id), 0, 'not accepted any more');
    await hook.stop();
    await put(id, 'afterwards');
    assert.deepEqual(names(await next(memory.queue.consume(id))), ['afterwards']);
  });

  test('beyond maxInFlightBytes it rejects with ERR_BUSY and the figures; what was accepted comes in order', async (t) => {
    const { memory, session, directory } = await openedMemory(t, { maxInFlightBytes: 65_536 });
    const id = await session();
    const hook = await foreign.hold(path.join(directory, 'native', 'queue.db'));
    const text = 'x'.repeat(10_000);
    const all = Array.from({ length: 20 }, (_, n) => memory.queue.enqueue(id, message(`${n}`, { text })));
    const accepted = memory.queue.depth(id);
    assert.ok(accepted >= 1 && accepted < 20, `${accepted}`);
    const rejected = await Promise.all(all.slice(accepted).map((promise) => promise.catch((error) => error)));
    for (const error of rejected) {
      assert.equal(error.code, 'ERR_BUSY');
      assert.match(error.message, /65536|65,536/);
    }
    await hook.stop();
    await Promise.all(all.slice(0, accepted));
    const batch = await next(memory.queue.consume(id, { maxBatch: 100 }));
    assert.deepEqual(
      names(batch),
      Array.from({ length: accepted }, (_, n) => `${n}`),
    );
  });
});

describe('enqueueRaw', () => {
  test('stores the text of a request body as it is', async (t) => {
    const { memory, session } = await openedMemory(t);
    const id = await session();
    const body = json({ type: 'observation', tool_name: 'Edit', prompt_number: 3, text: 'Grüße 🦀 \ud800' });
    const pending = memory.queue.enqueueRaw(id, body);
    body.fill(0); // it was copied
    assert.deepEqual({ ...(await pending), id: 0 }, { id: 0, depth: 1, duplicate: false });
    await memory.queue.enqueueRaw(id, new Uint8Array(json({ type: 'x', prompt_number: 3 })), { dedupeKey: 'k' });
    const batch = await next(memory.queue.consume(id));
    assert.equal(batch.promptNumber, 3);
    assert.equal(batch.messages[0].text, 'Grüße 🦀 \ud800');
    assert.deepEqual(
      batch.messages.map(({ type }) => type),
      ['observation', 'x'],
    );
  });

  test('refuses what is not the text of one object, and counts nothing', async (t) => {
    const { memory, session } = await openedMemory(t);
    const id = await session();
    for (const text of ['', '[]', '1', 'null', '"x"', '{', '{} {}', "{'a':1}", '{"a":1,}', '{"a":NaN}']) {
      await assert.rejects(memory.queue.enqueueRaw(id, Buffer.from(text)), { code: 'ERR_INVALID_ARG' }, text);
    }
    await assert.rejects(memory.queue.enqueueRaw(id, Buffer.from([0x7b, 0xff, 0x7d])), (error) => {
      assert.equal(error.code, 'ERR_INVALID_ARG');
      assert.match(error.message, /UTF-8 text; byte 1 is not/);
      return true;
    });
    for (const value of ['{}', {}, undefined, new Uint16Array(2), new ArrayBuffer(2)]) {
      await assert.rejects(memory.queue.enqueueRaw(id, value), { code: 'ERR_INVALID_ARG' });
    }
    assert.equal(memory.queue.depth(), 0);
    assert.equal(memory.queue.bytes(), 0);
  });

  test('a body nested ten thousand deep harms nobody', async (t) => {
    const { memory, session } = await openedMemory(t);
    const id = await session();
    const deep = `${'['.repeat(10_000)}${']'.repeat(10_000)}`;
    await memory.queue.enqueueRaw(id, Buffer.from(`{"type":"x","deep":${deep}}`));
    const batch = await next(memory.queue.consume(id));
    assert.ok(Array.isArray(batch.messages[0].deep));
  });
});

describe('payloads', () => {
  test('every JSON value comes back as it went in', async (t) => {
    const { memory, session } = await openedMemory(t);
    const id = await session();
    const value = {
      type: 'observation',
      text: 'plain',
      unicode: 'Grüße 漢字 🦀 \u0000 \u2028 "\\',
      lone: ['\ud800', '\udc00', 'a\ud83d'],
      'lone key \ud800': 1,
      numbers: [0, -0.5, 1e300, 2 ** 53, 5e-324],
      nothing: null,
      truth: [true, false],
      list: [[], {}, [[1]]],
      object: { a: { b: { c: [1] } }, '': 'empty key' },
      toString: 'shadowed',
      constructor: { prototype: 1 },
      length: 3,
    };
    await memory.queue.enqueue(id, value);
    const [{ id: messageId, attempts, enqueuedAtEpoch, ...rest }] = (await next(memory.queue.consume(id))).messages;
    assert.deepEqual(rest, value);
    assert.ok(Number.isSafeInteger(messageId) && attempts === 0);
    assert.ok(Math.abs(enqueuedAtEpoch - Date.now()) < 600_000);
  });

  test('undefined is left out, as in JSON', async (t) => {
    const { memory, session } = await openedMemory(t);
    const id = await session();
    await memory.queue.enqueue(id, { type: 'x', gone: undefined, list: [undefined], date: new Date(0), f() {} });
    const [delivered] = (await next(memory.queue.consume(id))).messages;
    assert.ok(!('gone' in delivered) && !('f' in delivered));
    assert.deepEqual(delivered.list, [null]);
    assert.equal(delivered.date, '1970-01-01T00:00:00.000Z');
  });

  test('a __proto__ key is a property like any other', async (t) => {
    const { memory, session } = await openedMemory(t);
    const id = await session();
    const text = `{"type":"x","__proto__":{"polluted":true},"large":"${'y'.repeat(40_000)}","in":{"__proto__":1}}`;
    await memory.queue.enqueueRaw(id, Buffer.from(text));
    await memory.queue.enqueueRaw(id, Buffer.from(`{"type":"x","__proto__":"${'z'.repeat(40_000)}"}`));
    const [first, second] = (await next(memory.queue.consume(id))).messages;
    assert.equal(Object.getPrototypeOf(first), Object.prototype);
    assert.equal(Object.getPrototypeOf(second), Object.prototype);
    assert.equal(first.polluted, undefined);
    assert.deepEqual(Object.getOwnPropertyDescriptor(first, '__proto__').value, { polluted: true });
    assert.equal(Object.getOwnPropertyDescriptor(second, '__proto__').value.length, 40_000);
    assert.equal({}.polluted, undefined);
  });

  test('fields called as those of the engine give way to them, also large ones', async (t) => {
    const { memory, session } = await openedMemory(t);
    const id = await session();
    const mine = 'x'.repeat(40_000);
    const { id: messageId } = await memory.queue.enqueue(id, { type: 'x', id: mine, attempts: mine, keep: mine });
    const [delivered] = (await next(memory.queue.consume(id))).messages;
    assert.equal(delivered.id, messageId);
    assert.equal(delivered.attempts, 0);
    assert.equal(delivered.keep, mine);
  });
});

describe('bounds', () => {
  /** Asserts the figures of a refusal. */
  const full = (promise, figures, option) =>
    assert.rejects(promise, (error) => {
      assert.equal(error.code, 'ERR_QUEUE_FULL');
      for (const [name, value] of Object.entries(figures)) assert.equal(error[name], value, name);
      assert.ok(error.message.includes(option) && error.message.includes(String(figures.limit)), error.message);
      return true;
    });
  /** A message of exactly so many bytes. */
  const sized = (bytes) => ({ x: 'x'.repeat(bytes - '{"x":""}'.length) });

  test('bytes of one message', async (t) => {
    const { memory, session } = await openedMemory(t, { maxMessageBytes: 2_000 });
    const id = await session();
    await memory.queue.enqueue(id, sized(2_000));
    assert.equal(memory.queue.bytes(id), 2_000);
    const figures = { sessionDbId: id, depth: 1, bytes: 2_000, limit: 2_000 };
    await full(memory.queue.enqueue(id, sized(2_001)), figures, 'maxMessageBytes');
    await full(memory.queue.enqueueRaw(id, json(sized(2_001))), figures, 'maxMessageBytes');
    assert.equal(memory.queue.depth(id), 1);
  });

  test('messages of one session', async (t) => {
    const { memory, session, put } = await openedMemory(t, { maxSessionMessages: 3 });
    const [id, other] = [await session('a'), await session('b')];
    // Also where all are accepted before the first is durable.
    const outcomes = await Promise.allSettled([1, 2, 3, 4].map((n) => memory.queue.enqueue(id, sized(100 + n))));
    assert.deepEqual(
      outcomes.map(({ status }) => status),
      ['fulfilled', 'fulfilled', 'fulfilled', 'rejected'],
    );
    const figures = { sessionDbId: id, depth: 3, bytes: 306, limit: 3 };
    await full(memory.queue.enqueue(id, message('x')), figures, 'maxSessionMessages');
    await put(other, 'a', 'b', 'c');
  });

  test('bytes of one session, and of all', async (t) => {
    const { memory, session } = await openedMemory(t, { maxSessionBytes: 3_000, maxQueueBytes: 5_000 });
    const [id, other] = [await session('a'), await session('b')];
    await memory.queue.enqueue(id, sized(2_000));
    await full(
      memory.queue.enqueue(id, sized(1_001)),
      { sessionDbId: id, depth: 1, bytes: 2_000, limit: 3_000 },
      'maxSessionBytes',
    );
    await memory.queue.enqueue(id, sized(1_000));
    await memory.queue.enqueue(other, sized(2_000));
    await full(
      memory.queue.enqueue(other, sized(10)),
      { sessionDbId: other, depth: 1, bytes: 2_000, limit: 5_000 },
      'maxQueueBytes',
    );
    assert.equal(memory.queue.bytes(), 5_000);
  });

  test('what is acknowledged no longer counts', async (t) => {
    const { memory, session, put } = await openedMemory(t, { maxSessionMessages: 2 });
    const id = await session();
    await put(id, 'a', 'b');
    await (await next(memory.queue.consume(id))).commit();
    await put(id, 'c', 'd');
    assert.equal(memory.queue.depth(id), 2);
  });

  test('they hold after a restart', async (t) => {
    const opened = await openedMemory(t, { maxSessionMessages: 2 });
    const id = await opened.session();
    await opened.put(id, 'a', 'b');
    const memory = await opened.reopen();
    await full(memory.queue.enqueue(id, message('c')), { depth: 2, limit: 2 }, 'maxSessionMessages');
  });
});

describe('dedupe keys', () => {
  const keyed = (memory, id, dedupeKey) => memory.queue.enqueue(id, message('keyed'), { dedupeKey });

  test('tell what became of the first: waiting, done, dead', async (t) => {
    const { memory, session } = await openedMemory(t);
    const id = await session();
    const first = await keyed(memory, id, 'k');
    assert.deepEqual(await keyed(memory, id, 'k'), { id: first.id, depth: 1, duplicate: 'waiting' });
    const consumer = memory.queue.consume(id);
    const batch = await next(consumer);
    assert.equal((await keyed(memory, id, 'k')).duplicate, 'waiting', 'leased');
    await batch.commit();
    assert.deepEqual(await keyed(memory, id, 'k'), { id: first.id, depth: 0, duplicate: 'done' });
    const second = await keyed(memory, id, 'l');
    await (await next(consumer)).deadLetter([second.id]);
    assert.deepEqual(await keyed(memory, id, 'l'), { id: second.id, depth: 0, duplicate: 'dead' });
    assert.equal(memory.queue.bytes(id), 0);
  });

  test('two at the same moment store one', async (t) => {
    const { memory, session } = await openedMemory(t);
    const id = await session();
    const answers = await Promise.all(Array.from({ length: 10 }, () => keyed(memory, id, 'k')));
    assert.deepEqual(
      answers.map(({ duplicate }) => duplicate),
      [false, ...Array(9).fill('waiting')],
    );
    assert.equal(new Set(answers.map(({ id: messageId }) => messageId)).size, 1);
    assert.equal(memory.queue.depth(id), 1);
  });

  test('belong to their session', async (t) => {
    const { memory, session } = await openedMemory(t);
    assert.equal((await keyed(memory, await session('a'), 'k')).duplicate, false);
    assert.equal((await keyed(memory, await session('b'), 'k')).duplicate, false);
  });

  test('survive a restart', async (t) => {
    const opened = await openedMemory(t);
    const id = await opened.session();
    const waiting = await keyed(opened.memory, id, 'waiting');
    let memory = await opened.reopen();
    assert.deepEqual(await keyed(memory, id, 'waiting'), { id: waiting.id, depth: 1, duplicate: 'waiting' });
    await (await next(memory.queue.consume(id))).commit();
    memory = await opened.reopen();
    assert.equal((await keyed(memory, id, 'waiting')).duplicate, 'done');
  });

  test('are forgotten by purge', async (t) => {
    const { memory, session } = await openedMemory(t);
    const id = await session();
    await keyed(memory, id, 'k');
    assert.equal(await memory.queue.purge(id), 1);
    assert.equal((await keyed(memory, id, 'k')).duplicate, false);
  });

  test('are forgotten after dedupeAgeMs', async (t) => {
    const { memory, session } = await openedMemory(t, { dedupeAgeMs: 1 });
    const id = await session();
    const first = await keyed(memory, id, 'k');
    await sleep(20);
    const second = await keyed(memory, id, 'k');
    assert.equal(second.duplicate, false);
    assert.ok(second.id > first.id);
  });

  test('are bounded in number, whichever messages carry them; health tells of those that went early', async (t) => {
    const { memory, session, put } = await openedMemory(t, { maxDedupeKeys: 10 });
    const id = await session();
    const first = await keyed(memory, id, 'first');
    // Every second message has a key.
    for (let n = 0; n < 300; n += 1) await Promise.all([put(id, 'plain'), keyed(memory, id, `${n}`)]);
    assert.ok((await memory.health()).queue.dedupeEvicted > 0);
    const again = await keyed(memory, id, 'first');
    assert.equal(again.duplicate, false);
    assert.ok(again.id > first.id);
    assert.equal((await keyed(memory, id, '299')).duplicate, 'waiting', 'the newest are kept');
  });
});

describe('counters', () => {
  test('are right from the moment an enqueue is accepted', async (t) => {
    const { memory, session } = await openedMemory(t);
    const [id, other] = [await session('a'), await session('b')];
    const bytes = JSON.stringify(message('x')).length;
    assert.equal(memory.queue.isBusy(), false);
    const pending = [];
    for (let n = 1; n <= 50; n += 1) {
      pending.push(memory.queue.enqueue(id, message('x')));
      assert.equal(memory.queue.depth(id), n);
      assert.equal(memory.queue.depth(), n);
      assert.equal(memory.queue.bytes(id), n * bytes);
      assert.equal(memory.queue.bytes(), n * bytes);
      assert.equal(memory.queue.isBusy(id), true);
      assert.equal(memory.queue.isBusy(), true);
    }
    assert.deepEqual([memory.queue.depth(other), memory.queue.isBusy(other)], [0, false]);
    await Promise.all(pending);
    assert.equal(memory.queue.depth(id), 50);
    assert.equal(memory.queue.bytes(), 50 * bytes);
  });

  test('know what is deliverable, leased and consumed', async (t) => {
    const { memory, session, put } = await openedMemory(t);
    const id = await session();
    assert.deepEqual([memory.queue.isReady(id), memory.queue.hasConsumer(id)], [false, false]);
    await put(id, 'a');
    assert.equal(memory.queue.isReady(id), true);
    const consumer = memory.queue.consume(id);
    assert.deepEqual([memory.queue.isReady(id), memory.queue.hasConsumer(id)], [false, true]);
    const batch = await next(consumer);
    assert.equal(memory.queue.depth(id), 1, 'leased ones count');
    assert.equal(memory.queue.isBusy(id), true);
    const { depth } = await batch.commit();
    assert.equal(depth, 0);
    assert.deepEqual([memory.queue.depth(id), memory.queue.bytes(id), memory.queue.isBusy()], [0, 0, false]);
    consumer.dispose();
    assert.equal(memory.queue.hasConsumer(id), false);
  });

  test('answer for sessions that nobody knows, and refuse what is no id', async (t) => {
    const { memory } = await openedMemory(t);
    assert.deepEqual([memory.queue.depth(99), memory.queue.bytes(99), memory.queue.isBusy(99)], [0, 0, false]);
    assert.deepEqual([memory.queue.isReady(99), memory.queue.hasConsumer(99)], [false, false]);
    assert.equal(memory.queue.depth(null), 0);
    for (const bad of ['x', -1, 1.5, {}]) {
      assert.throws(() => memory.queue.depth(bad), { code: 'ERR_INVALID_ARG' });
      assert.throws(() => memory.queue.isReady(bad), { code: 'ERR_INVALID_ARG' });
    }
    assert.throws(() => memory.queue.hasConsumer(), { code: 'ERR_INVALID_ARG' });
  });

  test('metrics of one session are its own', async (t) => {
    const { memory, session, put } = await openedMemory(t);
    const [id, other] = [await session('a'), await session('b')];
    await put(id, 'a', 'b');
    await put(other, 'c');
    const [one, all] = [memory.queue.metrics(id), memory.queue.metrics()];
    assert.deepEqual([one.depth, one.sessions, all.depth, all.sessions], [2, 1, 3, 2]);
    assert.equal(one.bytes, memory.queue.bytes(id));
    assert.ok(one.oldestAgeMs >= 0 && one.oldestEpoch <= Date.now());
  });
});

describe('pause and resume', () => {
  test('a paused session is not delivered, what comes is still enqueued, and its consumer ends', async (t) => {
    const { memory, session, put } = await openedMemory(t);
    const [id, other] = [await session('a'), await session('b')];
    const consumer = memory.queue.consume(id);
    const pending = consumer.next();
    await memory.queue.pause(id, { reason: 'quota' });
    assert.deepEqual(await settled(pending), { value: undefined, done: true });
    assert.equal(consumer.endReason, 'paused');
    await put(id, 'a');
    await put(other, 'b');
    assert.deepEqual([memory.queue.isReady(id), memory.queue.isReady(other)], [false, true]);
    assert.equal((await memory.queue.discover()).find(({ sessionDbId }) => sessionDbId === id).paused, true);
    assert.equal((await memory.health()).queue.paused, 1);
    await memory.queue.resume(id);
    assert.equal(memory.queue.isReady(id), true);
    assert.deepEqual(names(await next(memory.queue.consume(id))), ['a']);
  });

  test('an open batch may still be committed', async (t) => {
    const { memory, session, put } = await openedMemory(t);
    const id = await session();
    await put(id, 'a');
    const consumer = memory.queue.consume(id);
    const batch = await next(consumer);
    await memory.queue.pause(id);
    assert.equal(consumer.endReason, 'paused');
    assert.equal((await batch.commit()).depth, 0);
  });

  test('a consumer of a paused session waits until it is resumed', async (t) => {
    const { memory, session, put } = await openedMemory(t);
    const id = await session();
    await memory.queue.pause(id);
    await put(id, 'a');
    const pending = memory.queue.consume(id).next();
    assert.equal(await isSettled(pending), false);
    await memory.queue.resume(id);
    assert.deepEqual(names((await settled(pending)).value), ['a']);
  });

  test('all at once; a session that was paused for itself stays so when all resume', async (t) => {
    const { memory, session, put } = await openedMemory(t);
    const [id, other] = [await session('a'), await session('b')];
    await put(id, 'a');
    await put(other, 'b');
    await memory.queue.pause(id);
    await memory.queue.pause();
    assert.ok((await memory.queue.discover()).every(({ paused }) => paused));
    await memory.queue.resume();
    assert.deepEqual([memory.queue.isReady(id), memory.queue.isReady(other)], [false, true]);
    await memory.queue.resume(id);
    assert.equal(memory.queue.isReady(id), true);
  });

  test('a pause ends by itself at untilEpoch, of one session and of all', async (t) => {
    const { memory, session, put } = await openedMemory(t);
    const [id, other] = [await session('a'), await session('b')];
    await memory.queue.pause(id, { untilEpoch: Date.now() + 40 });
    await memory.queue.pause(null, { untilEpoch: Date.now() + 80 });
    await put(id, 'a');
    await put(other, 'b');
    const pending = memory.queue.consume(id).next();
    assert.deepEqual(names((await settled(pending)).value), ['a']);
    await until(() => memory.queue.isReady(other));
    // One that has ended before it began does not stay.
    await memory.queue.pause(other, { untilEpoch: 1 });
    await until(() => memory.queue.isReady(other));
  });

  test('they survive a restart, with their end', async (t) => {
    const opened = await openedMemory(t);
    const [id, other] = [await opened.session('a'), await opened.session('b')];
    await opened.put(id, 'a');
    await opened.put(other, 'b');
    await opened.memory.queue.pause(id);
    await opened.memory.queue.pause(other, { untilEpoch: Date.now() + 1_000 });
    let memory = await opened.reopen();
    assert.equal(memory.queue.isReady(id), false);
    await until(() => memory.queue.isReady(other));
    await memory.queue.pause();
    memory = await opened.reopen();
    assert.deepEqual([memory.queue.isReady(id), memory.queue.isReady(other)], [false, false]);
    await memory.queue.resume();
    await memory.queue.resume(id);
    memory = await opened.reopen();
    assert.deepEqual([memory.queue.isReady(id), memory.queue.isReady(other)], [true, true]);
  });

  test('a pause that was to last for years is clamped to maxPauseMs at the next open', async (t) => {
    const opened = await openedMemory(t, { maxPauseMs: 20 });
    const id = await opened.session();
    await opened.put(id, 'a');
    await opened.memory.queue.pause(id, { untilEpoch: Date.now() + 1e11 });
    const memory = await opened.reopen();
    await until(() => memory.queue.isReady(id));
  });

  test('refuse what is no time, no session and no option', async (t) => {
    const { memory } = await openedMemory(t);
    for (const [id, options] of [['x'], [0], [1, { until: 1 }], [1, { untilEpoch: 'soon' }], [1, { reason: 1 }]]) {
      await assert.rejects(memory.queue.pause(id, options), { code: 'ERR_INVALID_ARG' });
    }
    await assert.rejects(memory.queue.pause(1, { untilEpoc: 1 }), /did you mean untilEpoch\?/);
    await assert.rejects(memory.queue.resume('x'), { code: 'ERR_INVALID_ARG' });
  });
});

describe('purge', () => {
  test('throws away what waits in one session, and says how many', async (t) => {
    const { memory, session, put } = await openedMemory(t);
    const [id, other] = [await session('a'), await session('b')];
    await put(id, 'a', 'b', 'c');
    await put(other, 'd');
    assert.equal(await memory.queue.purge(id), 3);
    assert.equal(await memory.queue.purge(id), 0);
    assert.deepEqual([memory.queue.depth(id), memory.queue.bytes(id), memory.queue.depth()], [0, 0, 1]);
    await put(id, 'e');
    assert.deepEqual(names(await next(memory.queue.consume(id))), ['e']);
  });

  test('a leased batch goes too, and its commit rejects with ERR_LEASE_LOST and stores nothing', async (t) => {
    const { memory, session, put } = await openedMemory(t);
    const id = await session();
    await put(id, 'a', 'b');
    const consumer = memory.queue.consume(id, { maxBatch: 1 });
    const batch = await next(consumer);
    assert.equal(await memory.queue.purge(id), 2);
    await assert.rejects(batch.commit({ observations: [{ type: 'change' }] }), { code: 'ERR_LEASE_LOST' });
    assert.equal((await memory.store.getStats()).observations, 0);
    await put(id, 'c');
    assert.deepEqual(names(await next(consumer)), ['c'], 'the consumer goes on');
  });

  test('acknowledged messages are not counted', async (t) => {
    const { memory, session, put } = await openedMemory(t);
    const id = await session();
    await put(id, 'a', 'b');
    await (await next(memory.queue.consume(id, { maxBatch: 1 }))).commit();
    assert.equal(await memory.queue.purge(id), 1);
  });
});

describe('discover', () => {
  test('lists all sessions with waiting messages, the one with the oldest first', async (t) => {
    const { memory, session, put } = await openedMemory(t);
    const [id, other] = [await session('a'), await session('b')];
    assert.deepEqual(await memory.queue.discover(), []);
    await put(other, 'a');
    await sleep(5);
    await put(id, 'b', 'c');
    const consumer = memory.queue.consume(other);
    await (await next(consumer)).release({ delayMs: 60_000 });
    const [first, second] = await memory.queue.discover();
    const bytes = JSON.stringify(message('a')).length;
    assert.deepEqual(
      { ...first, oldestEpoch: 0, readyAtEpoch: 0 },
      { sessionDbId: other, depth: 1, bytes, oldestEpoch: 0, readyAtEpoch: 0, attempts: 1, paused: false },
    );
    assert.ok(first.readyAtEpoch > Date.now() && first.oldestEpoch <= Date.now());
    assert.deepEqual(
      { ...second, oldestEpoch: 0 },
      { sessionDbId: id, depth: 2, bytes: 2 * bytes, oldestEpoch: 0, readyAtEpoch: null, attempts: 0, paused: false },
    );
  });
});

describe('a restart', () => {
  test('finds every unacknowledged message, in order, with its attempt count', async (t) => {
    const opened = await openedMemory(t, NO_BACKOFF);
    const [id, other] = [await opened.session('a'), await opened.session('b')];
    const everything = Array.from({ length: 20 }, (_, n) => `${n}`);
    await opened.put(id, ...everything);
    await opened.put(other, 'x');
    const consumer = opened.memory.queue.consume(id, { maxBatch: 4 });
    await (await next(consumer)).commit();
    await (await next(consumer)).release({ error: 'no model' });
    consumer.dispose();

    const memory = await opened.reopen();
    assert.deepEqual(
      (await memory.queue.discover()).map(({ sessionDbId, depth, attempts }) => ({ sessionDbId, depth, attempts })),
      [
        { sessionDbId: id, depth: 16, attempts: 1 },
        { sessionDbId: other, depth: 1, attempts: 0 },
      ],
    );
    const found = [];
    const again = memory.queue.consume(id, { maxBatch: 100 });
    while (memory.queue.depth(id) > 0) {
      const batch = await next(again);
      found.push(...batch.messages.map(({ tool_name, attempts }) => [tool_name, attempts]));
      await batch.commit();
    }
    assert.deepEqual(
      found,
      everything.slice(4).map((name, place) => [name, place < 4 ? 1 : 0]),
    );
  });

  test('after a graceful dispose a leased batch comes again and counts no attempt', async (t) => {
    const opened = await openedMemory(t);
    const id = await opened.session();
    await opened.put(id, 'a', 'b');
    await next(opened.memory.queue.consume(id));
    const memory = await opened.reopen();
    const { messages } = await next(memory.queue.consume(id));
    assert.deepEqual(
      messages.map(({ attempts }) => attempts),
      [0, 0],
    );
  });

  test('ids go on, and none is given twice', async (t) => {
    const opened = await openedMemory(t);
    const id = await opened.session();
    const ids = [];
    for (let round = 0; round < 3; round += 1) {
      ids.push((await opened.memory.queue.enqueue(id, message('a'))).id);
      await (await next(opened.memory.queue.consume(id))).commit();
      await opened.reopen();
    }
    assert.deepEqual(
      ids,
      [...new Set(ids)].sort((a, b) => a - b),
    );
  });
});
