'use strict';
// What a message may hold, how it comes in, and how it is read again without bringing it to the heap.

const assert = require('node:assert/strict');
const { describe, test } = require('node:test');

const { next, openedMemory } = require('./opened-memory.cjs');
const { runChild } = require('./children/run-child.cjs');

const invalid = (pattern) => (error) => {
  assert.equal(error.code, 'ERR_INVALID_ARG', error.message);
  assert.match(error.message, pattern);
  return true;
};

/** What comes out for a message that goes in. */
async function throughTheQueue(t, put) {
  const { memory, session } = await openedMemory(t);
  const id = await session();
  await put(memory.queue, id);
  return next(memory.queue.consume(id));
}

describe('enqueue writes what JSON.stringify writes', () => {
  test('any value, non-BMP text and lone surrogates come back as they were', async (t) => {
    const value = {
      type: 'observation',
      text: '😀 𝒳 é \u0000 \u2028 \ud800 \udfff x',
      large: '😀\ud800é"\\\n'.repeat(20_000),
      '\ud83d': 'a lone half as a name',
      numbers: [0, -1.5, 1e300, Number.MAX_SAFE_INTEGER],
      nested: { a: [[], {}, null, true, ''] },
    };
    const batch = await throughTheQueue(t, (queue, id) => queue.enqueue(id, value));
    const { id, attempts, enqueuedAtEpoch, ...back } = batch.messages[0];
    assert.deepEqual({ ...back }, value);
  });

  test('long texts among other members are written letter for letter, and come back in their places', async (t) => {
    const long = 'a "long" text\\ with\n\t\u0001\u007f\u2028 é 😀 '.repeat(60);
    class Call {
      tool = long;
      toolToo = 'short';
    }
    const values = [
      { type: 'observation', first: 1, long, last: null },
      { long },
      { 7: long, b: 2, 3: 'three', a: long, '': long, é: long, 'a "name"': long },
      { long, undefined: undefined, run() {}, nested: { long, list: [long] }, more: long, when: new Date(0) },
      JSON.parse(`{"__proto__":${JSON.stringify(long)},"x":{"__proto__":1},"y":${JSON.stringify(long)}}`),
      Object.assign(Object.create(null), { long, short: 'x' }),
      Object.defineProperty({ long }, 'hidden', { value: long }),
      {
        long,
        get made() {
          return `${long}!`;
        },
      },
      { long, toJSON: () => ({ instead: long }) },
      { long, toJSON: 'no function' },
      new Call(),
      { half: `${long}\ud800`, whole: long, ['\udc00']: long },
      { id: long, attempts: 'of its own', x: long },
      Object.fromEntries(Array.from({ length: 70 }, (_, index) => [`member ${index}`, index % 9 === 0 ? long : index])),
      { n: [-0, 1e21, 0.1], zero: -0, big: 2 ** 53, far: -123456789012345, exact: 1e15, long, yes: true, no: false },
    ];
    for (const value of values) {
      const batch = await throughTheQueue(t, (queue, id) => queue.enqueue(id, value));
      const text = JSON.stringify(value);
      const [message] = batch.messages;
      const { id, attempts, enqueuedAtEpoch } = message;
      const own = JSON.stringify({ id, attempts, enqueuedAtEpoch });
      assert.equal(batch.readRaw(0).toString(), `${text.slice(0, -1)},${own.slice(1)}`);
      const expected = Object.assign(JSON.parse(text), { id, attempts, enqueuedAtEpoch });
      assert.deepEqual(message, expected);
      assert.deepEqual(Object.keys(message), Object.keys(expected));
      assert.equal(Object.getPrototypeOf(message), Object.prototype);
      assert.equal(typeof id === 'number' && typeof attempts === 'number', true);
    }
  });

  test('a getter is called once, whether or not its message has a long text', async (t) => {
    for (const parent of [Object.prototype, null]) {
      for (const text of ['short', 'long '.repeat(1_000)]) {
        let calls = 0;
        const value = Object.create(parent, {
          text: { value: text, enumerable: true },
          call: { get: () => (calls += 1), enumerable: true },
        });
        const batch = await throughTheQueue(t, (queue, id) => queue.enqueue(id, value));
        const [message] = batch.messages;
        assert.deepEqual([message.text === text, message.call, calls], [true, 1, 1]);
      }
    }
  });

  test('messages with different members share a batch', async (t) => {
    const { memory, session } = await openedMemory(t);
    const id = await session();
    const values = Array.from({ length: 30 }, (_, index) =>
      index % 3 === 0 ? { a: 'x', b: index } : { [`name ${index}`]: `"${index}"`, a: { b: [index] }, id: 'mine' },
    );
    for (const value of values) await memory.queue.enqueue(id, value);
    const batch = await next(memory.queue.consume(id, { maxBatch: 30 }));
    assert.equal(batch.messages.length, 30);
    for (const [index, message] of batch.messages.entries()) {
      const { id: own, attempts, enqueuedAtEpoch } = message;
      assert.deepEqual(message, { ...values[index], id: own, attempts, enqueuedAtEpoch });
      assert.equal(Number.isSafeInteger(own), true);
    }
  });

  test('undefined, functions and symbols are left out; dates, maps, NaN and toJSON become what JSON makes of them', async (t) => {
    const value = {
      nothing: undefined,
      run: () => {},
      symbol: Symbol('s'),
      list: [undefined, () => {}, Symbol('s'), NaN],
      date: new Date(0),
      map: new Map([[1, 2]]),
      own: { toJSON: (key) => `made of ${key}` },
    };
    const batch = await throughTheQueue(t, (queue, id) => queue.enqueue(id, value));
    const { id, attempts, enqueuedAtEpoch, ...back } = batch.messages[0];
    assert.deepEqual(back, {
      list: [null, null, null, null],
      date: '1970-01-01T00:00:00.000Z',
      map: {},
      own: 'made of own',
    });
  });

  test('a cycle, a bigint and a toJSON that throws are refused with their place, and nothing is counted', async (t) => {
    const { memory, session } = await openedMemory(t);
    const id = await session();
    const cycle = { tool_input: { list: [{}, {}] } };
    cycle.tool_input.list[1]['back-ref'] = cycle.tool_input;
    const self = {};
    self.me = self;
    const shared = { fine: true };
    for (const [message, pattern] of [
      [
        cycle,
        /'message' cannot be written as JSON: it\.tool_input\.list\[1\]\["back-ref"\] refers back to it\.tool_input, which is circular$/,
      ],
      [self, /it\.me refers back to it, which is circular$/],
      [{ twice: shared, again: [shared, { n: 1n }] }, /it\.again\[1\]\.n is a bigint$/],
      [
        {
          toJSON: () => {
            throw new Error('no thanks');
          },
        },
        /no thanks/,
      ],
      [
        {
          get bad() {
            throw new Error('nor this');
          },
        },
        /nor this/,
      ],
    ]) {
      await assert.rejects(memory.queue.enqueue(id, message), invalid(pattern));
    }
    assert.equal(memory.queue.depth(id), 0);
    await memory.queue.enqueue(id, { twice: shared, again: shared });
    assert.equal(memory.queue.depth(id), 1, 'the same object twice is no cycle');
  });
});

