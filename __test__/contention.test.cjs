'use strict';
// claude-mem's hooks use the same file at any moment: nobody gets an error from it, and nobody waits who need not.
// Times are printed and never fail a test; what is asserted is the order of events.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { setTimeout: sleep } = require('node:timers/promises');
const { monitorEventLoopDelay } = require('node:perf_hooks');

const { openMemory } = require('..');
const { dataDirectory } = require('./data-directory.cjs');
const foreign = require('./foreign/index.cjs');

/** How long the lock of another process lasts in these tests. */
const LOCK_MS = 3_000;

/** A memory on a directory of its own with one session. */
async function opened(t, options) {
  const { directory, database } = dataDirectory(t);
  // On a slow machine a test may hold the lock for longer than the default of 5 s.
  const memory = await openMemory({ dataDir: directory, deadlineMs: 60_000, ...options });
  t.after(() => memory.dispose());
  const sessionDbId = await memory.store.createSDKSession('claude', 'project', 'prompt');
  return { memory, database, sessionDbId };
}

/** Reports how far timers drifted between the call and that of the function it returns. */
function watchEventLoop(t) {
  const delay = monitorEventLoopDelay({ resolution: 5 });
  delay.enable();
  return () => {
    delay.disable();
    const ms = (nanoseconds) => (nanoseconds / 1e6 - 5).toFixed(1);
    t.diagnostic(
      `event loop delay: p50 ${ms(delay.percentile(50))} ms, p99 ${ms(delay.percentile(99))} ms, max ${ms(delay.max)} ms`,
    );
  };
}

/** Whether a promise has settled by now. */
async function isSettled(promise) {
  const pending = {};
  const first = await Promise.race([
    promise.then(
      () => true,
      () => true,
    ),
    sleep(0, pending),
  ]);
  return first !== pending;
}

async function timed(operation) {
  const startedAt = performance.now();
  await operation();
  return performance.now() - startedAt;
}

const median = (numbers) => numbers.sort((a, b) => a - b)[numbers.length >> 1].toFixed(2);
const count = async (database, table) => (await foreign.query(database, `SELECT count(*) AS n FROM ${table}`))[0].n;

test('a process that writes all the time costs nobody an error', async (t) => {
  // As many messages as three seconds bring.
  const { memory, database, sessionDbId } = await opened(t, { maxSessionMessages: 1_000_000 });
  const report = watchEventLoop(t);
  const hook = await foreign.write(database);
  const until = Date.now() + 3_000;
  let observations = 0;
  let messages = 0;
  let reads = 0;
  await Promise.all([
    ...[1, 2, 3].map(async (lane) => {
      while (Date.now() < until) {
        await memory.store.storeObservation('claude', 'project', { type: 'change', title: `lane ${lane}` });
        observations += 1;
      }
    }),
    (async () => {
      while (Date.now() < until) {
        await memory.queue.enqueue(sessionDbId, {
          type: 'observation',
          tool_name: 'Edit',
          tool_input: 'x'.repeat(1_000),
        });
        messages += 1;
      }
    })(),
    (async () => {
      while (Date.now() < until) {
        await memory.store.getRecentObservations('project');
        reads += 1;
      }
    })(),
  ]);
  const theirs = await hook.stop();
  report();
  t.diagnostic(
    `ours: ${observations} observations, ${messages} messages, ${reads} reads; theirs: ${theirs.written}, slowest ${theirs.slowestMs.toFixed(0)} ms`,
  );
  assert.deepEqual(theirs.errors, []);
  assert.ok(observations > 0 && messages > 0 && reads > 0 && theirs.written > 0);
  assert.equal(await count(database, 'observations'), observations);
  assert.equal(await count(database, 'user_prompts'), theirs.written);
  assert.equal(memory.queue.depth(sessionDbId), messages);
});

