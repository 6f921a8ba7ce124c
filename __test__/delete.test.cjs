'use strict';
// `memory.findDuplicates`, `deleteObservations`, `deleteSummaries` and `deleteProject`: what is gone is gone.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { describe, test } = require('node:test');

const { openMemory } = require('..');
const { runChild } = require('./children/run-child.cjs');
const { dataDirectory, withoutFixtures } = require('./data-directory.cjs');
const foreign = require('./foreign/index.cjs');
const { next, openedMemory, settled } = require('./opened-memory.cjs');

const REFERENCE = 'claude-mem-6.0.2.db';
const FULL_TEXT = ['observations_fts', 'session_summaries_fts', 'user_prompts_fts'];

const rejects = (promise, code) => assert.rejects(promise, (error) => error.code === code);

async function reference(t, options) {
  const { directory, database } = dataDirectory(t, REFERENCE);
  const memory = await openMemory({ dataDir: directory, ...options });
  t.after(() => memory.dispose());
  return { memory, directory, database };
}

/** FTS5 compares each text index with the rows; an error where they differ. */
async function checkFullText(database) {
  for (const table of FULL_TEXT) {
    await foreign.execute(database, `INSERT INTO ${table}(${table}, rank) VALUES ('integrity-check', 1)`);
  }
}

const count = async (database, from) => (await foreign.query(database, `SELECT count(*) AS n FROM ${from}`))[0].n;

/** Numbers as the index stores them: IEEE binary16, little endian. They must be ordinary ones of that kind. */
function halves(vector) {
  const bytes = Buffer.alloc(vector.length * 2);
  vector.forEach((value, at) => {
    const exponent = Math.floor(Math.log2(Math.abs(value)));
    const fraction = Math.round((Math.abs(value) / 2 ** exponent - 1) * 1024);
    bytes.writeUInt16LE((value < 0 ? 0x8000 : 0) | ((exponent + 15) << 10) | fraction, at * 2);
  });
  return bytes;
}

describe('rows by id', () => {
  test('any number, with their text index', { skip: withoutFixtures(REFERENCE) }, async (t) => {
    const { memory, database } = await reference(t);
    const ids = Array.from({ length: 12_000 }, (_, index) => index + 1);
    const existing = await count(database, 'observations WHERE id <= 12000');
    const before = await memory.store.searchObservations('the', { limit: -1 });
    assert.ok(before.length > 0);
    assert.deepEqual(await memory.deleteObservations(ids), { deleted: existing, unknown: 12_000 - existing });
    assert.equal(await count(database, 'observations'), 0);
    assert.deepEqual(await memory.store.searchObservations('the', { limit: -1 }), []);
    await checkFullText(database);
    assert.deepEqual(await memory.deleteObservations(ids), { deleted: 0, unknown: 12_000 });
    assert.deepEqual(await memory.deleteSummaries([1, 2, 2, 99_999]), { deleted: 2, unknown: 1 });
    await checkFullText(database);
    assert.equal(await count(database, "session_summaries_fts('request : *') WHERE rowid <= 2").catch(() => 0), 0);
  });

  test('duplicates are found and deleted', async (t) => {
    const { memory } = await openedMemory(t);
    const store = (session, title, project = 'p') =>
      memory.store.storeObservation(session, project, { type: 'change', title, facts: ['f'] });
    const [a, b, c] = [await store('one', 'same'), await store('two', 'same'), await store('one', 'same')];
    await store('one', 'other');
    await store('one', 'same', 'q');
    const ids = [a.id, b.id, c.id];
    const group = { kind: 'observation', project: 'p', title: 'same', ids, count: 3 };
    assert.deepEqual(await memory.findDuplicates(), [group]);
    assert.deepEqual(await memory.findDuplicates({ project: 'p', limit: 1 }), [group]);
    assert.deepEqual(await memory.findDuplicates({ project: 'q' }), []);
    assert.deepEqual(await memory.deleteObservations(ids.slice(1)), { deleted: 2, unknown: 0 });
    assert.deepEqual(await memory.findDuplicates(), []);
  });

  test('arguments that cannot be', async (t) => {
    const { memory } = await openedMemory(t);
    await rejects(memory.deleteObservations(1), 'ERR_INVALID_ARG');
    await rejects(memory.deleteObservations([0]), 'ERR_INVALID_ARG');
    await rejects(memory.deleteSummaries([1], { deadline: 1 }), 'ERR_INVALID_ARG');
    await rejects(memory.deleteProject(), 'ERR_INVALID_ARG');
    await rejects(memory.findDuplicates({ limit: 0 }), 'ERR_INVALID_ARG');
    assert.deepEqual(await memory.deleteObservations([]), { deleted: 0, unknown: 0 });
    await memory.dispose();
    await rejects(memory.deleteObservations([1]), 'ERR_DISPOSED');
  });
});

