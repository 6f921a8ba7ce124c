'use strict';
// Full-text search and lists by concept, type and file: what the golden files do not show.

const assert = require('node:assert/strict');
const { test } = require('node:test');

const { openMemory } = require('..');
const { dataDirectory } = require('./data-directory.cjs');
const foreign = require('./foreign/index.cjs');

const HOUR = 3_600_000;
const FIRST = Date.UTC(2025, 8, 1);

/** A memory with observations, an hour apart, of these fields. */
async function filled(t, ...rows) {
  const { directory, database } = dataDirectory(t);
  const memory = await openMemory({ dataDir: directory });
  t.after(() => memory.dispose());
  for (const [place, { project = 'p', ...fields }] of rows.entries()) {
    const createdAtEpoch = FIRST + place * HOUR;
    await memory.store.storeObservation(`of ${project}`, project, { type: 'change', ...fields }, 1, { createdAtEpoch });
  }
  return { store: memory.store, database };
}

const ids = (rows) => rows.map(({ id }) => id);
const invalid = (promise, message) =>
  assert.rejects(promise, (error) => {
    assert.equal(error.code, 'ERR_INVALID_ARG', error.message);
    assert.match(error.message, message);
    return true;
  });

test('the query is a phrase, whatever it contains', async (t) => {
  const { store } = await filled(
    t,
    { title: 'red apple' },
    { title: 'apple red' },
    { title: 'AND OR' },
    { title: 'say "hi" now' },
  );
  assert.deepEqual(ids(await store.searchObservations('red apple')), [1]);
  assert.deepEqual(ids(await store.searchObservations('AND')), [3]);
  assert.deepEqual(ids(await store.searchObservations('say "hi"')), [4]);
  assert.deepEqual(ids(await store.searchObservations('red\0apple')), [1]);
  for (const query of ['', ' ', '"', '*', 'title:red', 'red OR apple', 'r*']) {
    assert.deepEqual(await store.searchObservations(query), [], query);
  }
});

test('score is 1 for the best row, 0 for the worst, 1 for an only one', async (t) => {
  const { store } = await filled(
    t,
    { title: 'apple', narrative: 'filler '.repeat(50) },
    { title: 'apple apple apple' },
    { title: 'pear' },
  );
  const found = await store.searchObservations('apple');
  assert.deepEqual(ids(found), [2, 1]);
  assert.deepEqual(
    found.map(({ score }) => score),
    [1, 0],
  );
  assert.ok(found[0].rank < found[1].rank);
  assert.equal((await store.searchObservations('pear'))[0].score, 1);
});

test('all filters hold together', async (t) => {
  const row = { title: 'x', project: 'p', type: 'bugfix', concepts: ['gotcha'], files_read: ['/src/a.ts'] };
  const { store } = await filled(
    t,
    row,
    { ...row, project: 'q' },
    { ...row, type: 'change' },
    { ...row, concepts: ['other'] },
    { ...row, files_read: [], files_modified: ['/SRC/A.TS'] },
    { ...row, files_read: ['b.ts'] },
    row,
  );
  const options = {
    project: 'p',
    type: ['bugfix', 'feature'],
    concepts: ['gotcha', 'pattern'],
    files: 'src/a',
    dateRange: { start: FIRST, end: FIRST + 5 * HOUR },
  };
  assert.deepEqual(ids(await store.searchObservations('x', { ...options, orderBy: 'date_asc' })), [1, 5]);
  assert.deepEqual(ids(await store.searchObservations('x', { ...options, orderBy: 'date_desc' })), [5, 1]);
  assert.deepEqual(ids(await store.searchObservations('x', { ...options, orderBy: 'date_asc', offset: 1 })), [5]);
  assert.deepEqual(ids(await store.searchObservations('x', { limit: -1, orderBy: 'date_asc', offset: 4 })), [5, 6, 7]);
});

test('a date range takes milliseconds, ISO text and local times', async (t) => {
  const { store } = await filled(t, { title: 'x' }, { title: 'x' }, { title: 'x' });
  const from = async (start) => ids(await store.findByType('change', { orderBy: 'date_asc', dateRange: { start } }));
  const second = new Date(FIRST + HOUR);
  const local = `${second.getFullYear()}-${String(second.getMonth() + 1).padStart(2, '0')}-${String(second.getDate()).padStart(2, '0')}T${String(second.getHours()).padStart(2, '0')}:00:00`;
  for (const start of [FIRST + HOUR, String(FIRST + HOUR), second.toISOString(), '2025-09-01T03:00+02:00', local]) {
    assert.deepEqual(await from(start), [2, 3], String(start));
  }
  assert.deepEqual(await from('2025-09-01'), [1, 2, 3]);
  assert.deepEqual(await from('2026'), []);
  assert.deepEqual(await from('not a date'), []);
  for (const none of [0, '', null, undefined]) assert.deepEqual(await from(none), [1, 2, 3]);
});

