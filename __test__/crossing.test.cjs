'use strict';
// The crossing between JavaScript and the native threads: promises, values, errors, arguments, teardown.

const assert = require('node:assert/strict');
const { describe, test } = require('node:test');
const { runChild } = require('./children/run-child.cjs');
const { CrossingProbe } = require('./fault/index.cjs');

const columns = (count) => Array.from({ length: count }, (_, place) => `column_${place}`);

/** What a child must look like that came to its end by itself. */
function assertClean(child, stdout) {
  assert.deepEqual(
    { code: child.code, signal: child.signal, stdout: child.stdout.trim(), stderr: child.stderr },
    { code: 0, signal: null, stdout, stderr: '' },
  );
}

describe('what keeps the process alive', () => {
  test('a pending wait does not', async () => {
    assertClean(await runChild('crossing-keep-alive.cjs', { args: ['wait'] }), '');
  });

  test('a pending operation does', async () => {
    assertClean(await runChild('crossing-keep-alive.cjs', { args: ['operation'] }), 'settled');
  });

  test('an operation does beside a wait, and only until it is settled', async () => {
    assertClean(await runChild('crossing-keep-alive.cjs', { args: ['wait-then-operation'] }), 'settled');
  });

  test('an answer that takes many turns does to its end', async () => {
    assertClean(await runChild('crossing-keep-alive.cjs', { args: ['large-answer'] }), 'settled');
  });
});

describe('the end of an environment', () => {
  for (const when of ['at-once', '0', '5', '30']) {
    test(`process.exit with 10,000 in flight, ${when === 'at-once' ? when : `after ${when} ms`}`, async () => {
      assertClean(await runChild('crossing-exit.cjs', { args: [when] }), '');
    });
  }

  for (const how of ['terminate', 'terminate-loaded', 'exit', 'exit-loaded']) {
    test(`20 worker_threads threads end while native threads are busy: ${how}`, async () => {
      assertClean(await runChild('crossing-terminate.cjs', { args: ['20', how] }), '20 rounds');
    });
  }
});

describe('settling', () => {
  test('10,000 operations answer each its own', async () => {
    const probe = new CrossingProbe();
    const answers = await Promise.all(Array.from({ length: 10_000 }, (_, i) => probe.echo(i)));
    assert.ok(answers.every((answer, i) => answer === i));
    probe.dispose();
  });

  test('large answers wait in their thread while 64 MiB of others are on their way', async () => {
    const probe = new CrossingProbe();
    // 100 answers of some 4 MiB each, and an event loop that looks at none of them for a while.
    const answers = Array.from({ length: 100 }, () => probe.rows(columns(2), 2_000, 2_000));
    for (const until = performance.now() + 400; performance.now() < until;);
    const backlog = probe.backlog();
    assert.ok(backlog > 0 && backlog <= 64 * 1024 * 1024, `${backlog} bytes`);
    for (const rows of answers) assert.equal((await rows).length, 2_000);
    assert.equal(probe.backlog(), 0);
    probe.dispose();
  });

  test('a large answer is built over many turns, and others settle in between', async () => {
    const probe = new CrossingProbe();
    let turns = 0;
    let built = false;
    const large = probe.rows(columns(15), 30_000, 20).then((rows) => {
      built = true;
      return rows;
    });
    // One thread serves both, in order: when the echo has settled, the rows have been read.
    await probe.echo(1);
    assert.equal(built, false, 'the small answer overtakes the large one');
    const count = () => {
      turns++;
      if (!built) setImmediate(count);
    };
    count();
    const rows = await large;
    // How many depends on the machine; in one go it would be none.
    assert.ok(turns >= 3, `${turns} turns`);
    assert.equal(rows.length, 30_000);
    for (const [i, row] of rows.entries()) {
      if (row.column_0 !== i || !row.column_14.startsWith(`column_14-${i}x`)) assert.fail(`row ${i}`);
    }
    probe.dispose();
  });

  test('several large answers at once, nested ones and lists among them', async () => {
    const probe = new CrossingProbe();
    const [rows, timeline, list] = await Promise.all([
      probe.rows(columns(3), 20_000, 0),
      probe.timeline(20_000),
      probe.list(20_000),
    ]);
    assert.equal(rows.at(-1).column_2, 'column_2-19999');
    assert.deepEqual(timeline.observations.at(-1), { id: 19_999, title: 'title-19999', text: 'text-19999' });
    assert.deepEqual(timeline.sessions[12_345], { id: 12_345, title: 'title-12345' });
    assert.equal(timeline.prompts.length, 20_000);
    assert.deepEqual(list.slice(-2), [
      { id: 19_998, createdAtEpoch: 1_700_000_019_998, note: null },
      { id: 19_999, createdAtEpoch: 1_700_000_019_999, note: 'note 19999' },
    ]);
    probe.dispose();
  });

  test('a getter that somebody put on Object.prototype may call the module while it settles', async (t) => {
    const probe = new CrossingProbe();
    let calls = 0;
    Object.defineProperty(Object.prototype, 'then', {
      configurable: true,
      get() {
        calls++;
        probe.kinds();
        probe.echo(calls);
        return undefined;
      },
    });
    t.after(() => delete Object.prototype.then);
    const row = await probe.row(['id', 'text'], 1);
    delete Object.prototype.then;
    assert.deepEqual(row, { id: 0, text: 'text-0' });
    assert.ok(calls > 0);
    probe.dispose();
  });

  test('the module may be loaded a second time in the same environment', async () => {
    assertClean(await runChild('crossing-load-twice.cjs'), 'settled');
  });
});