describe('a project', () => {
  test('of the reference database goes from every table and index', { skip: withoutFixtures(REFERENCE) }, async (t) => {
    const { memory, database } = await reference(t);
    const counted = async (table, column = 'project') => count(database, `${table} WHERE ${column} = 'claude-mem'`);
    const expected = {
      observations: await counted('observations'),
      summaries: await counted('session_summaries'),
      prompts: await count(
        database,
        "user_prompts WHERE claude_session_id IN (SELECT claude_session_id FROM sdk_sessions WHERE project = 'claude-mem')",
      ),
    };
    const sessions = await counted('sdk_sessions');
    const others = await count(database, "observations WHERE project <> 'claude-mem'");
    const deleted = await memory.deleteProject('claude-mem');
    assert.equal(deleted.sessions + deleted.sessionsKept, sessions);
    assert.deepEqual(
      { observations: deleted.observations, summaries: deleted.summaries, prompts: deleted.prompts },
      expected,
    );
    for (const table of ['observations', 'session_summaries', 'sdk_sessions']) assert.equal(await counted(table), 0);
    assert.equal(await count(database, 'observations'), others, 'nothing of another project');
    assert.deepEqual(await memory.store.getRecentObservations('claude-mem'), []);
    await checkFullText(database);
  });

  test('with secureDelete its text is in no file', async (t) => {
    const embedded = { embedder: 'external', model: { name: 'mine', dimensions: 8 } };
    const { memory, directory } = await openedMemory(t, { secureDelete: true, ...embedded });
    const secret = 'xyzzyplugh';
    for (let n = 0; n < 200; n++) {
      const { sessionDbId } = await memory.store.beginPrompt(
        `claude-${n % 20}`,
        n % 2 ? 'gone' : 'stays',
        n % 2 ? secret : 'fine',
      );
      const title = n % 2 ? `${secret} ${n} ${'padding '.repeat(n * 10)}` : `fine ${n}`;
      await memory.store.storeObservation(`claude-${n % 20}`, n % 2 ? 'gone' : 'stays', {
        type: 'change',
        title,
        narrative: title,
      });
      await memory.queue.enqueue(sessionDbId, { type: 'observation', tool_response: title });
    }
    // Vectors too: each project's documents have one of their own.
    const vectors = { gone: Float32Array.of(1, 2, 3, 4, 5, 6, 7, 8), stays: Float32Array.of(8, 1, 7, 2, 6, 3, 5, 4) };
    const pending = await memory.vectors.pending({ limit: 1_000 });
    assert.equal(pending.length, 400);
    await memory.vectors.put(
      pending.map(({ documentId, text }) => ({
        documentId,
        vector: text.includes(secret) ? vectors.gone : vectors.stays,
      })),
    );
    const [gone, stays] = [await memory.vectors.get('obs_2_narrative'), await memory.vectors.get('obs_1_narrative')];
    const deleted = await memory.deleteProject('gone');
    assert.deepEqual([deleted.observations, deleted.prompts, deleted.messages, deleted.sessions], [100, 100, 100, 10]);
    assert.deepEqual(await memory.store.searchObservations(secret), []);
    assert.equal((await memory.search.all(secret, { mode: 'keyword' })).results.length, 0);
    await memory.dispose();
    const index = fs.readFileSync(path.join(directory, 'native/index.db'));
    assert.equal(index.indexOf(halves(gone)), -1, 'a vector of what was deleted');
    assert.notEqual(index.indexOf(halves(stays)), -1);
    for (const name of ['claude-mem.db', 'native/queue.db', 'native/index.db']) {
      const bytes = fs.readFileSync(path.join(directory, name));
      assert.equal(bytes.indexOf(secret), -1, name);
      // As FTS5 writes terms: without the prefix that they share with the one before.
      assert.equal(bytes.indexOf(secret.slice(2)), -1, name);
      assert.notEqual(bytes.indexOf('fine'), -1, name);
    }
  });

  test('its consumers end, its batches are lost, nothing makes it again', async (t) => {
    const { memory, session, put } = await openedMemory(t);
    const [open, waits, other] = [await session('open', 'p'), await session('waits', 'p'), await session('other', 'q')];
    await put(open, 'a', 'b');
    await put(other, 'c');
    const holder = memory.queue.consume(open, { maxBatch: 1 });
    const batch = await next(holder);
    const waiter = memory.queue.consume(waits, { keepAlive: true });
    const waiting = next(waiter);
    const deleted = await memory.deleteProject('p');
    assert.deepEqual([deleted.sessions, deleted.messages], [2, 2]);
    assert.equal(await settled(waiting), undefined);
    assert.deepEqual([holder.endReason, waiter.endReason], ['deleted', 'deleted']);
    await rejects(batch.commit({ observations: [{ type: 'change', title: 'late' }] }), 'ERR_LEASE_LOST');
    await rejects(memory.queue.enqueue(open, { type: 'observation' }), 'ERR_NOT_FOUND');
    await rejects(memory.sessions.initialize(open), 'ERR_NOT_FOUND');
    assert.equal(await memory.sessions.get(open), null);
    assert.deepEqual([memory.queue.depth(), memory.queue.depth(other)], [1, 1]);
    assert.equal((await memory.store.getStats()).observations, 0);
  });

  test('a commit that has begun is waited for, and its rows go too', async (t) => {
    const { memory, session, put, database } = await openedMemory(t);
    const id = await session('a', 'p');
    await put(id, 'a');
    const batch = await next(memory.queue.consume(id));
    const lock = await foreign.hold(database);
    const committed = batch.commit({ observations: [{ type: 'change', title: 'in time' }] });
    const deleted = memory.deleteProject('p');
    await lock.stop();
    // Begun before the deletion, it is stored.
    await committed;
    assert.equal((await deleted).observations, 1);
    assert.equal((await memory.store.getStats()).observations, 0);
    assert.equal(memory.queue.depth(), 0);
  });

  for (const stage of ['queue', 'rows', 'sessions']) {
    test(`a process that dies after the ${stage}: a repeat finishes`, async (t) => {
      const { directory, database } = dataDirectory(t);
      const child = await runChild('delete-project.cjs', {
        args: [directory],
        env: { CLAUDE_MEM_NATIVE_FAULT: `deleteProject:${stage}=abort` },
      });
      assert.equal(child.stdout, 'begun', child.stderr);
      const memory = await openMemory({ dataDir: directory });
      t.after(() => memory.dispose());
      await memory.deleteProject('p');
      for (const table of ['observations', 'session_summaries', 'sdk_sessions']) {
        assert.equal(await count(database, `${table} WHERE project = 'p'`), 0, table);
      }
      assert.equal(await count(database, 'user_prompts'), 0);
      const queue = path.join(directory, 'native', 'queue.db');
      for (const table of ['messages', 'dead_letters', 'dedupe_keys'])
        assert.equal(await count(queue, table), 0, table);
      await checkFullText(database);
    });
  }
});
