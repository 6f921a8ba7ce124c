'use strict';
// `memory.exportTo` and `memory.importFrom`: everything comes back, once.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { describe, test } = require('node:test');

const { openMemory } = require('..');
const { runChild } = require('./children/run-child.cjs');
const { dataDirectory, withoutFixtures } = require('./data-directory.cjs');
const foreign = require('./foreign/index.cjs');
const { names, next, openedMemory } = require('./opened-memory.cjs');

const REFERENCE = 'claude-mem-6.0.2.db';
const TABLES = ['sdk_sessions', 'observations', 'session_summaries', 'user_prompts'];

const rejects = (promise, code, message) =>
  assert.rejects(promise, (error) => {
    assert.equal(error.code, code, error.message);
    if (message) assert.match(error.message, message);
    return true;
  });

/** Every table without its ids, in the order of ids. */
async function content(database) {
  const tables = {};
  for (const table of TABLES) {
    const rows = await foreign.query(database, `SELECT * FROM ${table} ORDER BY id`);
    tables[table] = rows.map(({ id, ...row }) => row);
  }
  return tables;
}

/** What a report says in all: [new, known]. */
const sums = (report) => {
  const kinds = ['sessions', 'observations', 'summaries', 'prompts'].map((kind) => report[kind]);
  return [
    kinds.reduce((sum, { imported }) => sum + imported, 0),
    kinds.reduce((sum, { existing }) => sum + existing, 0),
  ];
};

const linesOf = (file) =>
  fs
    .readFileSync(file, 'utf8')
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line));

describe('the reference database', { skip: withoutFixtures(REFERENCE) }, () => {
  test('comes back table by table, and once however often it is read', async (t) => {
    const { directory, database } = dataDirectory(t, REFERENCE);
    const from = await openMemory({ dataDir: directory });
    t.after(() => from.dispose());
    const file = path.join(directory, 'exports', 'all.jsonl');
    const exported = await from.exportTo(file);
    assert.deepEqual(exported, {
      path: file,
      bytes: fs.statSync(file).size,
      lines: 404 + 3496 + 420 + 900 + 2,
      sessions: 404,
      observations: 3496,
      summaries: 420,
      prompts: 900,
      messages: 0,
      deadLetters: 0,
    });
    assert.deepEqual(fs.readdirSync(path.dirname(file)), ['all.jsonl'], 'nothing is left beside it');
    if (process.platform !== 'win32') assert.equal(fs.statSync(file).mode & 0o777, 0o600);

    const { memory: to, database: copy } = await openedMemory(t);
    const first = await to.importFrom(file);
    assert.deepEqual(sums(first), [5220, 0]);
    assert.deepEqual([first.lines, first.ignoredColumns], [exported.lines, []]);
    assert.deepEqual(await content(copy), await content(database));
    const found = await to.store.searchObservations('authentication', { limit: -1 });
    assert.equal(found.length, (await from.store.searchObservations('authentication', { limit: -1 })).length);

    assert.deepEqual(sums(await to.importFrom(file)), [0, 5220], 'a second time');
    assert.deepEqual(sums(await from.importFrom(file)), [0, 5220], 'into the database that it comes from');
    assert.deepEqual(await content(copy), await content(database));

    const again = path.join(directory, 'again.jsonl');
    await to.exportTo(again);
    const rows = (name) => linesOf(name).map(({ id, created_at_epoch, ...line }) => line);
    assert.deepEqual(rows(again), rows(file), 'a copy exports the same');
  });

  test('one project, with the sessions that its rows belong to', async (t) => {
    const { directory } = dataDirectory(t, REFERENCE);
    const from = await openMemory({ dataDir: directory });
    t.after(() => from.dispose());
    const file = path.join(directory, 'one.jsonl');
    const exported = await from.exportTo(file, { project: 'claude-mem' });
    assert.equal(exported.observations, 2406);
    const { memory: to } = await openedMemory(t);
    assert.equal((await to.importFrom(file)).observations.imported, 2406);
    const projects = new Set((await to.store.getAllRecentObservations(100)).map(({ project }) => project));
    assert.deepEqual([...projects], ['claude-mem']);
  });

  test('shows its progress, and can be disposed', async (t) => {
    const { directory } = dataDirectory(t, REFERENCE);
    const memory = await openMemory({ dataDir: directory });
    t.after(() => memory.dispose());
    const file = path.join(directory, 'all.jsonl');
    const job = memory.exportTo(file);
    let last;
    for await (const progress of job) {
      assert.ok(progress.done <= progress.total);
      last = progress;
    }
    assert.deepEqual(last, { done: 5222, total: 5222 });
    await job;

    const { memory: to } = await openedMemory(t);
    const cancelled = to.importFrom(file);
    await cancelled.next();
    await cancelled.dispose();
    await rejects(cancelled.result, 'ERR_DISPOSED', /disposed at line \d+; what came before it is imported/);
    const [imported, existing] = sums(await to.importFrom(file));
    assert.equal(imported + existing, 5220);
    assert.equal((await to.store.getStats()).observations, 3496);

    const never = path.join(directory, 'never.jsonl');
    const dropped = memory.exportTo(never);
    await dropped.next();
    await dropped.dispose();
    await dropped.result.then(
      () => assert.ok(fs.existsSync(never), 'it had ended already'),
      () =>
        assert.deepEqual(
          fs.readdirSync(directory).filter((name) => name.includes('never')),
          [],
        ),
    );
  });

  test('hooks and the worker write meanwhile', async (t) => {
    const { directory } = dataDirectory(t, REFERENCE);
    const from = await openMemory({ dataDir: directory });
    t.after(() => from.dispose());
    const file = path.join(directory, 'all.jsonl');
    await from.exportTo(file);
    const { memory: to, session } = await openedMemory(t);
    const id = await session();
    const job = to.importFrom(file);
    let running = true;
    job.result.finally(() => (running = false));
    let written = 0;
    while (running) {
      await to.store.storeObservation('claude', 'project', { type: 'change', title: `n${written}` });
      await to.queue.enqueue(id, { type: 'observation' });
      written += 1;
    }
    assert.ok(written > 0);
    assert.deepEqual(sums(await job), [5220, 0]);
    assert.equal((await to.store.getStats()).observations, 3496 + written);
  });
});