describe('enqueueRaw', () => {
  const FIELDS = { tool_name: 'text', tool_input: 'jsonText', prompt_number: 'integer', rest: 'any' };

  test('gives the message a type and takes over the named fields, as what they are to be', async (t) => {
    const body = {
      tool_input: { path: '/a', list: [1, '😀'] },
      tool_name: 'Edit',
      prompt_number: '3',
      rest: { kept: [true] },
      type: 'forged',
      more: 'left out',
      cwd: null,
    };
    const batch = await throughTheQueue(t, (queue, id) =>
      queue.enqueueRaw(id, Buffer.from(JSON.stringify(body)), { type: 'observation', fields: FIELDS }),
    );
    const { id, attempts, enqueuedAtEpoch, ...back } = batch.messages[0];
    assert.deepEqual(back, {
      type: 'observation',
      tool_name: 'Edit',
      tool_input: JSON.stringify(body.tool_input),
      prompt_number: 3,
      rest: body.rest,
    });
    assert.equal(batch.promptNumber, 3);
  });

  test("takes the dedupe key from the text, before the option; a summary's type ends the batch", async (t) => {
    const { memory, session } = await openedMemory(t);
    const id = await session();
    const options = { type: 'summarize', dedupeKeyField: 'key', dedupeKey: 'header' };
    const put = (body) => memory.queue.enqueueRaw(id, Buffer.from(JSON.stringify(body)), options);
    assert.equal((await put({ key: 'a' })).duplicate, false);
    assert.equal((await put({ key: 'a', other: 1 })).duplicate, 'waiting');
    assert.equal((await put({})).duplicate, false);
    assert.equal((await put({ key: '' })).duplicate, 'waiting', 'an empty one is none');
    assert.equal(memory.queue.depth(id), 2);
    const consumer = memory.queue.consume(id);
    await (await next(consumer)).commit();
    assert.equal(consumer.endReason, 'summary');
  });

  test('refuses what a field must not be, by name; bad options too; and counts nothing', async (t) => {
    const { memory, session } = await openedMemory(t);
    const id = await session();
    const put = (text, options) => memory.queue.enqueueRaw(id, Buffer.from(text), options);
    for (const [text, pattern] of [
      ['{"tool_name":7}', /field "tool_name" of the message must be a string, got 7/],
      ['{"prompt_number":"first"}', /field "prompt_number" of the message must be a whole number from 0/],
      ['{"tool_name":', /not valid JSON/],
      ['[]', /JSON text of one object/],
    ]) {
      await assert.rejects(put(text, { fields: FIELDS }), invalid(pattern), text);
    }
    await assert.rejects(memory.queue.enqueueRaw(id, Buffer.from([0x7b, 0xff])), invalid(/UTF-8 text; byte 1 is not/));
    await assert.rejects(put('{}', { fields: { a: 'txt' } }), invalid(/did you mean 'text'\?/));
    await assert.rejects(put('{}', { typ: 'x' }), invalid(/did you mean type\?/));
    await assert.rejects(memory.queue.enqueue(id, {}, { type: 'x' }), invalid(/unknown option 'type'/));
    const { depth, bytes } = memory.queue.metrics(id);
    assert.deepEqual([depth, bytes], [0, 0]);
  });

  test('counts the bytes that are stored, not those that came; what grows beyond the bound is refused', async (t) => {
    const { memory, session } = await openedMemory(t, { maxMessageBytes: 1_024 });
    const id = await session();
    const put = (body) =>
      memory.queue.enqueueRaw(id, Buffer.from(JSON.stringify(body)), { fields: { tool_input: 'jsonText' } });
    await put({ tool_input: '1', dropped: 'x'.repeat(500) });
    assert.equal(memory.queue.metrics(id).bytes, '{"tool_input":"1"}'.length);
    await assert.rejects(put({ tool_input: { quotes: '"'.repeat(450) } }), { code: 'ERR_QUEUE_FULL', limit: 1_024 });
    assert.equal(memory.queue.metrics(id).bytes, '{"tool_input":"1"}'.length);
  });

  test('a byte order mark before the text is no part of it', async (t) => {
    const batch = await throughTheQueue(t, (queue, id) => queue.enqueueRaw(id, Buffer.from('\ufeff{"type":"a"}')));
    assert.equal(batch.messages[0].type, 'a');
  });
});

