'use strict';
// What a write may cost, and what it leaves: deadlines of every call, bytes in flight both ways, secureDelete, and
// durability. That every COMMIT under `durability: 'full'` is fsynced is counted in src/queue/tests/durability.rs.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { describe, test } = require('node:test');

const { CrossingProbe } = require('./fault/index.cjs');
const foreign = require('./foreign/index.cjs');
const { NO_BACKOFF, message, names, next, openedMemory, settled, until } = require('./opened-memory.cjs');

const SHORT = { deadlineMs: 30 };
const ROW = { type: 'discovery', title: 'too late' };

/** Every call that takes `deadlineMs`, by class, with a deadline that is too short for a lock. */
const WRITES = {
  Store: {
    createSDKSession: ({ store }) => store.createSDKSession('late', 'project', 'ask', SHORT),
    incrementPromptCounter: ({ store, id }) => store.incrementPromptCounter(id, SHORT),
    updateSDKSessionId: ({ store, unnamed }) => store.updateSDKSessionId(unnamed, 'late', SHORT),
    setWorkerPort: ({ store, id }) => store.setWorkerPort(id, 4711, SHORT),
    markSessionCompleted: ({ store, id }) => store.markSessionCompleted(id, SHORT),
    markSessionFailed: ({ store, id }) => store.markSessionFailed(id, SHORT),
    reactivateSession: ({ store, id }) => store.reactivateSession(id, 'late', SHORT),
    storeObservation: ({ store }) => store.storeObservation('claude', 'project', ROW, 1, SHORT),
    storeSummary: ({ store }) => store.storeSummary('claude', 'project', { request: 'late' }, 1, SHORT),
    saveUserPrompt: ({ store }) => store.saveUserPrompt('claude', 9, 'late', SHORT),
    beginPrompt: ({ store }) => store.beginPrompt('claude', 'project', 'late', SHORT),
    touchSession: ({ store }) => store.touchSession('late', SHORT),
    commitResponse: ({ store, id }) => store.commitResponse({ sessionDbId: id, observations: [ROW], ...SHORT }),
  },
  Batch: {
    commit: ({ batch }) => batch.commit({ observations: [ROW], ...SHORT }),
  },
  Queue: {
    enqueue: ({ queue, id }) => queue.enqueue(id, message('too late'), SHORT),
    enqueueRaw: ({ queue, id }) => queue.enqueueRaw(id, Buffer.from('{"type":"too late"}'), SHORT),
  },
  RawMessage: {
    enqueue: ({ queue, id }) => {
      const raw = queue.raw(id);
      raw.append(Buffer.from('{"type":"too late"}'));
      return raw.enqueue(SHORT);
    },
  },
  Memory: {
    compact: ({ memory }) => memory.compact(SHORT).result,
    deleteObservations: ({ memory, observation }) => memory.deleteObservations([observation], SHORT),
    deleteSummaries: ({ memory, summary }) => memory.deleteSummaries([summary], SHORT),
    deleteProject: ({ memory }) => memory.deleteProject('elsewhere', SHORT),
    retention: ({ memory }) => memory.retention({ olderThan: Date.now() - 1, ...SHORT }),
    exportTo: ({ memory, file }) => memory.exportTo(`${file}.again`, SHORT).result,
    importFrom: ({ memory, file }) => memory.importFrom(file, SHORT).result,
  },
  Vectors: {
    createCollection: ({ vectors }) => vectors.createCollection('late', SHORT),
    dropCollection: ({ vectors }) => vectors.dropCollection('kept', SHORT),
  },
  Collection: {
    upsert: ({ vectors }) => vectors.collection('kept').upsert([{ id: 'late', vector: [1, 2] }], SHORT),
    delete: ({ vectors }) => vectors.collection('kept').delete({ ids: ['early'], ...SHORT }),
  },
};

