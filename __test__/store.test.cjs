'use strict';
// `memory.store`: what the golden files do not show. One test a method or a promise of its documentation.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { describe, test } = require('node:test');

const { openMemory } = require('..');
const { dataDirectory, withoutFixtures } = require('./data-directory.cjs');
const foreign = require('./foreign/index.cjs');

const REFERENCE = 'claude-mem-6.0.2.db';

async function opened(t, fixture) {
  const { directory, database } = dataDirectory(t, fixture);
  const memory = await openMemory({ dataDir: directory });
  t.after(() => memory.dispose());
  return { store: memory.store, memory, database };
}

const observation = (fields) => ({
  type: 'change',
  title: 'title',
  subtitle: null,
  facts: ['one'],
  narrative: null,
  concepts: [],
  files_read: [],
  files_modified: [],
  ...fields,
});

const count = async (database, table) => (await foreign.query(database, `SELECT count(*) AS n FROM ${table}`))[0].n;
const rejects = (promise, code, message) =>
  assert.rejects(promise, (error) => {
    assert.equal(error.code, code, error.message);
    if (message) assert.match(error.message, message);
    return true;
  });

describe('what a hook does in three calls', () => {
  test('beginPrompt creates the session, counts and stores the prompt', async (t) => {
    const { store } = await opened(t);
    const first = await store.beginPrompt('claude-1', 'project', 'first');
    const second = await store.beginPrompt('claude-1', 'other project', 'second');
    assert.deepEqual(first, { sessionDbId: first.sessionDbId, promptNumber: 1, promptId: 1 });
    assert.deepEqual(second, { sessionDbId: first.sessionDbId, promptNumber: 2, promptId: 2 });
    const prompts = await store.getUserPromptsBySession('claude-1');
    assert.deepEqual(
      prompts.map(({ prompt_number, prompt_text }) => [prompt_number, prompt_text]),
      [
        [1, 'first'],
        [2, 'second'],
      ],
    );
    const session = await store.getSessionById(first.sessionDbId);
    assert.deepEqual(session, {
      id: first.sessionDbId,
      claude_session_id: 'claude-1',
      sdk_session_id: 'claude-1',
      project: 'project',
      user_prompt: 'first',
    });
  });

  test('many at once count each prompt once', async (t) => {
    const { store } = await opened(t);
    const begun = await Promise.all(
      Array.from({ length: 100 }, (_, i) => store.beginPrompt('claude', 'p', `prompt ${i}`)),
    );
    assert.deepEqual(
      begun.map(({ promptNumber }) => promptNumber),
      Array.from({ length: 100 }, (_, i) => i + 1),
    );
    const prompts = await store.getUserPromptsBySession('claude');
    assert.deepEqual(
      prompts.map(({ prompt_text }) => prompt_text),
      begun.map((_, i) => `prompt ${i}`),
    );
  });

  test('touchSession creates a session without project and prompt, or finds one', async (t) => {
    const { store } = await opened(t);
    const touched = await store.touchSession('claude-1');
    assert.equal(touched.promptNumber, 0);
    const { project, user_prompt } = await store.getSessionById(touched.sessionDbId);
    assert.deepEqual({ project, user_prompt }, { project: '', user_prompt: '' });
    await store.beginPrompt('claude-1', 'project', 'first');
    assert.deepEqual(await store.touchSession('claude-1'), { sessionDbId: touched.sessionDbId, promptNumber: 1 });
  });
});

test('getLatestUserPrompt is the newest prompt, with its session', async (t) => {
  const { store } = await opened(t);
  assert.equal(await store.getLatestUserPrompt('claude-1'), null);
  const id = await store.createSDKSession('claude-1', 'project', 'p');
  await store.saveUserPrompt('claude-1', 1, 'newer', { createdAtEpoch: 2_000 });
  await store.saveUserPrompt('claude-1', 2, 'older', { createdAtEpoch: 1_000 });
  assert.deepEqual(await store.getLatestUserPrompt('claude-1'), {
    id: 1,
    claude_session_id: 'claude-1',
    prompt_number: 1,
    prompt_text: 'newer',
    created_at: '1970-01-01T00:00:02.000Z',
    created_at_epoch: 2_000,
    sdk_session_id: 'claude-1',
    project: 'project',
  });
  assert.ok(id > 0);
});

