'use strict';
// `memory.retention`: what is old goes, what is active or waits stays.

const assert = require('node:assert/strict');
const { describe, test } = require('node:test');

const path = require('node:path');
const { openMemory } = require('..');
const { runChild } = require('./children/run-child.cjs');
const { dataDirectory, withoutFixtures } = require('./data-directory.cjs');
const foreign = require('./foreign/index.cjs');
const { openedMemory } = require('./opened-memory.cjs');

const REFERENCE = 'claude-mem-6.0.2.db';
const DAY = 86_400_000;

const rejects = (promise, message) =>
  assert.rejects(promise, (error) => {
    assert.equal(error.code, 'ERR_INVALID_ARG', error.message);
    assert.match(error.message, message);
    return true;
  });
const count = async (database, from) => (await foreign.query(database, `SELECT count(*) AS n FROM ${from}`))[0].n;

describe('retention', () => {
  test('deletes rows from before a time, and sessions of which nothing is left', async (t) => {
    const { memory, session, database } = await openedMemory(t);
    const now = Date.now();
    for (const name of ['old', 'new', 'active', 'waits']) {
      await session(name, 'p');
      const createdAtEpoch = now - (name === 'new' ? 0 : 30 * DAY);
      await memory.store.storeObservation(name, 'p', { type: 'change', title: name }, 1, { createdAtEpoch });
      await memory.store.storeSummary(name, 'p', { request: name }, 1, { createdAtEpoch });
    }
    const waits = await session('waits');
    await memory.queue.enqueue(waits, { type: 'observation' });
    await foreign.execute(
      database,
      `UPDATE sdk_sessions SET status = 'completed', completed_at_epoch = ${now - 20 * DAY} WHERE claude_session_id <> 'active'`,
    );
    const olderThan = new Date(now - 7 * DAY);
    assert.deepEqual(await memory.retention({ olderThan }), {
      olderThanEpoch: olderThan.getTime(),
      observations: 3,
      summaries: 3,
      prompts: 0,
      sessions: 1,
    });
    const left = await foreign.query(database, 'SELECT claude_session_id AS name FROM sdk_sessions ORDER BY id');
    assert.deepEqual(
      left.map(({ name }) => name),
      ['new', 'active', 'waits'],
    );
    assert.deepEqual(
      (await memory.store.searchObservations('old')).map(({ title }) => title),
      [],
    );
    assert.equal((await memory.retention({ olderThan: olderThan.getTime() })).observations, 0, 'a second time');
    await memory.queue.enqueue(waits, { type: 'observation' });
    assert.equal(memory.queue.depth(waits), 2);
  });

  test('of one project of the reference database', { skip: withoutFixtures(REFERENCE) }, async (t) => {
    const { directory, database } = dataDirectory(t, REFERENCE);
    const memory = await openMemory({ dataDir: directory });
    t.after(() => memory.dispose());
    const [{ middle }] = await foreign.query(
      database,
      "SELECT created_at_epoch AS middle FROM observations WHERE project = 'claude-mem' ORDER BY 1 LIMIT 1 OFFSET 1200",
    );
    const old = await count(database, `observations WHERE project = 'claude-mem' AND created_at_epoch < ${middle}`);
    const others = await count(database, "observations WHERE project <> 'claude-mem'");
    assert.ok(old > 0);
    const olderThan = new Date(middle).toISOString();
    const swept = await memory.retention({ project: 'claude-mem', olderThan });
    assert.deepEqual([swept.observations, swept.olderThanEpoch], [old, middle]);
    assert.equal(await count(database, 'observations'), 2406 - old + others);
    for (const table of ['observations_fts', 'session_summaries_fts', 'user_prompts_fts']) {
      await foreign.execute(database, `INSERT INTO ${table}(${table}, rank) VALUES ('integrity-check', 1)`);
    }
    const broken =
      'observations WHERE sdk_session_id NOT IN (SELECT sdk_session_id FROM sdk_sessions WHERE sdk_session_id IS NOT NULL)';
    assert.equal(await count(database, broken), 0);
  });

  for (const stage of ['sessions', 'queue', 'none']) {
    test(`a process that dies after the ${stage}: nothing worked off comes again, and a repeat finishes`, async (t) => {
      const { directory, database } = dataDirectory(t);
      const child = await runChild('retention.cjs', {
        args: [directory],
        env: { CLAUDE_MEM_NATIVE_FAULT: `retention:${stage}=abort`, RUST_BACKTRACE: '0' },
      });
      assert.equal(child.stdout, stage === 'none' ? 'begun ended 1' : 'begun', child.stderr);
      assert.equal(await count(database, 'sdk_sessions'), 0);
      const memory = await openMemory({ dataDir: directory });
      t.after(() => memory.dispose());
      assert.equal(memory.queue.depth(), 0);
      assert.deepEqual(await memory.queue.discover(), []);
      await memory.retention({ olderThan: Date.now() });
      assert.deepEqual(await memory.queue.deadLetters(), []);
      assert.deepEqual((await memory.checkIntegrity()).findings, []);
      const queue = path.join(directory, 'native', 'queue.db');
      for (const table of ['messages', 'dead_letters', 'dedupe_keys', 'attempts', 'pauses', 'leases', 'sessions'])
        assert.equal(await count(queue, table), 0, table);
      assert.equal(await count(database, 'native_ack'), 0);
    });
  }

  test('a time that is none, or still to come', async (t) => {
    const { memory } = await openedMemory(t);
    await rejects(memory.retention(), /olderThan.*missing/);
    await rejects(memory.retention({ olderThan: 'soon' }), /in the past/);
    await rejects(memory.retention({ olderThan: new Date(NaN) }), /in the past/);
    await rejects(memory.retention({ olderThan: 0 }), /in the past/);
    await rejects(memory.retention({ olderThan: Date.now() + DAY }), /still to come/);
    await rejects(memory.retention({ olderThan: {} }), /a Date or an ISO-8601 date/);
    await rejects(memory.retention({ olderThen: 1 }), /did you mean olderThan/);
  });
});