describe('a raw message', () => {
  test('is gathered piece by piece and enqueued; twice, or after dispose, ERR_DISPOSED', async (t) => {
    const { memory, session } = await openedMemory(t);
    const id = await session();
    const raw = memory.queue.raw(id);
    assert.equal(raw.sessionDbId, id);
    assert.equal(raw.append(Buffer.from('{"text":"é')), 11);
    const rest = Buffer.from('😀"}');
    assert.equal(raw.append(rest.subarray(0, 2)), 13, 'a character may be cut');
    raw.append(rest.subarray(2));
    const { depth, duplicate } = await raw.enqueue({ type: 'observation', fields: { text: 'text' } });
    assert.deepEqual([depth, duplicate], [1, false]);
    assert.throws(() => raw.append(rest), { code: 'ERR_DISPOSED' });
    await assert.rejects(raw.enqueue(), { code: 'ERR_DISPOSED' });
    const batch = await next(memory.queue.consume(id));
    assert.equal(batch.messages[0].text, 'é😀');
    const other = memory.queue.raw(id);
    other.append(rest);
    other.dispose();
    other.dispose();
    await assert.rejects(other.enqueue(), { code: 'ERR_DISPOSED' });
    assert.equal(memory.queue.depth(id), 1);
  });

  test('refuses what is no bytes, and more than a message may have', async (t) => {
    const { memory, session } = await openedMemory(t, { maxMessageBytes: 1_024 });
    const id = await session();
    const raw = memory.queue.raw(id);
    assert.throws(() => raw.append('text'), invalid(/'piece' must be a Buffer or a Uint8Array/));
    raw.append(Buffer.alloc(1_000, ' '));
    assert.throws(() => raw.append(Buffer.alloc(25, ' ')), { code: 'ERR_QUEUE_FULL', limit: 1_024 });
    raw.append(Buffer.from('{}'));
    assert.equal((await raw.enqueue()).depth, 1);
    await assert.rejects(memory.queue.raw(id).enqueue(), invalid(/JSON text of one object/));
    assert.throws(() => memory.queue.raw('x'), invalid(/'sessionDbId'/));
  });
});