test('createdAtEpoch is stored as both times', async (t) => {
  const { store, database } = await opened(t);
  const createdAtEpoch = 1_757_177_815_686;
  const created_at = '2025-09-06T16:56:55.686Z';
  const options = { createdAtEpoch };
  await store.createSDKSession('s', 'p', 'x', options);
  await store.saveUserPrompt('s', 1, 'x', options);
  assert.deepEqual(await store.storeObservation('s', 'p', observation(), 1, options), { id: 1, createdAtEpoch });
  assert.deepEqual(await store.storeSummary('s', 'p', { request: 'r' }, 1, options), { id: 1, createdAtEpoch });
  for (const table of ['user_prompts', 'observations', 'session_summaries']) {
    const [row] = await foreign.query(database, `SELECT created_at, created_at_epoch FROM ${table}`);
    assert.deepEqual(row, { created_at, created_at_epoch: createdAtEpoch }, table);
  }
  const [session] = await foreign.query(database, 'SELECT started_at, started_at_epoch FROM sdk_sessions');
  assert.deepEqual(session, { started_at: created_at, started_at_epoch: createdAtEpoch });
});

describe('rows given under an id that only claude_session_id has', () => {
  test('go to that session, and a NULL sdk_session_id is set', async (t) => {
    const { store, database } = await opened(t);
    const id = await store.createSDKSession('claude-1', 'p', 'x');
    await foreign.execute(database, `UPDATE sdk_sessions SET sdk_session_id = NULL WHERE id = ${id}`);
    const { id: row } = await store.storeObservation('claude-1', 'p', observation());
    assert.equal((await store.getSessionById(id)).sdk_session_id, 'claude-1');
    assert.equal((await store.getObservationById(row)).sdk_session_id, 'claude-1');
    assert.equal(await count(database, 'sdk_sessions'), 1);
  });

  test('another sdk_session_id is kept', async (t) => {
    const { store, database } = await opened(t);
    const id = await store.createSDKSession('claude-1', 'p', 'x');
    await foreign.execute(database, `UPDATE sdk_sessions SET sdk_session_id = 'sdk-1' WHERE id = ${id}`);
    await store.storeObservation('claude-1', 'p', observation());
    await store.storeSummary('claude-1', 'p', { request: 'r' });
    assert.equal((await store.getObservationsForSession('sdk-1')).length, 1);
    assert.equal((await store.getSummaryForSession('sdk-1')).request, 'r');
    assert.equal(await count(database, 'sdk_sessions'), 1);
  });
});

describe('commitResponse', () => {
  test('stores everything under the session and completes it', async (t) => {
    const { store, database } = await opened(t);
    const sessionDbId = await store.createSDKSession('claude-1', 'project', 'x');
    await foreign.execute(database, 'UPDATE sdk_sessions SET sdk_session_id = NULL');
    const before = Date.now();
    const stored = await store.commitResponse({
      sessionDbId,
      observations: [observation({ title: 'a' }), observation({ title: 'b', promptNumber: 9, createdAtEpoch: 5 })],
      summary: { request: 'r', next_steps: null },
      promptNumber: 3,
      completeSession: true,
    });
    assert.deepEqual(
      stored.observations.map(({ id }) => id),
      [1, 2],
    );
    assert.ok(stored.observations[0].createdAtEpoch >= before);
    assert.equal(stored.observations[1].createdAtEpoch, 5);
    assert.equal(stored.summary.id, 1);
    const rows = await foreign.query(
      database,
      'SELECT title, project, sdk_session_id, prompt_number FROM observations',
    );
    const common = { project: 'project', sdk_session_id: 'claude-1' };
    assert.deepEqual(rows, [
      { title: 'a', ...common, prompt_number: 3 },
      { title: 'b', ...common, prompt_number: 9 },
    ]);
    const [session] = await foreign.query(database, 'SELECT status, sdk_session_id FROM sdk_sessions');
    assert.deepEqual(session, { status: 'completed', sdk_session_id: 'claude-1' });
  });

  test('without observations and summary is fine', async (t) => {
    const { store } = await opened(t);
    const sessionDbId = await store.createSDKSession('claude-1', 'project', 'x');
    const nothing = { observations: [], summary: null };
    assert.deepEqual(await store.commitResponse({ sessionDbId }), nothing);
    assert.deepEqual(await store.commitResponse({ sessionDbId, observations: null, summary: null }), nothing);
  });

  test('one refused row refuses all', async (t) => {
    const { store, database } = await opened(t);
    const sessionDbId = await store.createSDKSession('claude-1', 'project', 'x');
    const bad = {
      sessionDbId,
      observations: [observation(), observation({ type: 'nonsense' })],
      completeSession: true,
    };
    await rejects(store.commitResponse(bad), 'ERR_CONSTRAINT', /CHECK/);
    assert.equal(await count(database, 'observations'), 0);
    assert.deepEqual(await foreign.query(database, 'SELECT status FROM sdk_sessions'), [{ status: 'active' }]);
  });

  test('an unknown session is ERR_NOT_FOUND', async (t) => {
    const { store } = await opened(t);
    await rejects(
      store.commitResponse({ sessionDbId: 7, observations: [observation()] }),
      'ERR_NOT_FOUND',
      /session 7/,
    );
  });
});