describe('deadlineMs', () => {
  test('is an option of every write listed here, and of no other', () => {
    const types = fs.readFileSync(path.join(__dirname, '..', 'index.d.ts'), 'utf8');
    const withDeadline = [...types.matchAll(/export interface (\w+) \{([^}]*)\}/g)]
      .filter(([, , body]) => /\bdeadlineMs\?:/.test(body))
      .map(([, name]) => name)
      .filter((name) => name !== 'OpenOptions');
    const found = [...types.matchAll(/export declare class (\w+) \{\n(.*?)\n\}/gs)].flatMap(([, owner, body]) =>
      [...body.matchAll(/^ {2}(\w+)\((.*)\): /gm)]
        .filter(
          ([, , parameters]) =>
            /\bdeadlineMs\?:/.test(parameters) ||
            withDeadline.some((type) => new RegExp(`: ${type}\\b`).test(parameters)),
        )
        .map(([, method]) => `${owner}.${method}`),
    );
    const listed = Object.entries(WRITES).flatMap(([owner, calls]) =>
      Object.keys(calls).map((method) => `${owner}.${method}`),
    );
    assert.deepEqual(found.sort(), listed.sort(), 'a write with a deadline has no line in WRITES, or the other way');
  });

  test('too short for a lock rejects with ERR_BUSY and its figures, and what was rejected never runs', async (t) => {
    const { memory, session, put, directory, database } = await openedMemory(t, NO_BACKOFF);
    const { store, queue, vectors } = memory;
    const id = await session();
    await vectors.collection('kept').upsert([{ id: 'early', vector: [2, 1] }]);
    await foreign.execute(
      database,
      `INSERT INTO sdk_sessions (claude_session_id, project, started_at, started_at_epoch, status)
       VALUES ('unnamed', 'project', '2026-01-01T00:00:00.000Z', 1, 'active')`,
    );
    const unnamed = await store.createSDKSession('unnamed', 'project', null);
    await put(id, 'held');
    const batch = await next(queue.consume(id));
    const observation = (await store.storeObservation('other', 'elsewhere', { ...ROW, title: 'kept' })).id;
    const summary = (await store.storeSummary('other', 'elsewhere', { request: 'kept' })).id;
    // What is there says 'kept', so this is all new.
    const file = path.join(directory, 'export.jsonl');
    await memory.exportTo(file);
    fs.writeFileSync(file, fs.readFileSync(file, 'utf8').replaceAll('kept', 'new'));
    const tables = ['sdk_sessions', 'observations', 'session_summaries', 'user_prompts', 'native_ack'];
    const seen = async () => [
      ...(await Promise.all(tables.map((table) => foreign.query(database, `SELECT * FROM ${table}`)))),
      await foreign.query(path.join(directory, 'native', 'queue.db'), 'SELECT id, type FROM messages'),
      (await vectors.collections()).map(({ name, documents }) => [name, documents]),
    ];
    const before = await seen();
    const own = ['queue.db', 'collections.db'].map((name) => path.join(directory, 'native', name));
    const locks = await Promise.all([database, ...own].map((file) => foreign.hold(file)));
    for (const call of Object.values(WRITES).flatMap((calls) => Object.values(calls))) {
      await assert.rejects(
        settled(call({ memory, store, queue, vectors, batch, id, unnamed, observation, summary, file })),
        (error) => {
          assert.equal(error.code, 'ERR_BUSY', `${call}: ${error.message}`);
          assert.ok(error.waitedMs > 0 && /deadlineMs/.test(error.message), error.message);
          return true;
        },
      );
    }
    for (const lock of locks) await lock.stop();
    // Behind everything that might still have been waiting.
    await store.setWorkerPort(id, null);
    await queue.deadLetters();
    assert.deepEqual(await seen(), before);
    // What was rejected may be tried again.
    await batch.commit({ observations: [{ type: 'discovery', title: 'in time' }] });
    assert.equal(queue.depth(), 0);
  });

  test('of openMemory is that of a write which says nothing', async (t) => {
    const { memory, session, database } = await openedMemory(t, { deadlineMs: 40 });
    const id = await session();
    const lock = await foreign.hold(database);
    await assert.rejects(settled(memory.store.setWorkerPort(id, 1)), { code: 'ERR_BUSY' });
    const patient = memory.store.setWorkerPort(id, 2, { deadlineMs: 60_000 });
    await lock.stop();
    await settled(patient);
    assert.equal(await memory.store.getWorkerPort(id), 2);
  });
});