test('an unreadable array is left out of the match, the rest is not', async (t) => {
  const { store, database } = await filled(
    t,
    { files_read: ['a.ts'], files_modified: ['b.ts'], concepts: ['c'] },
    { files_read: ['a.ts'] },
  );
  await foreign.execute(database, `UPDATE observations SET files_read = '["a.ts', concepts = 'c' WHERE id = 1`);
  assert.deepEqual(ids((await store.findByFile('a.ts')).observations), [2]);
  assert.deepEqual(ids((await store.findByFile('b.ts')).observations), [1]);
  assert.deepEqual(await store.findByConcept('c'), []);
  await foreign.execute(database, `UPDATE observations SET files_read = '', files_modified = '{oops' WHERE id = 1`);
  assert.deepEqual(ids((await store.findByFile('.ts')).observations), [2]);
});

test('findByFile answers summaries too, newest first whatever the order', async (t) => {
  const { store, database } = await filled(t, { files_modified: ['/p/src/a.ts'] });
  for (const request of ['first', 'second', 'third']) await store.storeSummary('of p', 'p', { request });
  await foreign.execute(database, `UPDATE session_summaries SET files_edited = '["/p/src/a.ts"]' WHERE id < 3`);
  for (const orderBy of ['date_asc', 'date_desc']) {
    const { observations, sessions } = await store.findByFile('src/a', { orderBy });
    assert.deepEqual(ids(observations), [1]);
    assert.deepEqual(ids(sessions).sort(), [1, 2]);
    assert.ok(sessions[0].created_at_epoch >= sessions[1].created_at_epoch);
  }
});

test('prompts are filtered by the project of their session; 20 without a limit', async (t) => {
  const { store } = await filled(t);
  for (const project of ['p', 'q']) {
    await store.createSDKSession(`of ${project}`, project, '');
    for (let number = 1; number <= 30; number += 1) await store.saveUserPrompt(`of ${project}`, number, 'fix the bug');
  }
  assert.equal((await store.searchUserPrompts('fix')).length, 20);
  const found = await store.searchUserPrompts('bug', {
    project: 'q',
    limit: 100,
    type: 'ignored',
    concepts: 'ignored',
    files: 'ignored',
  });
  assert.equal(found.length, 30);
  assert.ok(found.every(({ claude_session_id }) => claude_session_id === 'of q'));
});

test('nothing to look for is ERR_INVALID_ARG', async (t) => {
  const { store } = await filled(t, { title: 'x' });
  await invalid(store.findByConcept(''), /concept is empty/);
  await invalid(store.findByType(''), /type is empty/);
  await invalid(store.findByFile(''), /file is empty/);
  await invalid(store.findByType(), /'type' must be a string or an array of strings, got undefined/);
  await invalid(store.searchObservations(), /'query' must be a string, got undefined/);
  await invalid(store.searchObservations('x', { projects: 'p' }), /unknown option 'projects'; did you mean project/);
  await invalid(store.searchObservations('x', { dateRange: { from: 1 } }), /unknown option 'from'/);
  await invalid(
    store.searchObservations('x', { dateRange: { start: {} } }),
    /must be epoch milliseconds or an ISO-8601 date/,
  );
  await invalid(store.searchObservations('x', { files: 'a'.repeat(60_000) }), /60000 bytes/);
  assert.deepEqual(await store.findByType([]), []);
});

test('searches see what another process writes', async (t) => {
  const { store, database } = await filled(t, { title: 'first' });
  await foreign.execute(
    database,
    `INSERT INTO observations (sdk_session_id, project, type, title, created_at, created_at_epoch)
     VALUES ('of p', 'p', 'decision', 'by a hook', '', 5)`,
  );
  assert.deepEqual(ids(await store.searchObservations('hook')), [2]);
  await foreign.execute(database, 'DELETE FROM observations WHERE id = 2');
  assert.deepEqual(await store.searchObservations('hook'), []);
});