describe('getContext', () => {
  test('whole rows of a project, newest first', { skip: withoutFixtures(REFERENCE) }, async (t) => {
    const { store, database } = await opened(t, REFERENCE);
    for (const project of ['claude-mem', 'rust-queue', 'ml-notes', 'no-such']) {
      const newest = (table, limit) =>
        foreign.query(
          database,
          `SELECT * FROM ${table} WHERE project = '${project}' ORDER BY created_at_epoch DESC, id LIMIT ${limit}`,
        );
      assert.deepEqual(await store.getContext(project), {
        observations: await newest('observations', 50),
        summaries: await newest('session_summaries', 11),
      });
      assert.deepEqual(await store.getContext(project, { observations: 3, summaries: 0 }), {
        observations: await newest('observations', 3),
        summaries: [],
      });
    }
  });
});

test('getStats counts rows and says which file', { skip: withoutFixtures(REFERENCE) }, async (t) => {
  const { store, database } = await opened(t, REFERENCE);
  const { size, path: file, ...rows } = await store.getStats();
  assert.deepEqual(rows, { observations: 3_496, sessions: 404, summaries: 420, prompts: 900 });
  assert.equal(fs.realpathSync(file), fs.realpathSync(database));
  assert.equal(size, fs.statSync(database).size);
});

test('getSchema tells the step, whatever the ledger says', { skip: withoutFixtures(REFERENCE) }, async (t) => {
  const { store, database } = await opened(t, REFERENCE);
  const whole = { step: 10, missingStep: null, recorded: [4, 5, 6, 7, 8, 9, 10], nativeFormat: 1 };
  assert.deepEqual(await store.getSchema(), whole);
  await foreign.execute(database, "INSERT INTO schema_versions(version, applied_at) VALUES (16, '')");
  assert.deepEqual(await store.getSchema(), { ...whole, recorded: [...whole.recorded, 16] });
});

test('findDuplicates names rows that say the same in the same session', async (t) => {
  const { store } = await opened(t);
  const same = observation({ title: 'same', facts: ['a'] });
  for (const [session, row] of [
    ['s', same],
    ['s', observation({ title: 'same', facts: ['b'] })],
    ['other', same],
    ['s', same],
    ['s', observation({ title: null })],
    ['s', same],
    ['s', observation({ title: null })],
  ]) {
    await store.storeObservation(session, 'p', row, Math.ceil(Math.random() * 9));
  }
  for (const request of ['r', 'r', 'q', null, null]) await store.storeSummary('s', 'p', { request });
  assert.deepEqual(await store.findDuplicates(), {
    observations: [
      [1, 4, 6],
      [5, 7],
    ],
    summaries: [
      [1, 2],
      [4, 5],
    ],
  });
});

test('getAllProjects leaves out the empty one', async (t) => {
  const { store } = await opened(t);
  await store.touchSession('no project yet');
  for (const project of ['b', 'a', 'Ä', 'b']) await store.createSDKSession(`of ${project}`, project, '');
  assert.deepEqual(await store.getAllProjects(), ['a', 'b', 'Ä']);
});

test('rows with unreadable JSON are answered as they are', { skip: withoutFixtures(REFERENCE) }, async (t) => {
  const { store, database } = await opened(t, REFERENCE);
  const bad = 'NOT json_valid(facts) OR NOT json_valid(files_read) OR NOT json_valid(files_modified)';
  const rows = await foreign.query(database, `SELECT * FROM observations WHERE ${bad}`);
  assert.ok(rows.length >= 5);
  for (const row of rows) {
    assert.deepEqual(await store.getObservationById(row.id), row);
    const { filesRead, filesModified } = await store.getFilesForSession(row.sdk_session_id);
    assert.ok(Array.isArray(filesRead) && Array.isArray(filesModified));
  }
});

test(
  'columns that a later version has added come along',
  { skip: withoutFixtures('newer-v7.4.5-fresh.db') },
  async (t) => {
    const { store, database } = await opened(t, 'newer-v7.4.5-fresh.db');
    const { id } = await store.storeObservation('s', 'p', observation());
    const [row] = await foreign.query(database, 'SELECT * FROM observations');
    assert.ok(Object.keys(row).length > 15);
    assert.deepEqual(await store.getObservationById(id), row);
  },
);

