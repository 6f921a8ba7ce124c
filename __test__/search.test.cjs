'use strict';
// memory.search: by words (which needs no model), and by words and meaning with vectors that the caller makes; what needs
// a model is skipped where there is none.

const assert = require('node:assert/strict');
const { describe, test } = require('node:test');

const { openMemory } = require('..');
const { behind, judge, store } = require('../eval/eval.cjs');
const { dataDirectory, withoutFixtures } = require('./data-directory.cjs');
const foreign = require('./foreign/index.cjs');
const { openedMemory } = require('./opened-memory.cjs');

const DIMENSIONS = 32;
const EXTERNAL = { indexing: 'manual', embedder: 'external', model: { name: 'words', dimensions: DIMENSIONS } };

/** Each word points into a direction of its own; a text where its words point. */
function embed(text) {
  const vector = new Float32Array(DIMENSIONS);
  for (const word of text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? ['']) {
    let state = [...word].reduce((hash, letter) => Math.imul(hash ^ letter.codePointAt(0), 16777619) >>> 0, 2166136261);
    for (let at = 0; at < DIMENSIONS; at++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      vector[at] += state / 2 ** 31 - 1;
    }
  }
  return vector;
}

async function embedAll(memory) {
  for (;;) {
    const pending = await memory.vectors.pending({ limit: 500 });
    if (pending.length === 0) return;
    await memory.vectors.put(
      pending.map((one) => ({ documentId: one.documentId, revision: one.revision, vector: embed(one.text) })),
    );
  }
}

/** A memory with `observe(narrative, others)`. */
async function filled(t, options = EXTERNAL) {
  const opened = await openedMemory(t, options);
  await opened.memory.store.beginPrompt('claude', 'project', 'why was the token refused');
  opened.observe = async (narrative, { project = 'project', epoch, ...others } = {}) =>
    (
      await opened.memory.store.storeObservation(
        'claude',
        project,
        {
          type: 'bugfix',
          title: null,
          subtitle: null,
          narrative,
          facts: [],
          concepts: [],
          files_read: [],
          files_modified: [],
          ...others,
        },
        1,
        ...(epoch === undefined ? [] : [{ createdAtEpoch: epoch }]),
      )
    ).id;
  return opened;
}

const ids = (answer) => answer.results.map((row) => row.id);
const keyword = { mode: 'keyword' };