describe('values', () => {
  const probe = new CrossingProbe();

  test('of each kind', () => {
    const [missing, none, yes, large, half, text, name, json, row, noRow] = probe.kinds();
    assert.deepEqual(
      [missing, none, yes, large, half, text, name, row, noRow],
      [undefined, null, true, 2 ** 40, 0.5, 'naïve 雪 😀', 'idle', { a: 0 }, null],
    );
    assert.deepEqual(Object.getOwnPropertyNames(json), ['__proto__', 'a']);
    assert.equal(Object.getPrototypeOf(json), Object.prototype);
  });

  test('column names become own properties, whatever they are', async () => {
    const names = ['id', '__proto__', 'constructor', 'toString', 'a"b', "a'b", 'a\\', '\u2028', '}){', '', '1', '雪'];
    const [row] = await probe.rows(names, 1, 0);
    assert.equal(Object.getPrototypeOf(row), Object.prototype);
    for (const name of names.slice(1)) {
      assert.deepEqual(Object.getOwnPropertyDescriptor(row, name), {
        value: `${name}-0`,
        writable: true,
        enumerable: true,
        configurable: true,
      });
    }
    assert.equal({}.polluted, undefined);
  });

  test('rows without eval', async () => {
    const child = await runChild('crossing-keep-alive.cjs', {
      args: ['large-answer'],
      nodeArgs: ['--disallow-code-generation-from-strings'],
    });
    assertClean(child, 'settled');
  });

  test('one row, or null', async () => {
    assert.deepEqual(await probe.row(['id', 'text'], 3), { id: 0, text: 'text-0' });
    assert.equal(await probe.row(['id'], 0), null);
    assert.deepEqual(await probe.rows(['id'], 0, 0), []);
  });

  test('texts of every length and alphabet', () => {
    for (const unit of ['a', 'é', '雪', '😀', '\0']) {
      for (const length of [
        0, 1, 126, 127, 128, 169, 170, 171, 253, 254, 255, 507, 508, 509, 510, 511, 512, 513, 5_000,
      ]) {
        const text = unit.repeat(length);
        assert.ok(probe.text(text) === text, `${JSON.stringify(unit)} × ${length}`);
        assert.ok(probe.text(`${text}😀`) === `${text}😀`, `${JSON.stringify(unit)} × ${length} and a pair`);
      }
    }
  });

  test('half a surrogate pair becomes U+FFFD', () => {
    assert.equal(probe.text('a\ud800b'), 'a\ufffdb');
    assert.equal(probe.text('\udc00'), '\ufffd');
  });

  test('an instance of a class', async () => {
    const sibling = await probe.sibling();
    assert.ok(sibling instanceof CrossingProbe);
    assert.equal(await sibling.echo(3), 3);
    sibling[Symbol.dispose]();
    await assert.rejects(sibling.echo(3), { code: 'ERR_DISPOSED' });
  });
});

describe('handles', () => {
  test('a part is made once, and cannot be replaced', async () => {
    const probe = new CrossingProbe();
    const { part } = probe;
    assert.ok(part instanceof CrossingProbe);
    assert.equal(probe.part, part);
    assert.throws(() => {
      'use strict';
      probe.part = null;
    }, TypeError);
    assert.equal(await part.echo(1), 1);
    probe.dispose();
    assert.equal(probe.part, part);
  });

  test('for await, which ends when the handle is disposed', async () => {
    const probe = new CrossingProbe();
    const got = [];
    probe.put(1); // nobody waits: dropped
    setImmediate(() => probe.put(2));
    for await (const value of probe) {
      got.push(value);
      if (got.length === 3) setImmediate(() => probe.dispose());
      else setImmediate(() => probe.put(value + 1));
    }
    assert.deepEqual(got, [2, 3, 4]);
  });

  test('the garbage collector ends the thread of one that nobody holds', async () => {
    assertClean(await runChild('crossing-collect.cjs', { nodeArgs: ['--expose-gc'] }), 'collected');
  });

  test('10,000 rounds of promises leave the heap as it was', async () => {
    assertClean(await runChild('crossing-leaks.cjs', { nodeArgs: ['--expose-gc'] }), 'steady');
  });
});

