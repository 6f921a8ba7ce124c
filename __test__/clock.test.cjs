'use strict';
// The wall clock is wrong by a day, in both directions, under a running engine and over a restart; and a process that
// was suspended. Leases, timeouts and TTLs do not look at the wall clock; what outlives a restart does, and no wait
// becomes longer by it.

const assert = require('node:assert/strict');
const path = require('node:path');
const { spawn } = require('node:child_process');
const { createInterface } = require('node:readline');
const { afterEach, describe, test } = require('node:test');
const { setTimeout: sleep } = require('node:timers/promises');

const { openMemory, setWallClockOffset } = require('./fault/index.cjs');
const { dataDirectory } = require('./data-directory.cjs');
const foreign = require('./foreign/index.cjs');
const { isSettled, message, names, next, settled, until } = require('./opened-memory.cjs');

const DAY = 86_400_000;
const MINUTE = 60_000;
/** Long enough that nothing of a test waits for its end. */
const HOUR = 3_600_000;

afterEach(() => setWallClockOffset(0));

async function opened(t, options) {
  const { directory, database } = dataDirectory(t);
  const open = (others = options) => openMemory({ dataDir: directory, lockWaitMs: 5_000, ...others });
  const bench = { directory, database, memory: await open() };
  t.after(() => bench.memory.dispose());
  bench.id = await bench.memory.store.createSDKSession('claude', 'project', 'ask');
  bench.put = (...all) => Promise.all(all.map((name) => bench.memory.queue.enqueue(bench.id, message(name))));
  bench.restart = async (others) => {
    await bench.memory.dispose();
    bench.memory = await open(others);
    return bench.memory;
  };
  bench.reads = (sql) => foreign.query(path.join(directory, 'native', 'queue.db'), sql);
  return bench;
}

for (const [way, jump] of [
  ['ahead', DAY],
  ['back', -DAY],
]) {
  describe(`a wall clock that jumps a day ${way}`, () => {
    test('leaves leases, idle timeouts and TTLs alone', async (t) => {
      const bench = await opened(t, { sessionTtlMs: HOUR });
      await bench.put('a', 'b');
      const consumer = bench.memory.queue.consume(bench.id, { leaseMs: HOUR, maxBatch: 1, keepAlive: true });
      const batch = await next(consumer);
      setWallClockOffset(jump);
      await sleep(1_500);
      assert.equal(consumer.endReason, null);
      assert.equal(bench.memory.sessions.count(), 1);
      await batch.commit({ observations: [{ type: 'discovery', title: 'a' }] });
      assert.deepEqual(names(await next(consumer)), ['b']);
      consumer.dispose();

      // And they end when their time has come.
      const idle = bench.memory.queue.consume(await bench.memory.store.createSDKSession('other', 'project', 'ask'), {
        idleTimeoutMs: 50,
        keepAlive: true,
      });
      assert.equal((await settled(idle.next())).done, true);
      assert.equal(idle.endReason, 'idle');
      const short = bench.memory.queue.consume(bench.id, { leaseMs: 50, keepAlive: true });
      await next(short);
      await until(() => short.endReason === 'expired');
    });

    test('a message that was enqueued before it is offered and comes, in its order', async (t) => {
      const bench = await opened(t);
      await bench.put('a');
      setWallClockOffset(jump);
      await bench.put('b');
      const waiting = bench.memory.queue.ready({ keepAlive: true });
      assert.equal((await next(waiting)).sessionDbId, bench.id);
      assert.equal(bench.memory.queue.isReady(bench.id), true);
      const [{ oldestEpoch, depth }] = await bench.memory.queue.discover();
      assert.equal(depth, 2);
      assert.ok(Math.abs(oldestEpoch - Date.now()) < HOUR, 'when it came, by the clock of that time');
      const batch = await next(bench.memory.queue.consume(bench.id));
      assert.deepEqual(names(batch), ['a', 'b']);
      const { waitMs } = bench.memory.queue.metrics();
      assert.ok(waitMs === null || waitMs.p50 >= 0, 'no wait is below zero');
      await batch.commit();
      const { status } = await bench.memory.health();
      assert.equal(status, 'ok');
    });

    test('dedupe keys: none outlives its age by it, and none is taken for a new one before', async (t) => {
      const bench = await opened(t, { dedupeAgeMs: 3 * DAY });
      const put = (key) => bench.memory.queue.enqueue(bench.id, message(key), { dedupeKey: key });
      const first = await put('k');
      setWallClockOffset(jump);
      assert.deepEqual(await put('k').then(({ id, duplicate }) => [id, duplicate]), [first.id, 'waiting']);
      const second = await put('later');
      await bench.restart();
      assert.equal((await put('k')).duplicate, 'waiting');
      assert.deepEqual(await put('later').then(({ id, duplicate }) => [id, duplicate]), [second.id, 'waiting']);
      const kept = await bench.reads('SELECT max(created_at_epoch) AS newest FROM dedupe_keys');
      assert.ok(kept[0].newest <= Date.now() + jump + MINUTE, 'no key is of the future after a restart');
    });

    test('dead letters: they are kept, and their age counts from no later than now', async (t) => {
      const bench = await opened(t, { deadLetterAgeMs: 3 * DAY });
      await bench.put('a', 'b');
      const batch = await next(bench.memory.queue.consume(bench.id));
      await batch.deadLetter([batch.messages[0].id], 'before');
      setWallClockOffset(jump);
      await batch.deadLetter([batch.messages[1].id], 'after');
      await batch.commit();
      assert.equal((await bench.memory.queue.deadLetters()).length, 2);
      await bench.restart();
      const letters = await bench.memory.queue.deadLetters();
      assert.deepEqual(letters.map(({ error }) => error).sort(), ['after', 'before']);
      for (const { deadAtEpoch } of letters) assert.ok(deadAtEpoch <= Date.now() + jump + MINUTE);
      assert.equal(await bench.memory.queue.purgeDeadLetters({ olderThanEpoch: Date.now() + jump + MINUTE }), 2);
    });

    test('a pause without an end stays', async (t) => {
      const bench = await opened(t);
      await bench.put('a');
      await bench.memory.queue.pause(bench.id, { reason: 'quota' });
      setWallClockOffset(jump);
      await bench.restart();
      await sleep(1_200);
      assert.equal(bench.memory.queue.isReady(bench.id), false);
      await bench.memory.queue.resume(bench.id);
      assert.equal(bench.memory.queue.isReady(bench.id), true);
    });
  });
}