describe('by words', () => {
  test('whole rows, the best first, of what was committed before the call', async (t) => {
    const { memory, observe } = await filled(t);
    const weak = await observe('the page and the token and many other words about something else entirely');
    const best = await observe('tokens are refreshed');
    const answer = await memory.search.observations('where do we refresh the token?', keyword);
    assert.deepEqual(ids(answer), [best, weak]);
    assert.deepEqual(Object.keys(answer), ['results', 'total', 'mode', 'reason', 'pendingDocuments']);
    const { total, mode, reason, pendingDocuments } = answer;
    assert.deepEqual(
      { total, mode, reason, pendingDocuments },
      { total: 2, mode: 'keyword', reason: null, pendingDocuments: 3 },
    );
    const { score, ...row } = answer.results[0];
    assert.deepEqual(row, await memory.store.getObservationById(best));
    assert.equal(score, 1);
    assert.ok(answer.results[1].score > 0 && answer.results[1].score < 1);
  });

  test('what another process stores, changes and deletes', async (t) => {
    const { memory, observe, database } = await filled(t);
    const id = await observe('the token expired');
    const find = async (query) => ids(await memory.search.observations(query, keyword));
    assert.deepEqual(await find('token'), [id]);
    await foreign.execute(database, `UPDATE observations SET narrative = 'the cookie expired' WHERE id = ${id}`);
    assert.deepEqual([await find('token'), await find('cookie')], [[], [id]]);
    await foreign.execute(database, `DELETE FROM observations WHERE id = ${id}`);
    assert.deepEqual(await find('cookie'), []);
  });

  test('any user text is safe', async (t) => {
    const { memory, observe } = await filled(t);
    await observe('quote token near the star');
    const texts = [
      '',
      ' ',
      '\0',
      '"',
      '"token',
      'NEAR(',
      'NEAR(a b, 2)',
      '*',
      'token*',
      'AND',
      'OR NOT',
      '-x',
      'title:x',
      '(((',
      '🙂',
      '\ud800',
      'x'.repeat(100_000),
      'token '.repeat(17_000),
      '状態'.repeat(50_000),
    ];
    for (const text of texts) {
      for (const search of ['observations', 'summaries', 'prompts', 'all']) {
        const { results } = await memory.search[search](text);
        assert.ok(results.length <= 2, JSON.stringify(text.slice(0, 20)));
      }
    }
  });

  test('identifiers, their parts, names of files, scripts without spaces, mistyped words', async (t) => {
    const { memory, observe } = await filled(t);
    const identifier = await observe('getUserById reads one row');
    const file = await observe('about sessions', { files_modified: ['src/auth/token-refresh.ts'] });
    const japanese = await observe('ユーザーのセッションが期限切れになる');
    const migration = await observe('a migration of the schema');
    for (const [query, id] of [
      ['getUserById', identifier],
      ['serById', identifier],
      ['token-refresh.ts', file],
      ['期限切れ', japanese],
      ['migratoin', migration],
    ]) {
      assert.deepEqual(ids(await memory.search.observations(query, keyword)), [id], query);
    }
  });

  test('filters hold before anything is ranked', async (t) => {
    const { memory, observe } = await filled(t);
    for (let n = 0; n < 120; n++) await observe('token token', { project: 'other', epoch: 1_000 });
    const id = await observe('a token among many other words that make it weak', {
      type: 'feature',
      concepts: ['gotcha'],
      files_read: ['src/login.ts'],
      epoch: 5_000,
    });
    const filters = [
      { project: 'project' },
      { type: 'feature' },
      { type: ['feature', 'refactor'] },
      { concepts: 'gotcha' },
      { files: 'LOGIN' },
      { dateRange: { start: 2_000 } },
    ];
    for (const filter of filters) {
      const answer = await memory.search.observations('token', { ...keyword, ...filter });
      assert.deepEqual([ids(answer), answer.total], [[id], 1], JSON.stringify(filter));
    }
    assert.equal((await memory.search.observations('token', { ...keyword, type: [] })).total, 0);
  });

  test('the three kinds alone and in one ranking', async (t) => {
    const { memory, observe } = await filled(t);
    const observation = await observe('the token expired');
    const summary = await memory.store.storeSummary(
      'claude',
      'project',
      { request: 'token', investigated: '', learned: 'tokens end', completed: '', next_steps: '', notes: null },
      1,
    );
    const { results } = await memory.search.all('token', keyword);
    assert.deepEqual(results.map(({ kind, id }) => `${kind} ${id}`).sort(), [
      `observation ${observation}`,
      'prompt 1',
      `summary ${summary.id}`,
    ]);
    assert.deepEqual(ids(await memory.search.summaries('token', keyword)), [summary.id]);
    const [prompt] = (await memory.search.prompts('token', keyword)).results;
    assert.deepEqual([prompt.prompt_text, prompt.project], ['why was the token refused', 'project']);
    // What a kind does not have is no filter for it alone, and keeps it out of a ranking of all.
    const count = async (search) => (await memory.search[search]('token', { ...keyword, type: 'bugfix' })).total;
    assert.deepEqual([await count('prompts'), await count('summaries'), await count('all')], [1, 1, 1]);
  });

  test('pages are pieces of one ranking; by date on request; numbers may be strings', async (t) => {
    const { memory, observe } = await filled(t);
    for (let n = 0; n < 30; n++) await observe(`token ${'word '.repeat(n % 7)}`, { epoch: 1_000 + ((n * 7) % 30) });
    const find = (options) => memory.search.observations('token', { ...keyword, ...options });
    const whole = ids(await find({ limit: 30 }));
    const pages = [];
    for (const offset of ['0', '10', '20']) pages.push(...ids(await find({ limit: '10', offset })));
    assert.deepEqual(pages, whole);
    assert.equal((await find({ limit: 1 })).total, 30);
    const times = async (orderBy) => (await find({ orderBy, limit: 30 })).results.map((row) => row.created_at_epoch);
    assert.deepEqual(
      await times('date_asc'),
      [...Array(30).keys()].map((n) => 1_000 + n),
    );
    assert.deepEqual(
      await times('date_desc'),
      [...Array(30).keys()].map((n) => 1_029 - n),
    );
  });

  test('explanations', async (t) => {
    const { memory, observe } = await filled(t);
    await observe('🙂 the tokens are refreshed', { title: 'Sessions' });
    const [row] = (await memory.search.observations('refresh token', { ...keyword, explain: true })).results;
    const { keyword: words, semantic, field, snippet } = row.explain;
    assert.deepEqual([words.rank, semantic, field], [1, null, 'narrative']);
    assert.ok(words.bm25 > 0);
    assert.equal(snippet.text, '🙂 the tokens are refreshed');
    assert.deepEqual(
      snippet.highlights.map(([from, to]) => snippet.text.slice(from, to)),
      ['tokens', 'refreshed'],
    );
    assert.equal((await memory.search.observations('refresh', keyword)).results[0].explain, undefined);
  });

  test('lists by concept, file and type, and ranked', async (t) => {
    const { memory, observe } = await filled(t);
    const old = await observe('about the cache', { concepts: ['gotcha'], files_read: ['src/a.ts'], epoch: 1_000 });
    const young = await observe('about a token', { concepts: ['gotcha'], files_read: ['src/a.ts'], epoch: 2_000 });
    await observe('about the cache, of another type', { type: 'feature' });
    for (const [method, value] of [
      ['byConcept', 'gotcha'],
      ['byFile', 'src/a'],
      ['byType', 'bugfix'],
    ]) {
      const list = await memory.search[method](value);
      assert.deepEqual(
        [ids(list), list.total, list.mode, list.results[0].score],
        [[young, old], 2, 'list', null],
        method,
      );
      const ranked = await memory.search[method](value, { ...keyword, rankBy: 'cache' });
      assert.deepEqual([ids(ranked), ranked.mode], [[old], 'keyword'], method);
    }
  });

  test('the best match, and what happened around it', async (t) => {
    const { memory, observe } = await filled(t);
    const all = [];
    for (let n = 0; n < 9; n++)
      all.push(await observe(n === 4 ? 'the token expired' : `step ${n}`, { epoch: 1_000 + n }));
    const found = await memory.search.timelineByQuery('token', { ...keyword, depthBefore: 2, depthAfter: 1 });
    assert.equal(found.anchor.id, all[4]);
    assert.deepEqual(
      found.timeline.observations.map((row) => row.id),
      all.slice(2, 6),
    );
    const nothing = await memory.search.timelineByQuery('xyzzy', keyword);
    assert.deepEqual([nothing.anchor, nothing.timeline.observations], [null, []]);
  });

  test('arguments are named in errors', async (t) => {
    const { memory } = await filled(t);
    const refused = (promise, message) => assert.rejects(promise, { code: 'ERR_INVALID_ARG', message });
    await refused(memory.search.observations(1), /query/);
    await refused(memory.search.observations('x', { mode: 'hybird' }), /did you mean 'hybrid'/);
    await refused(memory.search.observations('x', { limits: 1 }), /did you mean limit/);
    await refused(memory.search.observations('x', { limit: 1_001 }), /limit/);
    await refused(memory.search.byConcept(''), /concept/);
    await refused(memory.search.byConcept('x', { concepts: 'y' }), /unknown option 'concepts'/);
    await refused(memory.search.observations('x', { vector: [1, 2] }), /32/);
    await assert.rejects(memory.search.similar(99), { code: 'ERR_NOT_FOUND' });
    await memory.dispose();
    await assert.rejects(memory.search.observations('x'), { code: 'ERR_DISPOSED' });
  });

  test('the part vectors is needed', async (t) => {
    const { memory } = await openedMemory(t, { parts: ['store', 'queue'] });
    await assert.rejects(memory.search.observations('x'), { code: 'ERR_NOT_OPEN' });
  });
});

