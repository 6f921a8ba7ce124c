'use strict';
// Consumers: what they are handed, why they end, and what becomes of an open batch.

const assert = require('node:assert/strict');
const { describe, test } = require('node:test');

const { NO_BACKOFF, isSettled, message, names, next, openedMemory, settled, until } = require('./opened-memory.cjs');
const { runChild } = require('./children/run-child.cjs');

/** What a consumer that has ended answers. */
const DONE = { value: undefined, done: true };

describe('consume', () => {
  test('answers at once, and throws for what it cannot do', async (t) => {
    const { memory, session } = await openedMemory(t);
    const id = await session();
    const consumer = memory.queue.consume(id);
    assert.equal(consumer.sessionDbId, id);
    assert.equal(consumer.endReason, null);
    assert.throws(
      () => memory.queue.consume(id),
      (error) => {
        assert.equal(error.code, 'ERR_LOCKED');
        assert.equal(error.sessionDbId, id);
        assert.match(error.message, /has a live consumer; dispose it/);
        return true;
      },
    );
    consumer.dispose();
    memory.queue.consume(id).dispose();
  });

  test('names a misspelled option and one out of its range', async (t) => {
    const { memory, session } = await openedMemory(t);
    const id = await session();
    for (const [options, expected] of [
      [{ maxbatch: 1 }, /unknown option 'maxbatch'; did you mean maxBatch\?/],
      [{ maxBatch: 0 }, /'maxBatch' must be an integer from 1 to 10000, got 0/],
      [{ maxBatchBytes: 1.5 }, /'maxBatchBytes' must be an integer from 1 to 1000000000 bytes, got 1.5/],
      [{ leaseMs: -1 }, /'leaseMs' must be an integer from 1 to 86400000 ms, got -1/],
      [{ idleTimeoutMs: Infinity }, /'idleTimeoutMs' must be an integer from 1 .* got Infinity/],
      [{ keepAlive: 'yes' }, /'keepAlive' must be true or false, got 'yes'/],
      [{ autoExtend: 1 }, /'autoExtend' must be true or false/],
    ]) {
      assert.throws(
        () => memory.queue.consume(id, options),
        (error) => {
          assert.equal(error.code, 'ERR_INVALID_ARG');
          assert.match(error.message, expected);
          return true;
        },
      );
    }
    assert.throws(() => memory.queue.consume('x'), { code: 'ERR_INVALID_ARG' });
    assert.equal(memory.queue.hasConsumer(id), false, 'a refused one holds nothing');
    memory.queue.consume(id, undefined).dispose();
    memory.queue.consume(id, null).dispose();
    memory.queue.consume(id, { maxBatch: undefined, leaseMs: null }).dispose();
  });

  test('a batch is a prefix of the queue: at most 8 by default, at most maxBatch', async (t) => {
    const { memory, session, put } = await openedMemory(t);
    const id = await session();
    const all = Array.from({ length: 20 }, (_, n) => `${n}`);
    await put(id, ...all);
    const consumer = memory.queue.consume(id);
    const batch = await next(consumer);
    assert.deepEqual(names(batch), all.slice(0, 8));
    assert.equal(batch.upto, batch.messages[7].id);
    assert.equal(batch.sessionDbId, id);
    await batch.commit();
    consumer.dispose();
    const other = memory.queue.consume(id, { maxBatch: 5 });
    assert.deepEqual(names(await next(other)), all.slice(8, 13));
  });

  test('at most maxBatchBytes; a larger message comes alone', async (t) => {
    const { memory, session } = await openedMemory(t);
    const id = await session();
    const sized = (bytes, tool_name) => {
      const empty = JSON.stringify({ tool_name, x: '' }).length;
      return memory.queue.enqueue(id, { tool_name, x: 'x'.repeat(bytes - empty) });
    };
    for (const [bytes, name] of [
      [500, 'a'],
      [500, 'b'],
      [1, 'c'],
      [5_000, 'large'],
      [600, 'd'],
      [600, 'e'],
    ]) {
      await sized(Math.max(bytes, 100), name);
    }
    const consumer = memory.queue.consume(id, { maxBatchBytes: 1_000 });
    const batches = [];
    while (memory.queue.depth(id) > 0) {
      const batch = await next(consumer);
      batches.push(names(batch));
      await batch.commit();
    }
    assert.deepEqual(batches, [['a', 'b'], ['c'], ['large'], ['d'], ['e']]);
  });

  test('never across a change of prompt_number', async (t) => {
    const { memory, session } = await openedMemory(t);
    const id = await session();
    for (const prompt_number of [1, 1, 2, 1, undefined, undefined, 'x', 3]) {
      await memory.queue.enqueue(id, { type: 'observation', prompt_number });
    }
    const consumer = memory.queue.consume(id);
    const seen = [];
    while (memory.queue.depth(id) > 0) {
      const batch = await next(consumer);
      seen.push([batch.promptNumber, batch.messages.length]);
      await batch.commit();
    }
    assert.deepEqual(seen, [
      [1, 2],
      [2, 1],
      [1, 1],
      [null, 3],
      [3, 1],
    ]);
  });

  test('the next batch is handed out only after this one was committed or released', async (t) => {
    const { memory, session, put } = await openedMemory(t, NO_BACKOFF);
    const id = await session();
    await put(id, 'a', 'b', 'c');
    const consumer = memory.queue.consume(id, { maxBatch: 1 });
    const batch = await next(consumer);
    assert.equal((await memory.health()).queue.inFlight, 1);
    assert.equal(memory.queue.depth(id), 3);
    await batch.commit();
    const second = await next(consumer);
    assert.deepEqual(names(second), ['b']);
    await second.release();
    assert.deepEqual(names(await next(consumer)), ['b']);
  });

  test('next() that is pending already rejects a second one', async (t) => {
    const { memory, session, put } = await openedMemory(t);
    const id = await session();
    const consumer = memory.queue.consume(id);
    const first = consumer.next();
    await assert.rejects(consumer.next(), (error) => {
      assert.equal(error.code, 'ERR_INVALID_ARG');
      assert.match(error.message, /pending already/);
      return true;
    });
    await put(id, 'a');
    assert.deepEqual(names((await settled(first)).value), ['a']);
  });
});