describe('what waits', () => {
  test('messages and dead letters move to another memory, in order and once', async (t) => {
    const { memory, session, put, directory } = await openedMemory(t);
    const id = await session();
    const poison = await memory.queue.enqueue(id, { type: 'observation', tool_name: 'poison', text: '😀 "\\' });
    await put(id, 'a', 'b', 'a');
    const consumer = memory.queue.consume(id, { maxBatch: 1 });
    const batch = await next(consumer);
    await batch.deadLetter([poison.id], 'on purpose');
    consumer.dispose();
    const file = path.join(directory, 'all.jsonl');
    const { messages, deadLetters } = await memory.exportTo(file);
    assert.deepEqual([messages, deadLetters], [3, 1]);

    const other = await openedMemory(t);
    const first = await other.memory.importFrom(file);
    assert.deepEqual(first.messages, { imported: 3, duplicate: 0, skipped: 0 });
    assert.deepEqual(first.deadLetters, { imported: 1, duplicate: 0, skipped: 0 });
    const [waiting] = await other.memory.queue.discover();
    assert.equal(waiting.depth, 3);
    const second = await other.memory.importFrom(file);
    assert.deepEqual([second.messages.duplicate, second.deadLetters.duplicate], [3, 1]);
    const there = other.memory.queue.consume(waiting.sessionDbId);
    const delivered = await next(there);
    assert.deepEqual(names(delivered), ['a', 'b', 'a']);
    await delivered.commit();
    assert.equal((await other.memory.importFrom(file)).messages.duplicate, 3, 'delivered since');

    await other.reopen();
    assert.equal((await other.memory.importFrom(file)).messages.duplicate, 3, 'after a restart');
    assert.equal((await memory.importFrom(file)).messages.duplicate, 3, 'where they come from');
  });

  test('a waiting consumer gets what is imported', async (t) => {
    const { memory, session, put, directory } = await openedMemory(t);
    await put(await session(), 'a');
    const file = path.join(directory, 'all.jsonl');
    await memory.exportTo(file);
    const other = await openedMemory(t);
    const waiting = next(other.memory.queue.consume(await other.session(), { keepAlive: true }));
    await other.memory.importFrom(file);
    assert.deepEqual(names(await waiting), ['a']);
  });

  test('beyond the bounds it says so, and goes on later', async (t) => {
    const { memory, session, put, directory } = await openedMemory(t);
    await put(await session(), 'a', 'b', 'c');
    const file = path.join(directory, 'all.jsonl');
    await memory.exportTo(file);
    const other = await openedMemory(t, { maxSessionMessages: 2 });
    await assert.rejects(other.memory.importFrom(file).result, (error) => {
      assert.deepEqual([error.code, error.line, error.limit], ['ERR_QUEUE_FULL', 5, 2]);
      return true;
    });
    assert.equal(other.memory.queue.depth(), 2);
    await other.reopen({});
    assert.deepEqual((await other.memory.importFrom(file)).messages, { imported: 1, duplicate: 2, skipped: 0 });
  });
});

