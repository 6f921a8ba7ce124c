'use strict';
// memory.compact(): disk space that is no longer used goes back.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');

const { openMemory } = require('..');
const foreign = require('./foreign/index.cjs');
const { next, openedMemory } = require('./opened-memory.cjs');

/** Rows that take some megabytes, and most of which are deleted again. */
const MUCH = `
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 1000)
  INSERT INTO observations(sdk_session_id, project, text, type, title, created_at, created_at_epoch)
    SELECT 'claude', 'project', hex(zeroblob(2000)), 'change', 'title n' || i, '', i FROM n;
  DELETE FROM observations WHERE id % 10 <> 0;`;
const ROWS = 'SELECT id, text, title, created_at_epoch FROM observations ORDER BY id';

async function shrunken(t) {
  const opened = await openedMemory(t, { indexing: 'manual' });
  await opened.session();
  await foreign.execute(opened.database, MUCH);
  return opened;
}

const of = (report, name) => report.files.find((file) => file.name === name);

test('each file is told, and smaller; rows, ids and what is found are the same', async (t) => {
  const { memory, directory, database, session } = await shrunken(t);
  const id = await session('queue');
  for (let count = 0; count < 40; count += 1)
    await memory.queue.enqueue(id, { type: 'observation', tool_response: 'x'.repeat(50_000) });
  const batch = await next(memory.queue.consume(id, { maxBatch: 30, maxBatchBytes: 100_000_000 }));
  await batch.commit();
  await memory.vectors.sync();
  const rows = await foreign.query(database, ROWS);
  const before = fs.statSync(database).size;

  const job = memory.compact();
  const seen = [];
  for await (const { file, done, total } of job) {
    assert.ok(done <= total);
    seen.push(file);
  }
  const report = await job;
  assert.ok(seen.length >= 1, 'progress');
  assert.deepEqual(
    report.files.map(({ name }) => name),
    ['queue.db', 'claude-mem.db', 'index.db'],
  );
  assert.equal(
    report.freedBytes,
    report.files.reduce((sum, file) => sum + Math.max(0, file.beforeBytes - file.afterBytes), 0),
  );
  const main = of(report, 'claude-mem.db');
  assert.deepEqual([main.path, main.rewritten, main.heldBack], [database, true, false]);
  assert.ok(main.afterBytes * 4 < main.beforeBytes, JSON.stringify(main));
  assert.ok(main.blockedMs >= 0 && report.tookMs >= 0);
  assert.ok(fs.statSync(database).size * 4 < before);
  const queue = of(report, 'queue.db');
  assert.equal(queue.rewritten, false);
  assert.ok(queue.afterBytes * 2 < queue.beforeBytes, JSON.stringify(queue));
  assert.equal(fs.statSync(path.join(directory, 'native', 'queue.db')).size, queue.afterBytes);

  assert.deepEqual(await foreign.query(database, ROWS), rows);
  assert.equal(memory.queue.depth(id), 10);
  assert.equal((await memory.store.searchObservations('title n500'))[0].id, 500);
  assert.equal((await memory.search.observations('n500', { mode: 'keyword' })).results[0].id, 500);
  assert.deepEqual((await memory.checkIntegrity()).findings, []);
  const { id: after } = await memory.store.storeObservation('claude', 'project', { type: 'change', title: 'next' });
  assert.equal(after, 1_001, 'no id is given again');
});

test('beside a client that reads, with the worker writing on', async (t) => {
  const { memory, directory } = await shrunken(t);
  const client = await openMemory({ dataDir: directory, role: 'client' });
  t.after(() => client.dispose());
  assert.equal((await client.store.getStats()).observations, 100);
  const job = memory.compact();
  const writes = Array.from({ length: 20 }, (_, number) =>
    memory.store.storeObservation('claude', 'project', { type: 'change', title: `during ${number}` }),
  );
  await Promise.all([...writes, client.store.searchObservations('title n500'), memory.queue.discover()]);
  const report = await job;
  assert.equal(of(report, 'claude-mem.db').rewritten, true);
  assert.equal((await client.store.getStats()).observations, 120);
  assert.equal((await client.store.searchObservations('title n500'))[0].id, 500);
  assert.deepEqual((await client.checkIntegrity()).findings, []);
});

test('whoever writes for too long is told as ERR_BUSY, and nothing is changed', async (t) => {
  const { memory, database } = await shrunken(t);
  await foreign.query(database, 'PRAGMA user_version');
  const size = fs.statSync(database).size;
  const lock = await foreign.hold(database);
  await assert.rejects(memory.compact({ deadlineMs: 100 }).result, (error) => {
    assert.equal(error.code, 'ERR_BUSY');
    assert.match(error.message, /claude-mem\.db/);
    return true;
  });
  assert.ok(fs.statSync(database).size >= size);
  await lock.stop();
  assert.equal(of(await memory.compact(), 'claude-mem.db').rewritten, true);
});

test('a job that is disposed leaves every row where it was', async (t) => {
  const { memory, database } = await shrunken(t);
  const rows = await foreign.query(database, ROWS);
  const job = memory.compact();
  const ended = job.result.then(
    () => 'done',
    ({ code }) => code,
  );
  await job.dispose();
  // It may have been done already.
  assert.ok(['done', 'ERR_DISPOSED'].includes(await ended), await ended);
  assert.deepEqual(await foreign.query(database, ROWS), rows);
  assert.deepEqual((await memory.checkIntegrity()).findings, []);
  assert.ok((await memory.compact()).files.length > 0);
});

test('disposed, and parts', async (t) => {
  const { memory, directory } = await openedMemory(t);
  assert.throws(() => memory.compact({ deadline: 1 }), { code: 'ERR_INVALID_ARG' });
  await memory.dispose();
  assert.throws(() => memory.compact(), { code: 'ERR_DISPOSED' });
  const queue = await openMemory({ dataDir: directory, parts: ['queue'] });
  t.after(() => queue.dispose());
  assert.deepEqual(
    (await queue.compact()).files.map(({ name }) => name),
    ['queue.db'],
  );
});