describe('a pending next() settles when', () => {
  /** A consumer that waits, and its pending next(). */
  async function waiting(t, options, openOptions) {
    const opened = await openedMemory(t, openOptions);
    const id = await opened.session();
    const consumer = opened.memory.queue.consume(id, options);
    return { ...opened, id, consumer, pending: consumer.next() };
  }

  /** Asserts that it ends, and why; prints how soon. */
  async function ends(t, { consumer, pending }, reason, act) {
    assert.equal(await isSettled(pending), false);
    const startedAt = performance.now();
    await act?.();
    assert.deepEqual(await settled(pending), DONE);
    t.diagnostic(`${reason} after ${(performance.now() - startedAt).toFixed(1)} ms`);
    assert.equal(consumer.endReason, reason);
    assert.deepEqual(await consumer.next(), DONE, 'it stays ended');
    assert.deepEqual(await consumer.return(), DONE);
    consumer.dispose();
    assert.equal(consumer.endReason, reason, 'the first reason counts');
  }

  test('a message arrives', async (t) => {
    const { memory, id, pending, consumer } = await waiting(t);
    const startedAt = performance.now();
    const { depth } = await memory.queue.enqueue(id, message('a'));
    assert.equal(depth, 1);
    const { value, done } = await settled(pending);
    t.diagnostic(`a batch after ${(performance.now() - startedAt).toFixed(1)} ms`);
    assert.equal(done, false);
    assert.deepEqual(names(value), ['a']);
    assert.equal(consumer.endReason, null);
  });

  test('the consumer is disposed', async (t) => {
    const waits = await waiting(t);
    await ends(t, waits, 'disposed', () => waits.consumer.dispose());
  });

  test('the consumer is returned', async (t) => {
    const waits = await waiting(t);
    await ends(t, waits, 'disposed', () => waits.consumer.return());
  });

  test('the memory is disposed', async (t) => {
    const waits = await waiting(t);
    await ends(t, waits, 'disposed', () => waits.memory.dispose());
  });

  test('the session is deleted', async (t) => {
    const waits = await waiting(t);
    await ends(t, waits, 'deleted', () => waits.memory.sessions.delete(waits.id));
  });

  test('the session, or all, are paused', async (t) => {
    const waits = await waiting(t);
    await ends(t, waits, 'paused', () => waits.memory.queue.pause(waits.id));
    const others = await waiting(t);
    await ends(t, others, 'paused', () => others.memory.queue.pause());
  });

  test('the idle timeout runs out', async (t) => {
    const waits = await waiting(t, { idleTimeoutMs: 100 });
    await ends(t, waits, 'idle');
    assert.equal(waits.memory.queue.hasConsumer(waits.id), false);
  });

  test("the session's TTL runs out", async (t) => {
    const opened = await openedMemory(t, { sessionTtlMs: 150 });
    const id = await opened.session();
    await opened.memory.sessions.initialize(id);
    const consumer = opened.memory.queue.consume(id);
    await ends(t, { consumer, pending: consumer.next() }, 'expired');
  });

  test('a backoff is over, a pause is lifted', async (t) => {
    const { memory, session, put } = await openedMemory(t);
    const id = await session();
    await put(id, 'a');
    const consumer = memory.queue.consume(id);
    await (await next(consumer)).release({ delayMs: 30 });
    assert.deepEqual(names(await next(consumer)), ['a']);
  });

  test('the idle timeout counts anew for each next()', async (t) => {
    const { memory, session, put } = await openedMemory(t);
    const id = await session();
    const consumer = memory.queue.consume(id, { idleTimeoutMs: 60_000 });
    for (const name of ['a', 'b', 'c']) {
      const pending = consumer.next();
      await put(id, name);
      const { value } = await settled(pending);
      assert.deepEqual(names(value), [name]);
      await value.commit();
    }
    assert.equal(consumer.endReason, null);
  });
});

