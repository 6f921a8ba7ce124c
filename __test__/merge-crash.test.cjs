'use strict';
// A process that dies while the segments of the text indexes are merged: every search answers as before, the index is
// whole and not made anew, and the next process goes on with the merge.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { before, describe, test } = require('node:test');

const { openMemory } = require('..');
const { OPTIONS } = require('./children/merge-options.cjs');
const { runChild } = require('./children/run-child.cjs');
const { dataDirectory } = require('./data-directory.cjs');
const foreign = require('./foreign/index.cjs');
const { until } = require('./opened-memory.cjs');

const DIED = process.platform === 'win32' ? 134 : 'SIGABRT';
const ROWS = 40;
const QUERIES = ['common', 'row7', 'even common', '"common odd"', 'ommo', 'nowhere', 'comon'];

/** Thousands of different words, the same for the same seed. */
function words(seed) {
  let state = BigInt(seed + 1);
  return Array.from({ length: 2_000 }, () => {
    state = (state * 6_364_136_223_846_793_005n + 1_442_695_040_888_963_407n) & 0xffff_ffff_ffff_ffffn;
    return `w${(state >> 40n).toString(16)}`;
  }).join(' ');
}

const indexOf = (directory) => path.join(directory, 'native', 'index.db');

/** Segments of both text indexes. */
async function segments(directory) {
  const count = (index) => `(SELECT count(DISTINCT segid) FROM ${index}_idx) AS ${index}`;
  const [found] = await foreign.query(indexOf(directory), `SELECT ${count('words')}, ${count('pieces')}`);
  return [found.words, found.pieces];
}

const noted = (directory) => foreign.query(indexOf(directory), "SELECT value FROM meta WHERE name = 'merging'");

/** What all searches answer. */
async function answers(memory) {
  const found = [];
  for (const query of [...QUERIES, words(3).slice(0, 20)]) {
    const { results, total } = await memory.search.all(query, { mode: 'keyword', limit: ROWS, explain: true });
    found.push({ query, total, results: results.map(({ id, explain }) => [id, explain.snippet]) });
  }
  return found;
}

/** Whether SQLite finds the file whole, its text indexes too: each table is asked to compare itself. */
async function assertWhole(directory) {
  const file = indexOf(directory);
  const [{ integrity_check: pages }] = await foreign.query(file, 'PRAGMA integrity_check');
  assert.equal(pages, 'ok');
  for (const index of ['words', 'pieces']) {
    await foreign.execute(file, `INSERT INTO ${index}(${index}) VALUES ('integrity-check')`);
  }
}

describe('a process that dies while text indexes are merged', { concurrency: 2 }, () => {
  let template;
  let expected;

  // Each row in a transaction of the index of its own, so that many segments are left.
  before(async () => {
    template = dataDirectory({ after: (clean) => process.on('exit', clean) });
    const memory = await openMemory({ dataDir: template.directory, ...OPTIONS, indexing: 'manual' });
    for (let row = 0; row < ROWS; row++) {
      const text = `common row${row} ${row % 2 ? 'odd' : 'even'} ${words(row)}`;
      await memory.store.beginPrompt('claude', 'project', text);
      await memory.search.prompts('common', { mode: 'keyword', limit: 1 });
    }
    expected = await answers(memory);
    assert.equal(expected[0].total, ROWS);
    await memory.dispose();
    const [inWords, inPieces] = await segments(template.directory);
    assert.ok(inWords > 4 && inPieces > 4, `${inWords} and ${inPieces} are not worth a merge`);
  });

  // Before the first step, with its note not committed, between two steps, and in the middle of a later one.
  for (const fault of [
    'index-merge=abort-1',
    'index-merge-commit=abort-1',
    'index-merge=abort-3',
    'index-merge-commit=abort-4',
  ]) {
    for (const how of ['by itself', 'by a sync']) {
      test(`dies at ${fault}, and is gone on with ${how}`, async (t) => {
        const { directory } = dataDirectory(t);
        fs.cpSync(template.directory, directory, { recursive: true });
        const env = { CLAUDE_MEM_NATIVE_FAULT: fault, RUST_BACKTRACE: '0' };
        const child = await runChild('merge-crash.cjs', { args: [directory], env });
        assert.equal(child.signal ?? child.code, DIED, `${fault} was never passed: ${child.stderr}`);

        assert.deepEqual(await noted(directory), fault.endsWith('-1') ? [] : [{ value: 'words' }]);
        await assertWhole(directory);
        const left = await openMemory({ dataDir: directory, ...OPTIONS, indexing: 'manual' });
        assert.deepEqual(await answers(left), expected, 'as it was left');
        assert.deepEqual((await left.checkIntegrity()).findings, []);
        await left.dispose();
        assert.notDeepEqual(await segments(directory), [1, 1]);

        const indexing = how === 'by itself' ? 'auto' : 'manual';
        const again = await openMemory({ dataDir: directory, ...OPTIONS, indexing });
        t.after(() => again.dispose());
        if (how === 'by a sync') await again.vectors.sync().result;
        await until(async () => String(await segments(directory)) === '1,1' && (await noted(directory)).length === 0);
        assert.deepEqual(await answers(again), expected, 'merged');
        const { remade, lastDoubt } = await again.vectors.status();
        assert.deepEqual([remade, lastDoubt], [0, null], 'the index is the one that it was');
        await assertWhole(directory);
      });
    }
  }
});