describe('a process that dies', { skip: withoutFixtures(REFERENCE) }, () => {
  test('during an import: reading the file again goes on, and stores nothing twice', async (t) => {
    const { directory, database } = dataDirectory(t, REFERENCE);
    const from = await openMemory({ dataDir: directory });
    t.after(() => from.dispose());
    const id = await from.store.createSDKSession('waits', 'project', 'prompt');
    for (let n = 0; n < 5; n++) await from.queue.enqueue(id, { type: 'observation', n });
    const file = path.join(directory, 'all.jsonl');
    await from.exportTo(file);
    const { directory: other, database: copy } = dataDirectory(t);
    for (const fault of ['importFrom:step=abort-5', 'import-message=abort-3']) {
      const child = await runChild('portable.cjs', {
        args: ['importFrom', other, file],
        env: { CLAUDE_MEM_NATIVE_FAULT: fault },
      });
      assert.equal(child.stdout, 'begun', child.stderr);
    }
    const to = await openMemory({ dataDir: other });
    t.after(() => to.dispose());
    const { messages } = await to.importFrom(file);
    assert.equal(messages.imported + messages.duplicate, 5);
    assert.deepEqual(await content(copy), await content(database));
    assert.equal(to.queue.depth(), 5);
  });

  test('during an export: no file, or the one that was there', async (t) => {
    const { directory } = dataDirectory(t, REFERENCE);
    const file = path.join(directory, 'exports', 'all.jsonl');
    fs.mkdirSync(path.dirname(file));
    fs.writeFileSync(file, 'before');
    const child = await runChild('portable.cjs', {
      args: ['exportTo', directory, file],
      env: { CLAUDE_MEM_NATIVE_FAULT: 'exportTo:written=abort' },
    });
    assert.equal(child.stdout, 'begun', child.stderr);
    assert.equal(fs.readFileSync(file, 'utf8'), 'before');
  });
});

describe('what goes wrong', () => {
  test('a file that was cut off imports what it has', async (t) => {
    const { memory, session, directory } = await openedMemory(t);
    await session();
    for (let n = 0; n < 20; n++)
      await memory.store.storeObservation('claude', 'project', { type: 'change', title: `${n}` });
    const file = path.join(directory, 'all.jsonl');
    await memory.exportTo(file);
    const whole = fs.readFileSync(file);
    const cut = path.join(directory, 'cut.jsonl');
    fs.writeFileSync(cut, whole.subarray(0, whole.length / 2));
    const other = await openedMemory(t);
    await assert.rejects(other.memory.importFrom(cut).result, (error) => {
      assert.equal(error.code, 'ERR_CORRUPT', error.message);
      assert.equal(error.path, cut);
      assert.ok(error.line > 2);
      return true;
    });
    const { observations } = await other.memory.store.getStats();
    assert.ok(observations > 0 && observations < 20, `${observations}`);
    assert.deepEqual((await other.memory.importFrom(file)).observations, {
      imported: 20 - observations,
      existing: observations,
    });
  });

  test('arguments and files that cannot be', async (t) => {
    const { memory, directory } = await openedMemory(t);
    assert.throws(() => memory.exportTo(5), { code: 'ERR_INVALID_ARG' });
    assert.throws(() => memory.exportTo('x', { projekt: 'p' }), { code: 'ERR_INVALID_ARG' });
    assert.throws(() => memory.importFrom('x', { maxLineBytes: 1 }), { code: 'ERR_INVALID_ARG' });
    await rejects(memory.importFrom(path.join(directory, 'missing.jsonl')).result, 'ERR_IO', /missing\.jsonl/);
    await rejects(memory.importFrom(path.join(directory, 'claude-mem.db')).result, 'ERR_INVALID_ARG', /line 1/);
    await rejects(memory.exportTo(path.join(directory, 'claude-mem.db')).result, 'ERR_INVALID_ARG', /own files/);
    await memory.dispose();
    assert.throws(() => memory.exportTo('x'), { code: 'ERR_DISPOSED' });
  });
});