describe('for await', () => {
  test('runs over the batches, and ends after an endsBatch message was committed', async (t) => {
    const { memory, session, put } = await openedMemory(t);
    const id = await session();
    await put(id, 'a', 'b');
    await memory.queue.enqueue(id, { type: 'summarize', prompt_number: 1, tool_name: 'end' });
    await put(id, 'behind');
    const consumer = memory.queue.consume(id);
    const seen = [];
    for await (const batch of consumer) {
      seen.push(names(batch));
      await batch.commit({ summary: { request: 'r' } });
    }
    assert.deepEqual(seen, [['a', 'b', 'end']]);
    assert.equal(consumer.endReason, 'summary');
    // What is behind it stays.
    assert.equal(memory.queue.depth(id), 1);
    assert.equal(memory.queue.isReady(id), true);
    assert.deepEqual(await next(memory.queue.ready()), { sessionDbId: id, depth: 1, attempts: 0 });
    assert.deepEqual(names(await next(memory.queue.consume(id))), ['behind']);
  });

  test('endsBatch overrides the type, both ways', async (t) => {
    const { memory, session } = await openedMemory(t);
    const id = await session();
    await memory.queue.enqueue(id, message('a', { type: 'summarize' }), { endsBatch: false });
    await memory.queue.enqueue(id, message('b'), { endsBatch: true });
    await memory.queue.enqueue(id, message('c'));
    const consumer = memory.queue.consume(id);
    const batch = await next(consumer);
    assert.deepEqual(names(batch), ['a', 'b']);
    await batch.commit();
    assert.deepEqual(await settled(consumer.next()), DONE);
    assert.equal(consumer.endReason, 'summary');
  });

  test('a summary that is released does not end it', async (t) => {
    const { memory, session } = await openedMemory(t, NO_BACKOFF);
    const id = await session();
    await memory.queue.enqueue(id, { type: 'summarize' });
    const consumer = memory.queue.consume(id);
    await (await next(consumer)).release();
    assert.equal(consumer.endReason, null);
    await (await next(consumer)).commit();
    assert.equal(consumer.endReason, 'summary');
  });

  for (const [how, leave] of [
    ['break', (iterate) => iterate(() => 'break')],
    [
      'throw',
      async (iterate) => {
        const error = new Error('the agent failed');
        const thrown = iterate(() => {
          throw error;
        });
        await assert.rejects(thrown, error);
      },
    ],
  ]) {
    test(`${how} releases an open batch, counted, with backoff`, async (t) => {
      const { memory, session, put } = await openedMemory(t, { backoffBaseMs: 60_000 });
      const id = await session();
      await put(id, 'a', 'b');
      const consumer = memory.queue.consume(id);
      await leave(async (body) => {
        for await (const batch of consumer) {
          if (body(batch) === 'break') break;
        }
      });
      assert.equal(consumer.endReason, 'disposed');
      assert.equal(memory.queue.hasConsumer(id), false);
      await until(async () => (await memory.queue.discover())[0].attempts === 1);
      const [waiting] = await memory.queue.discover();
      assert.ok(waiting.readyAtEpoch > Date.now());
      assert.equal(waiting.depth, 2);
      assert.equal(memory.queue.isReady(id), false);
    });
  }

  test('next() with an open batch releases it, counted, and the batch comes again, halved', async (t) => {
    const { memory, session, put } = await openedMemory(t, NO_BACKOFF);
    const id = await session();
    await put(id, 'a', 'b', 'c', 'd');
    const consumer = memory.queue.consume(id, { maxBatch: 4 });
    const first = await next(consumer);
    const second = await next(consumer);
    assert.deepEqual(names(second), ['a', 'b']);
    assert.equal(second.messages[0].attempts, 1);
    await assert.rejects(first.commit(), { code: 'ERR_LEASE_LOST' });
    await second.commit();
  });

  test('dispose() releases an open batch at once, and counts no attempt', async (t) => {
    const { memory, session, put } = await openedMemory(t, { backoffBaseMs: 60_000 });
    const id = await session();
    await put(id, 'a');
    const consumer = memory.queue.consume(id);
    const batch = await next(consumer);
    consumer.dispose();
    consumer.dispose();
    await assert.rejects(batch.commit(), { code: 'ERR_LEASE_LOST' });
    const again = await next(memory.queue.consume(id));
    assert.equal(again.messages[0].attempts, 0);
  });
});