describe('arguments', () => {
  test('name what is wrong', async (t) => {
    const { store } = await opened(t);
    const invalid = (promise, message) => rejects(promise, 'ERR_INVALID_ARG', message);
    await invalid(store.getSessionById('seven'), /'id' must be a finite number, got 'seven'/);
    await invalid(store.getObservationsByIds(7), /'ids' must be an array/);
    await invalid(store.getObservationsByIds([1, 'x']), /'ids\[1\]' must be an integer, got 'x'/);
    await invalid(
      store.getObservationsByIds([1], { orderby: 'date_asc' }),
      /unknown option 'orderby'; did you mean orderBy/,
    );
    await invalid(store.storeObservation('s', 'p', 'text'), /'observation' must be an object/);
    await invalid(
      store.storeObservation('s', 'p', observation({ title: 5 })),
      /'observation\.title' must be a string, got 5/,
    );
    await invalid(
      store.storeObservation('s', 'p', observation(), 1, { createdAtEpoc: 1 }),
      /did you mean createdAtEpoch/,
    );
    await invalid(
      store.storeObservation('s', 'p', observation({ facts: [1n] })),
      /'observation\.facts' cannot be written as JSON/,
    );
    await invalid(store.commitResponse({}), /'sessionDbId' is missing/);
    await invalid(
      store.commitResponse({ sessionDbId: 1, observation: [] }),
      /unknown option 'observation'; did you mean observations/,
    );
    await invalid(store.getRecentObservations('p', -1), /'limit' must be an integer from 0, got -1/);
    await invalid(store.getTimelineAroundTimestamp(0, -1), /'depthBefore' must be an integer from 0, got -1/);
    await invalid(store.setWorkerPort(1, 70_000), /'port' must be an integer from 0 to 65535/);
    await invalid(store.createSDKSession('s'), /project/);
  });

  test('numbers may come as decimal strings', async (t) => {
    const { store } = await opened(t);
    const id = await store.createSDKSession('s', 'p', 'x');
    assert.equal((await store.getSessionById(String(id))).claude_session_id, 's');
    await store.storeObservation('s', 'p', observation(), '2', { createdAtEpoch: '1000' });
    assert.deepEqual(
      (await store.getTimelineAroundTimestamp('1000', '1', '1')).observations.map((row) => [row.id, row.prompt_number]),
      [[1, 2]],
    );
  });

  test('keys of rows that touch the prototype are only keys', async (t) => {
    const { store } = await opened(t);
    const { id } = await store.storeObservation('s', 'p', JSON.parse('{"type":"change","__proto__":{"title":"x"}}'));
    assert.equal((await store.getObservationById(id)).title, null);
    // What stands on a prototype is not the caller's own.
    const inherited = Object.create({ title: 'inherited' }, { type: { value: 'change', enumerable: true } });
    const { id: other } = await store.storeObservation('s', 'p', inherited);
    assert.equal((await store.getObservationById(other)).title, null);
  });
});

test('after dispose every method rejects with ERR_DISPOSED', async (t) => {
  const { directory } = dataDirectory(t);
  const memory = await openMemory({ dataDir: directory });
  const { store, pages } = memory;
  await memory.dispose();
  const given = {
    createSDKSession: ['s', 'p', 'x'],
    saveUserPrompt: ['s', 1, 'x'],
    beginPrompt: ['s', 'p', 'x'],
    storeObservation: ['s', 'p', observation()],
    storeSummary: ['s', 'p', {}],
    updateSDKSessionId: [1, 's'],
    setWorkerPort: [1, 1],
    reactivateSession: [1, 'x'],
    commitResponse: [{ sessionDbId: 1 }],
    getTimelineAroundObservation: [1, 0],
    getTimelineAroundTimestamp: [0],
    getObservationsByIds: [[1]],
    getSessionSummariesByIds: [[1]],
    getUserPromptsByIds: [[1]],
    getAllRecentObservations: [],
    getAllRecentSummaries: [],
    getAllRecentUserPrompts: [],
    getAllProjects: [],
    getStats: [],
    getSchema: [],
    findDuplicates: [],
    incrementPromptCounter: [1],
    getPromptCounter: [1],
    getWorkerPort: [1],
    markSessionCompleted: [1],
    markSessionFailed: [1],
    getSessionById: [1],
    getObservationById: [1],
  };
  const methods = (object) =>
    Object.getOwnPropertyNames(Object.getPrototypeOf(object)).filter((name) => name !== 'constructor');
  assert.ok(methods(store).length >= 45, path.basename(__filename));
  for (const name of methods(store)) await rejects(store[name](...(given[name] ?? ['text'])), 'ERR_DISPOSED');
  for (const name of methods(pages)) await rejects(pages[name](0, 20), 'ERR_DISPOSED');
});