describe('by words and meaning', () => {
  test("without the query's vector words are searched for, and the reason is told", async (t) => {
    const { memory, observe } = await filled(t);
    const id = await observe('the token expired');
    const answer = await memory.search.observations('token');
    assert.deepEqual([ids(answer), answer.mode], [[id], 'keyword']);
    assert.match(answer.reason, /external/);
  });

  test('the sum of both, with each row once', async (t) => {
    const { memory, observe } = await filled(t);
    const both = await observe('token refresh', { facts: ['token refresh again'] });
    const words = await observe('a token, and quite other words about a page, a button and a colour');
    const neither = await observe('nothing of it');
    await embedAll(memory);
    const query = 'token refresh';
    const answer = await memory.search.observations(query, { vector: embed(query), explain: true });
    assert.deepEqual(
      [ids(answer).slice(0, 1), answer.total, answer.mode, answer.pendingDocuments],
      [[both], 3, 'hybrid', 0],
    );
    assert.deepEqual(ids(answer).sort(), [both, words, neither].sort());
    const [best] = answer.results;
    assert.equal(best.explain.semantic.documentId, `obs_${both}_narrative`);
    assert.ok(Math.abs(best.score - 1) < 0.01 && best.explain.semantic.distance < 0.01);
    const semantic = await memory.search.observations(query, { vector: [...embed(query)], mode: 'semantic' });
    assert.deepEqual([ids(semantic)[0], semantic.mode], [both, 'semantic']);
  });

  test('similar observations', async (t) => {
    const { memory, observe } = await filled(t);
    const one = await observe('the heap leaks memory in the worker');
    await observe('a button is blue');
    const again = await observe('memory of the worker leaks in the heap');
    await embedAll(memory);
    const answer = await memory.search.similar(one, { limit: 1 });
    assert.deepEqual([ids(answer), answer.mode], [[again], 'semantic']);
  });
});