describe('an open batch', () => {
  test("may still commit after its session's TTL", async (t) => {
    const { memory, session, put } = await openedMemory(t, { sessionTtlMs: 100 });
    const id = await session();
    await put(id, 'a');
    const consumer = memory.queue.consume(id);
    const batch = await next(consumer);
    await until(() => consumer.endReason === 'expired');
    assert.equal(memory.sessions.get(id), null);
    assert.equal((await batch.commit({ observations: [{ type: 'change' }] })).depth, 0);
    assert.equal((await memory.store.getStats()).observations, 1);
  });

  test('whose lease runs out closes its consumer; another takes the session, counted', async (t) => {
    const { memory, session, put } = await openedMemory(t, NO_BACKOFF);
    const id = await session();
    await put(id, 'a', 'b');
    const consumer = memory.queue.consume(id, { leaseMs: 50 });
    const batch = await next(consumer);
    await until(() => consumer.endReason === 'expired');
    assert.deepEqual(await consumer.next(), DONE);
    const other = memory.queue.consume(id, { maxBatch: 2 });
    const again = await next(other);
    assert.deepEqual(
      again.messages.map(({ tool_name, attempts }) => [tool_name, attempts]),
      [['a', 1]],
    );
    await assert.rejects(batch.commit({ observations: [{ type: 'change' }] }), { code: 'ERR_LEASE_LOST' });
    await again.commit();
    assert.equal((await memory.store.getStats()).observations, 0);
    assert.equal(memory.queue.depth(id), 1);
  });

  test('whose lease ran out may still commit while nobody has claimed since', async (t) => {
    const { memory, session, put } = await openedMemory(t, NO_BACKOFF);
    const id = await session();
    await put(id, 'a', 'b');
    const consumer = memory.queue.consume(id, { leaseMs: 30 });
    const batch = await next(consumer);
    await until(() => consumer.endReason === 'expired');
    await until(() => memory.queue.isReady(id));
    const { observations, depth } = await batch.commit({ observations: [{ type: 'change', title: 'paid for' }] });
    assert.deepEqual([observations.length, depth], [1, 0]);
    await assert.rejects(batch.commit(), { code: 'ERR_LEASE_LOST' });
    await put(id, 'c');
    const { messages } = await next(memory.queue.consume(id));
    assert.deepEqual(
      messages.map(({ tool_name, attempts }) => [tool_name, attempts]),
      [['c', 0]],
    );
  });

  test('with autoExtend keeps its lease until its handle goes', async (t) => {
    const { memory, session, put } = await openedMemory(t);
    const id = await session();
    await put(id, 'a');
    const consumer = memory.queue.consume(id, { leaseMs: 20, autoExtend: true });
    const batch = await next(consumer);
    const plain = await session('plain');
    await put(plain, 'b');
    const other = memory.queue.consume(plain, { leaseMs: 20 });
    await next(other);
    await until(() => other.endReason === 'expired');
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.equal(consumer.endReason, null);
    assert.equal((await batch.commit()).depth, 0);
  });
});