describe('bytes of writes in flight', () => {
  test('are bounded over both files together, with figures; one write is always admitted', async (t) => {
    const { memory, session, directory, database } = await openedMemory(t, { maxInFlightBytes: 65_536 });
    const id = await session();
    const queueLock = await foreign.hold(path.join(directory, 'native', 'queue.db'));
    const lock = await foreign.hold(database);
    // Larger than the whole budget, and alone.
    const large = memory.queue.enqueue(id, message('large', { text: 'x'.repeat(200_000) }));
    for (const refused of [
      memory.queue.enqueue(id, message('refused')),
      memory.store.storeObservation('claude', 'project', { type: 'discovery', title: 'refused' }),
    ]) {
      await assert.rejects(settled(refused), (error) => {
        assert.equal(error.code, 'ERR_BUSY');
        assert.ok(error.inFlightBytes >= 200_000 && error.bytes > 0 && error.limit === 65_536, error.message);
        assert.match(error.message, /maxInFlightBytes/);
        return true;
      });
    }
    // What makes room has no bytes, and is admitted beside it.
    const paused = memory.queue.pause(id);
    assert.equal(memory.queue.depth(id), 1);
    await queueLock.stop();
    await lock.stop();
    await settled(Promise.all([large, paused]));
    await memory.queue.resume(id);
    await memory.queue.enqueue(id, message('afterwards'));
    assert.deepEqual(names(await next(memory.queue.consume(id))), ['large', 'afterwards']);
    const { observations } = await memory.store.getStats();
    assert.equal(observations, 0);
  });
});

describe('bytes of results in flight', () => {
  // Each of them is small; together they are 200 MB that an event loop which is busy would have to hold.
  test('are bounded, also where there are very many small ones, and every one of them comes', async () => {
    const probe = new CrossingProbe();
    const answers = Array.from({ length: 5_000 }, () => probe.rows(['id', 'text'], 10, 4_000));
    for (const until = performance.now() + 700; performance.now() < until;);
    const backlog = probe.backlog();
    assert.ok(backlog > 0 && backlog <= 64 * 1024 * 1024, `${backlog} bytes`);
    for (const answer of answers) assert.equal((await answer).length, 10);
    assert.equal(probe.backlog(), 0);
    probe.dispose();
  });
});

describe('secureDelete', () => {
  const SECRET = 'the-secret-of-this-test';

  /** Files below `native/` that contain the secret. */
  const leaks = (directory) =>
    fs
      .readdirSync(path.join(directory, 'native'))
      .filter((file) => fs.readFileSync(path.join(directory, 'native', file)).includes(SECRET));

  test('leaves nothing of acknowledged messages and of purged dead letters on the disk', async (t) => {
    const { memory, session, directory } = await openedMemory(t, { secureDelete: true, ...NO_BACKOFF });
    const id = await session();
    for (let n = 0; n < 30; n += 1) await memory.queue.enqueue(id, message(`${n}`, { text: SECRET.repeat(300) }));
    const consumer = memory.queue.consume(id, { maxBatch: 10 });
    const first = await next(consumer);
    await first.deadLetter(first.messages.map((one) => one.id));
    await first.commit();
    for (let n = 0; n < 2; n += 1) await (await next(consumer)).commit();
    consumer.dispose();
    assert.equal(await memory.queue.purgeDeadLetters(), 10);
    await memory.queue.enqueue(id, message('kept'));
    await until(() => memory.queue.metrics().unpurged === 0);
    assert.equal(memory.queue.depth(), 1);
    await memory.dispose();
    assert.deepEqual(leaks(directory), []);
  });

  test('is a choice: what waits is on the disk', async (t) => {
    const { memory, session, directory } = await openedMemory(t, { secureDelete: true });
    await memory.queue.enqueue(await session(), message(SECRET));
    await memory.dispose();
    assert.deepEqual(leaks(directory), ['queue.db'], 'this test can see it');
  });
});