describe('errors', () => {
  const probe = new CrossingProbe();

  test('are Error objects with code and figures', async () => {
    const error = await probe.fail().catch((caught) => caught);
    assert.ok(error instanceof Error);
    assert.deepEqual(
      { ...error, message: error.message },
      {
        code: 'ERR_QUEUE_FULL',
        depth: 3,
        limit: 'three',
        message: 'the queue is full',
      },
    );
    assert.throws(() => probe.failNow(), { name: 'Error', code: 'ERR_LOCKED', message: 'taken', pid: 7 });
  });

  test('a wrong argument rejects, and is never thrown', async () => {
    const promise = probe.echo(1.5);
    await assert.rejects(promise, { code: 'ERR_INVALID_ARG', argument: 'value' });
  });

  test('a panic is an error of its call, wherever it happens, and the next call works', async (t) => {
    for (const place of ['prepare', 'start', 'dropped', 'conversion']) {
      await assert.rejects(probe.panic(place), { code: 'ERR_INTERNAL' }, place);
    }
    // Outside of everything that this module does itself: napi-rs names the code.
    assert.throws(() => probe.panic('glue'), { code: 'GenericFailure', message: 'injected into the glue' });
    assert.throws(() => probe.panicNow(), { code: 'ERR_INTERNAL' });
    assert.equal(await probe.echo(1), 1);
    t.diagnostic('the panic messages above are the injected ones');
  });

  test('an exception during a conversion names its cause', async () => {
    await assert.rejects(probe.json('{"a":'), { code: 'ERR_INTERNAL', message: /JSON/ });
    assert.deepEqual(await probe.json('{"a":[1]}'), { a: [1] });
  });

  test('after dispose, which may be called twice', async () => {
    const gone = new CrossingProbe();
    const waiting = gone.hold();
    gone.dispose();
    gone.dispose();
    gone[Symbol.dispose]();
    await assert.rejects(waiting, { code: 'ERR_DISPOSED' });
    await assert.rejects(gone.echo(1), { code: 'ERR_DISPOSED', message: /disposed/ });
    assert.throws(() => gone.put(1), { code: 'ERR_DISPOSED' });
  });
});