describe('a large text is read', () => {
  test('in parts, as slice() counts; a surrogate pair is not cut', async (t) => {
    const text = '😀é\n"\\\ud800x'.repeat(10_000);
    const batch = await throughTheQueue(t, (queue, id) => queue.enqueue(id, { tool_response: text }));
    const read = (start, end) => batch.readText(0, 'tool_response', start, end);
    assert.equal(read(), text);
    assert.equal(read(0, 8), text.slice(0, 8));
    assert.equal(read(0, 9), text.slice(0, 8), 'the ninth unit is half of a pair');
    assert.equal(read(2, 5), text.slice(2, 5));
    assert.equal(read(text.length - 3), text.slice(-3));
    assert.equal(read(0, 1), '');
    assert.equal(read(0, 0), '');
    assert.equal(read(text.length), '');
    assert.equal(read(null, 1e9), text);
    assert.throws(() => read(-1), invalid(/'start'/));
    let whole = '';
    for (let part; (part = read(whole.length, whole.length + 1_000)) !== '';) whole += part;
    assert.equal(whole, text);
  });

  test('raw: the message as bytes, with what the engine says of it', async (t) => {
    const { memory, session } = await openedMemory(t);
    const id = await session();
    await memory.queue.enqueue(id, {});
    await memory.queue.enqueueRaw(id, Buffer.from(` { "id": 7, "text": "${'é'.repeat(40_000)}" } `));
    const batch = await next(memory.queue.consume(id));
    for (const [index, message] of batch.messages.entries()) {
      const raw = batch.readRaw(index);
      assert.ok(Buffer.isBuffer(raw));
      assert.deepEqual(JSON.parse(raw), { ...message });
    }
    assert.throws(() => batch.readRaw(2), invalid(/'index'/));
    batch.dispose();
    assert.throws(() => batch.readRaw(0), { code: 'ERR_DISPOSED' });
  });
});

describe('a message of 50 MB passes through a heap of', () => {
  for (const megabytes of [26, 64]) {
    test(`${megabytes} MB`, async () => {
      const { code, stdout, stderr } = await runChild('payload-large.cjs', {
        nodeArgs: [`--max-old-space-size=${megabytes}`],
      });
      assert.deepEqual({ code, stdout }, { code: 0, stdout: 'stored' }, stderr);
    });
  }
});