describe('a wall clock that jumps a day ahead', () => {
  test('ends a pause whose time it is, of one session and of all, also of a running engine', async (t) => {
    const bench = await opened(t);
    await bench.put('a');
    await bench.memory.queue.pause(bench.id, { untilEpoch: Date.now() + HOUR });
    await bench.memory.queue.pause(null, { untilEpoch: Date.now() + HOUR });
    const offered = bench.memory.queue.ready({ keepAlive: true }).next();
    await sleep(1_500);
    assert.equal(await isSettled(offered), false);
    setWallClockOffset(DAY);
    assert.equal((await settled(offered)).value.sessionDbId, bench.id);
  });

  test('ends a backoff whose time it is; over a restart too', async (t) => {
    const bench = await opened(t, { backoffBaseMs: HOUR, backoffMaxMs: HOUR });
    await bench.put('a');
    await (await next(bench.memory.queue.consume(bench.id))).release();
    assert.equal(bench.memory.queue.isReady(bench.id), false);
    setWallClockOffset(DAY);
    await until(() => bench.memory.queue.isReady(bench.id));
    setWallClockOffset(0);
    await (await next(bench.memory.queue.consume(bench.id))).release();
    setWallClockOffset(DAY);
    await bench.restart();
    assert.equal(bench.memory.queue.isReady(bench.id), true);
    const batch = await next(bench.memory.queue.consume(bench.id));
    assert.equal(batch.messages[0].attempts, 2, 'what was counted stays counted');
  });
});

describe('a wall clock that jumps a day back', () => {
  test('makes no backoff longer, running or over a restart', async (t) => {
    const bench = await opened(t, { backoffBaseMs: 1_500, backoffMaxMs: 1_500 });
    await bench.put('a');
    await (await next(bench.memory.queue.consume(bench.id))).release();
    setWallClockOffset(-DAY);
    await until(() => bench.memory.queue.isReady(bench.id));
    await (await next(bench.memory.queue.consume(bench.id))).release();
    setWallClockOffset(-2 * DAY);
    await bench.restart();
    const [{ readyAtEpoch }] = await bench.memory.queue.discover();
    assert.ok(readyAtEpoch === null || readyAtEpoch <= Date.now() - 2 * DAY + MINUTE, `${readyAtEpoch}`);
    await until(() => bench.memory.queue.isReady(bench.id));
  });

  test('a delay that the caller chose keeps its length over a restart', async (t) => {
    const bench = await opened(t, { backoffBaseMs: 1, backoffMaxMs: 1 });
    await bench.put('a');
    await (await next(bench.memory.queue.consume(bench.id))).release({ delayMs: HOUR, countAttempt: false });
    setWallClockOffset(-DAY);
    await bench.restart();
    const [{ readyAtEpoch }] = await bench.memory.queue.discover();
    const left = readyAtEpoch - (Date.now() - DAY);
    assert.ok(left > HOUR / 2 && left <= HOUR + MINUTE, `${left} ms`);
  });

  test('ends a pause by its own length, running; after a restart at its time on the clock, maxPauseMs at most', async (t) => {
    const bench = await opened(t);
    await bench.put('a');
    await bench.memory.queue.pause(bench.id, { untilEpoch: Date.now() + 1_200 });
    setWallClockOffset(-DAY);
    await until(() => bench.memory.queue.isReady(bench.id));
    await bench.memory.queue.pause(bench.id, { untilEpoch: Date.now() - DAY + HOUR });
    setWallClockOffset(-2 * DAY);
    await bench.restart();
    assert.equal(bench.memory.queue.isReady(bench.id), false);
    await bench.restart({ maxPauseMs: 300 });
    await until(() => bench.memory.queue.isReady(bench.id));
  });
});