describe('arguments', () => {
  const probe = new CrossingProbe();
  const accepted = (form, value, expected) => assert.deepEqual(probe.decode(form, value), expected);
  const refused = (form, value, message) =>
    assert.throws(
      () => probe.decode(form, value),
      (error) => {
        assert.equal(error.code, 'ERR_INVALID_ARG');
        assert.equal(error.message, message);
        return true;
      },
    );

  test('integers and their bounds', () => {
    accepted('integer', 7, 7);
    accepted('integer', '7', 7);
    accepted('id', Number.MAX_SAFE_INTEGER, Number.MAX_SAFE_INTEGER);
    refused('integer', 101, "argument 'value' must be an integer from 1 to 100 ms, got 101");
    refused('integer', 0.5, "argument 'value' must be an integer from 1 to 100 ms, got 0.5");
    refused('integer', 'ten', "argument 'value' must be an integer from 1 to 100 ms, got 'ten'");
    refused('integer', '', "argument 'value' must be an integer from 1 to 100 ms, got ''");
    refused('integer', undefined, "argument 'value' must be an integer from 1 to 100 ms, got undefined");
    refused('integer', 5n, "argument 'value' must be an integer from 1 to 100 ms, got a bigint");
    refused('id', 0, "argument 'value' must be an integer from 1, got 0");
    refused('id', 2 ** 53, "argument 'value' must be an integer from 1, got 9007199254740992");
    refused('id', NaN, "argument 'value' must be an integer from 1, got NaN");
    refused('size', 2 ** 20 + 1, "argument 'value' must be an integer from 1 to 1048576 bytes, got 1048577");
  });

  test('numbers, booleans, texts', () => {
    accepted('number', '-0.25', -0.25);
    refused('number', Infinity, "argument 'value' must be a finite number, got Infinity");
    accepted('boolean', false, false);
    accepted('boolean', 'true', true);
    refused('boolean', 1, "argument 'value' must be true or false, got 1");
    accepted('text', '', '');
    refused('text', 5, "argument 'value' must be a string, got 5");
    refused('text', null, "argument 'value' must be a string, got null");
    refused('nonempty', '', "argument 'value' must be a string that is not empty, got ''");
    accepted('oneOf', 'full', 2);
    refused('oneOf', 'ful', "argument 'value' must be 'normal' or 'full', got 'ful'; did you mean 'full'?");
    refused('text', Symbol('s'), "argument 'value' must be a string, got a symbol");
    refused('text', () => {}, "argument 'value' must be a string, got a function");
  });

  test('arrays', () => {
    accepted('texts', ['a', 'b'], ['a', 'b']);
    accepted('ids', [1, '2'], [1, 2]);
    accepted('oneOrMany', 'a', ['a']);
    accepted('oneOrMany', ['a'], ['a']);
    refused('texts', 'a', "argument 'value' must be an array, got 'a'");
    refused('texts', ['a', 1], "'value[1]' must be a string, got 1");
    refused('ids', [1, -1], "'value[1]' must be an integer from 1, got -1");
    refused('ids', new Array(1), "'value[0]' must be an integer from 1, got undefined");
  });

  test('bytes', () => {
    accepted('bytes', Buffer.from('four'), 4);
    accepted('bytes', new Uint8Array(9).subarray(3), 6);
    accepted('bytes', Buffer.alloc(0), 0);
    refused('bytes', 'text', "argument 'value' must be a Buffer or a Uint8Array, got 'text'");
    refused(
      'bytes',
      new Uint8Array(new SharedArrayBuffer(4)),
      "argument 'value' must be a Buffer or a Uint8Array whose memory is not shared with other threads, got an object",
    );
    refused('bytes', new Uint16Array(2), "argument 'value' must be a Buffer or a Uint8Array, got an object");
  });

  test('options', () => {
    accepted('options', { lockWaitMs: 5 }, 5);
    accepted('options', { lockWaitMs: '5' }, 5);
    accepted('options', { lockWaitMs: undefined }, null);
    accepted('options', {}, null);
    accepted('options', undefined, null);
    accepted('options', null, null);
    accepted('options', Object.assign(Object.create(null), { lockWaitMs: 1 }), 1);
    accepted('options', Object.create({ lockWaitMs: 5, nonsense: 1 }), null);
    refused('options', { lockWaitMS: 5 }, "unknown option 'lockWaitMS'; did you mean lockWaitMs?");
    refused('options', { banana: 1 }, "unknown option 'banana'; known are lockWaitMs, dataDir, readers");
    refused('options', { lockWaitMs: -1 }, "option 'lockWaitMs' must be an integer from 0 to 1000 ms, got -1");
    refused('options', [], "argument 'value' must be an object, got an array");
    refused('options', 'x', "argument 'value' must be an object, got 'x'");
  });

  test('nested objects name the place', () => {
    accepted('nested', { observations: [{ title: 'a' }] }, ['a']);
    refused(
      'nested',
      { observations: [{ title: 'a' }, { title: 5 }] },
      "'value.observations[1].title' must be a string, got 5",
    );
    refused('nested', {}, "'value.observations' is missing");
    refused('nested', { observations: [null] }, "'value.observations[0]' must be an object, got null");
  });

  test('a getter or proxy that throws is an error of the call', () => {
    const throws = () => {
      throw new RangeError('boom');
    };
    refused(
      'options',
      Object.defineProperty({}, 'lockWaitMs', { enumerable: true, get: throws }),
      "option 'lockWaitMs' cannot be read: boom",
    );
    refused('options', new Proxy({}, { ownKeys: throws }), "argument 'value' cannot be read: boom");
    refused('texts', Object.defineProperty([], 0, { get: throws }), "'value[0]' cannot be read: boom");
    refused('texts', new Proxy(['a'], {}), "argument 'value' must be an array, got an object");
    assert.equal(probe.decode('integer', 1), 1);
  });

  test('objects as JSON text', () => {
    accepted('json', { a: [1, null, 'é'] }, '{"a":[1,null,"é"]}');
    accepted('json', { toJSON: () => ({ b: 1 }) }, '{"b":1}');
    refused('json', { a: 1n }, "argument 'value' cannot be written as JSON: it.a is a bigint");
    refused(
      'json',
      { toJSON: () => undefined },
      "argument 'value' must be an object that JSON.stringify can write, got an object",
    );
    refused('json', 'text', "argument 'value' must be an object, got 'text'");
    const circle = {};
    circle.circle = circle;
    assert.throws(() => probe.decode('json', circle), { code: 'ERR_INVALID_ARG', message: /circular/ });
  });
});
