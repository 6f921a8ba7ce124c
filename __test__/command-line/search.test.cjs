'use strict';
// `search`: rows for people and for scripts.

const assert = require('node:assert/strict');
const { describe, test } = require('node:test');

const { filled, run } = require('./running.cjs');

describe('search', () => {
  test('search shows rows, and moves no cursor', async (t) => {
    const { directory } = await filled(t);
    const { code, stdout, stderr } = await run(directory, [
      'search',
      'tokens',
      '--mode',
      'keyword',
      '--kind',
      'observation',
    ]);
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^Login refused  \[31mvalid tokens/);
    assert.match(stdout, /observation 1 · .*my-project · bugfix/);
    assert.equal(stdout.includes('\u001b'), false, 'colours, or what a row has brought');
    assert.match(stderr, /^1 of 1, by keyword/);
  });

  test('search in a directory that nobody has indexed finds by the tables, and says so', async (t) => {
    const { directory } = await filled(t, { indexed: false });
    const search = (...more) => run(directory, ['search', 'Login', 'refused', '--json', ...more]);
    const { results, mode, reason, total } = JSON.parse((await search()).stdout);
    assert.deepEqual([results.length, results[0].kind, total, mode], [1, 'observation', 1, 'keyword']);
    assert.match(reason, /the index is not made yet/);
    assert.deepEqual(JSON.parse((await search('--project', 'another')).stdout).results, []);
    assert.deepEqual(JSON.parse((await search('--kind', 'prompt')).stdout).results, []);
  });
});