describe('a restart', () => {
  test('takes backoff, pause and dedupe keys over as they are', async (t) => {
    const bench = await opened(t, { backoffBaseMs: HOUR, backoffMaxMs: HOUR });
    const { queue } = bench.memory;
    const other = await bench.memory.store.createSDKSession('other', 'project', 'ask');
    const { id } = await queue.enqueue(bench.id, message('a'), { dedupeKey: 'k' });
    await queue.enqueue(other, message('b'));
    const { readyAtEpoch } = await (await next(queue.consume(bench.id))).release({ error: 'e' });
    const untilEpoch = Date.now() + 2 * HOUR;
    await queue.pause(other, { untilEpoch, reason: 'quota' });
    const again = (await bench.restart()).queue;
    const [backingOff, paused] = await again.discover();
    assert.deepEqual([backingOff.sessionDbId, backingOff.attempts, backingOff.paused], [bench.id, 1, false]);
    assert.ok(Math.abs(backingOff.readyAtEpoch - readyAtEpoch) < MINUTE, 'the same end');
    assert.deepEqual([paused.sessionDbId, paused.paused], [other, true]);
    assert.deepEqual(await again.enqueue(bench.id, message('a'), { dedupeKey: 'k' }), {
      id,
      depth: 1,
      duplicate: 'waiting',
    });
    assert.deepEqual([again.isReady(bench.id), again.isReady(other)], [false, false]);
  });
});

describe('a process that was suspended', { skip: process.platform === 'win32' && 'Windows has no SIGSTOP' }, () => {
  function suspendable(t, directory) {
    const child = spawn(process.execPath, [path.join(__dirname, 'children', 'suspended.cjs'), directory], {
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    t.after(() => child.kill('SIGKILL'));
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    return {
      ask: (what) => child.stdin.write(`${what}\n`),
      answer: async () => JSON.parse((await settled(lines.next())).value),
      suspend: async (ms) => {
        child.kill('SIGSTOP');
        await sleep(ms);
        child.kill('SIGCONT');
      },
      ended: new Promise((resolve) => child.on('close', (code, signal) => resolve({ code, signal }))),
    };
  }

  test('for longer than its lease still commits what nobody has claimed since, once, and goes on', async (t) => {
    const { directory, database } = dataDirectory(t);
    const child = suspendable(t, directory);
    assert.deepEqual(await child.answer(), ['given', ['a'], [0]]);
    await child.suspend(1_200);
    child.ask('commit');
    assert.deepEqual(await child.answer(), ['committed', 1]);
    child.ask('rest');
    assert.deepEqual(await child.answer(), ['given', ['b'], [0]]);
    assert.deepEqual(await child.answer(), ['committed', 0]);
    child.ask('end');
    assert.deepEqual(await child.ended, { code: 0, signal: null });
    assert.deepEqual(await foreign.query(database, 'SELECT title FROM observations'), [{ title: 'a' }, { title: 'b' }]);
  });

  test('loses to whoever has claimed since, and nothing is stored twice', async (t) => {
    const { directory, database } = dataDirectory(t);
    const child = suspendable(t, directory);
    assert.deepEqual(await child.answer(), ['given', ['a'], [0]]);
    await child.suspend(1_200);
    // Its own other consumer is faster than the answer.
    child.ask('rest');
    const [, first, attempts] = await child.answer();
    assert.deepEqual([first, attempts], [['a'], [1]]);
    assert.deepEqual(await child.answer(), ['committed', 1]);
    assert.deepEqual(await child.answer(), ['given', ['b'], [0]]);
    assert.deepEqual(await child.answer(), ['committed', 0]);
    child.ask('commit');
    assert.deepEqual(await child.answer(), ['rejected', 'ERR_LEASE_LOST']);
    child.ask('end');
    await child.ended;
    assert.deepEqual(await foreign.query(database, 'SELECT title FROM observations'), [{ title: 'a' }, { title: 'b' }]);
  });

  test('keeps its directory: nobody else gets it meanwhile', async (t) => {
    const { directory } = dataDirectory(t);
    const child = suspendable(t, directory);
    await child.answer();
    const suspended = child.suspend(700);
    await assert.rejects(openMemory({ dataDir: directory, lockWaitMs: 200 }), { code: 'ERR_LOCKED' });
    await suspended;
    child.ask('commit');
    assert.deepEqual(await child.answer(), ['committed', 1]);
    child.ask('end');
    await child.ended;
  });
});