test('writes wait for a lock of 3 s and succeed, reads do not wait for it', async (t) => {
  const { memory, database, sessionDbId } = await opened(t);
  const report = watchEventLoop(t);
  let ticks = 0;
  const timer = setInterval(() => (ticks += 1), 10);
  t.after(() => clearInterval(timer));

  const hook = await foreign.hold(database);
  const locked = sleep(LOCK_MS);
  const writes = Array.from({ length: 50 }, (_, number) =>
    memory.store.storeObservation('claude', 'project', { type: 'change', title: `${number}` }),
  );
  // Answered while the lock is held: it ends below.
  assert.equal((await memory.store.getSessionById(sessionDbId)).project, 'project');
  assert.deepEqual(await memory.store.getRecentObservations('project'), []);
  assert.deepEqual(await memory.store.searchObservations('anything'), []);
  await memory.health();
  assert.equal(await isSettled(writes[0]), false, 'the lock is held');
  await locked;
  assert.equal(await isSettled(writes[0]), false, 'the lock is still held');
  assert.ok(ticks > 0, 'the event loop went on');
  await hook.stop();

  const stored = await Promise.all(writes);
  report();
  t.diagnostic(`${ticks} of about ${LOCK_MS / 10} timer ticks during the lock`);
  assert.equal(new Set(stored.map(({ id }) => id)).size, 50);
  assert.equal(await count(database, 'observations'), 50);
});

test('a lock beyond the deadline rejects with ERR_BUSY, and what was rejected never runs', async (t) => {
  const { memory, database } = await opened(t, { deadlineMs: 300 });
  const hook = await foreign.hold(database);
  const write = (title) => memory.store.storeObservation('claude', 'project', { type: 'change', title });
  const rejected = await Promise.allSettled(Array.from({ length: 20 }, (_, number) => write(`rejected ${number}`)));
  for (const { status, reason } of rejected) {
    assert.equal(status, 'rejected');
    assert.equal(reason.code, 'ERR_BUSY');
    assert.match(reason.message, /deadlineMs/);
  }
  // Its deadline is its own: this one is still waiting when the lock ends.
  const patient = memory.store.storeObservation('claude', 'project', { type: 'change', title: 'patient' }, 0, {
    deadlineMs: 60_000,
  });
  await sleep(500);
  assert.equal(await isSettled(patient), false);
  await hook.stop();
  await patient;
  await write('afterwards');
  await memory.dispose();
  const titles = await foreign.query(database, 'SELECT title FROM observations ORDER BY id');
  assert.deepEqual(
    titles.map(({ title }) => title),
    ['patient', 'afterwards'],
  );
});

test('an enqueue does not wait for a lock on claude-mem.db', async (t) => {
  const { memory, database, sessionDbId } = await opened(t);
  const message = { type: 'observation', tool_name: 'Edit', tool_input: 'x'.repeat(4_000) };
  const enqueue = () => memory.queue.enqueue(sessionDbId, message);
  const without = [];
  for (let number = 0; number < 200; number += 1) without.push(await timed(enqueue));

  const hook = await foreign.hold(database);
  const write = memory.store.storeObservation('claude', 'project', { type: 'change' });
  const locked = sleep(LOCK_MS);
  const during = [];
  for (let number = 0; number < 200; number += 1) during.push(await timed(enqueue));
  assert.equal(await isSettled(write), false, 'all were durable while the lock was held');
  await locked;
  assert.equal(await isSettled(write), false, 'the lock is still held');
  await hook.stop();
  await write;
  t.diagnostic(`median of an enqueue: ${median(without)} ms, during the lock ${median(during)} ms`);
  assert.equal(memory.queue.depth(sessionDbId), 400);
});

test('a commit waits for the lock and is stored once', async (t) => {
  const { memory, database, sessionDbId } = await opened(t);
  await memory.queue.enqueue(sessionDbId, { type: 'observation', tool_name: 'Edit' });
  const consumer = memory.queue.consume(sessionDbId, { keepAlive: true });
  const { value: batch } = await consumer.next();
  const hook = await foreign.hold(database);
  const commit = batch.commit({ observations: [{ type: 'change', title: 'once' }] });
  await sleep(500);
  assert.equal(await isSettled(commit), false);
  await hook.stop();
  assert.equal((await commit).depth, 0);
  consumer.dispose();
  assert.equal(await count(database, 'observations'), 1);
});

test('a process that is killed with the lock in its hands leaves it free', async (t) => {
  const { memory, database } = await opened(t);
  const hook = await foreign.hold(database);
  const write = memory.store.storeObservation('claude', 'project', { type: 'change' });
  await sleep(200);
  assert.equal(await isSettled(write), false);
  hook.kill();
  await write;
  assert.equal(await count(database, 'observations'), 1);
});

test('a memory opens while another process holds the lock', async (t) => {
  const { directory, database } = dataDirectory(t);
  await (await openMemory({ dataDir: directory })).dispose();
  const hook = await foreign.hold(database);
  const memory = await openMemory({ dataDir: directory });
  assert.equal((await memory.store.getStats()).sessions, 0);
  await memory.dispose();
  await hook.stop();
});