test('5,500 waits that end leave nothing behind, and warn nobody', async (t) => {
  const warnings = [];
  const warn = (warning) => warnings.push(warning);
  process.on('warning', warn);
  t.after(() => process.off('warning', warn));
  const { memory, session, put } = await openedMemory(t, { sessionTtlMs: 60_000 });
  const id = await session();
  // 5,000 consumers that wait once, and one consumer that waits 500 times.
  for (let n = 0; n < 5_000; n += 1) {
    const consumer = memory.queue.consume(id);
    const pending = consumer.next();
    consumer.dispose();
    assert.deepEqual(await settled(pending), DONE);
  }
  const consumer = memory.queue.consume(id);
  for (let n = 0; n < 500; n += 1) {
    const pending = consumer.next();
    await put(id, 'a');
    await (await settled(pending)).value.commit();
  }
  consumer.dispose();
  const { handles } = await memory.health();
  assert.deepEqual([handles.consumers, handles.batches], [0, 0]);
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(warnings, []);
});

describe('what keeps the process alive', () => {
  const CASES = {
    'a consumer that waits does not': ['wait', ''],
    'one with keepAlive does, to its end': ['keep-alive', 'idle'],
    'one with something to claim does': ['claimable', 'delivered'],
    'ready() that waits does not': ['ready', ''],
    'an enqueue does': ['enqueue', 'durable'],
  };
  for (const [name, [how, expected]] of Object.entries(CASES)) {
    test(name, async () => {
      const { code, signal, stdout, stderr } = await runChild('queue-keep-alive.cjs', { args: [how] });
      assert.deepEqual({ code, signal, stdout, stderr }, { code: 0, signal: null, stdout: expected, stderr: '' });
    });
  }
});

test('a consumer, a batch and an iterator that are only garbage-collected release what they hold', async () => {
  const { code, stdout, stderr } = await runChild('queue-collect.cjs', { nodeArgs: ['--expose-gc'] });
  assert.deepEqual({ code, stdout, stderr }, { code: 0, stdout: 'released', stderr: '' });
});