test('the reference database', { skip: withoutFixtures('claude-mem-6.0.2.db') }, async (t) => {
  const { directory } = dataDirectory(t, 'claude-mem-6.0.2.db');
  const memory = await openMemory({ dataDir: directory, ...EXTERNAL });
  t.after(() => memory.dispose());
  const answer = await memory.search.all('heap snapshot retained object leaks', { ...keyword, limit: 50 });
  assert.equal(answer.results.length, 50);
  const scores = answer.results.map((row) => row.score);
  assert.deepEqual(
    scores,
    [...scores].sort((a, b) => b - a),
  );
  const only = await memory.search.observations('heap', { ...keyword, project: 'ml-notes', limit: 1_000 });
  assert.ok(only.results.length > 0 && only.results.every((row) => row.project === 'ml-notes'));
});

test('the evaluation: hybrid search is best, or within a point, in every group', async (t) => {
  const { directory } = dataDirectory(t);
  const memory = await openMemory({ dataDir: directory, indexing: 'manual' });
  t.after(() => memory.dispose());
  const { names } = await store(memory);
  const results = await judge(memory, names);
  assert.equal(results.identifiers.keyword.recall, 1);
  const { mode, reason } = await memory.search.observations('x', { limit: 1 });
  if (mode !== 'hybrid') return t.diagnostic(`by words only: ${reason}`);
  assert.deepEqual(behind(results), []);
});
