'use strict';
// `memory.pages`: every row once, newest first, whichever plan finds it.

const assert = require('node:assert/strict');
const { describe, test } = require('node:test');

const { openMemory } = require('..');
const { dataDirectory, withoutFixtures } = require('./data-directory.cjs');
const foreign = require('./foreign/index.cjs');

const REFERENCE = 'claude-mem-6.0.2.db';

const LISTS = [
  ['getObservations', 'observations AS t', 't.project'],
  ['getSummaries', 'session_summaries AS t', 't.project'],
  ['getPrompts', 'user_prompts AS t JOIN sdk_sessions AS s ON s.claude_session_id = t.claude_session_id', 's.project'],
];

async function opened(t, fixture) {
  const { directory, database } = dataDirectory(t, fixture);
  const memory = await openMemory({ dataDir: directory });
  t.after(() => memory.dispose());
  return { ...memory, memory, pages: memory.pages, database };
}

/** All ids of a list, page by page. */
async function allIds(pages, method, limit, project) {
  const ids = [];
  for (let offset = 0; ; offset += limit) {
    const page = await pages[method](offset, limit, project);
    assert.equal(page.offset, offset);
    assert.equal(page.limit, limit);
    assert.ok(page.items.length === limit || !page.hasMore);
    ids.push(...page.items.map(({ id }) => id));
    if (!page.hasMore) return ids;
  }
}

async function expectedIds(database, from, column, project) {
  const where = project ? `WHERE ${column} = '${project}'` : '';
  const rows = await foreign.query(
    database,
    `SELECT t.id FROM ${from} ${where} ORDER BY t.created_at_epoch DESC, t.id`,
  );
  return rows.map(({ id }) => id);
}

describe('the pages of a list', { skip: withoutFixtures(REFERENCE) }, () => {
  for (const [method, from, column] of LISTS) {
    test(`${method}: each row once, newest first`, async (t) => {
      const { pages, database } = await opened(t, REFERENCE);
      for (const project of [undefined, '', 'claude-mem', 'ml-notes', 'rust-queue', 'legacy-tool', 'no-such']) {
        const expected = await expectedIds(database, from, column, project);
        assert.deepEqual(await allIds(pages, method, 97, project), expected, `${project}`);
      }
    });
  }

  test('a small old project beside a large new one', async (t) => {
    const { pages, database } = await opened(t, REFERENCE);
    await foreign.execute(
      database,
      `INSERT INTO sdk_sessions (claude_session_id, sdk_session_id, project, started_at, started_at_epoch)
         VALUES ('new', 'new', 'new', '', 0);
       WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 20000)
         INSERT INTO observations (sdk_session_id, project, type, created_at, created_at_epoch)
         SELECT 'new', 'new', 'change', '', 1790000000000 + i / 7 FROM n`,
    );
    for (const project of ['rust-queue', 'ml-notes', 'claude-mem']) {
      const expected = await expectedIds(database, 'observations AS t', 't.project', project);
      assert.deepEqual(await allIds(pages, 'getObservations', 250, project), expected, project);
    }
    const { items, hasMore } = await pages.getObservations(19_990, 20, 'new');
    assert.deepEqual([items.length, hasMore], [10, false]);
  });
});

test('each path loses everything up to its project', async (t) => {
  const { memory, pages } = await opened(t);
  const paths = ['/home/app/src/app/a.ts', 'b.ts', '/home/application/c.ts', '/app'];
  await memory.store.storeObservation('s', 'app', { type: 'change', files_read: paths, files_modified: '/x/app/y' });
  const [item] = (await pages.getObservations(0, 1)).items;
  assert.equal(item.files_read, '["src/app/a.ts","b.ts","/home/application/c.ts","/app"]');
  assert.equal(item.files_modified, '"/x/app/y"');
});

test('bounds', async (t) => {
  const { memory, pages } = await opened(t);
  for (let row = 0; row < 3; row += 1) await memory.store.storeObservation('s', 'p', { type: 'change' });
  const shape = ({ items, ...rest }) => ({ ...rest, items: items.length });
  assert.deepEqual(shape(await pages.getObservations(0, 3)), { items: 3, hasMore: false, offset: 0, limit: 3 });
  assert.deepEqual(shape(await pages.getObservations(0, 2)), { items: 2, hasMore: true, offset: 0, limit: 2 });
  assert.deepEqual(shape(await pages.getObservations(0, 0)), { items: 0, hasMore: true, offset: 0, limit: 0 });
  assert.deepEqual(shape(await pages.getObservations(-5, 2)), { items: 2, hasMore: true, offset: -5, limit: 2 });
  assert.deepEqual(shape(await pages.getObservations('1', '5')), { items: 2, hasMore: false, offset: 1, limit: 5 });
  for (const [offset, limit, message] of [
    [0, -1, /'limit' must be an integer from 0, got -1/],
    [0, undefined, /'limit' must be an integer from 0, got undefined/],
    ['x', 5, /'offset' must be an integer, got 'x'/],
  ]) {
    await assert.rejects(pages.getObservations(offset, limit), { code: 'ERR_INVALID_ARG', message });
  }
});
