'use strict';
// `export`, `import`, `backup`, `restore`, `check`, `repair`, `compact`: the files as a whole.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { describe, test } = require('node:test');

const { openMemory } = require('../..');
const { dataDirectory } = require('../data-directory.cjs');
const foreign = require('../foreign/index.cjs');
const { filled, run, saidOnce, succeeds } = require('./running.cjs');

describe('files', () => {
  test('export, import, and import again', async (t) => {
    const { directory } = await filled(t);
    const file = path.join(directory, 'all.jsonl');
    const exported = JSON.parse(await succeeds(directory, ['export', file, '--json']));
    assert.deepEqual([exported.observations, exported.messages, exported.deadLetters], [1, 1, 2]);

    const other = path.join(dataDirectory(t).directory, 'new');
    const imported = await succeeds(directory, ['--data-dir', other, 'import', file]);
    assert.match(imported, /^observations: 1 imported, 0 known already$/m);
    assert.match(imported, /^dead letters: 2 imported, 0 known already$/m);
    const again = await succeeds(directory, ['import', file, '--data-dir', other]);
    assert.match(again, /^observations: 0 imported, 1 known already$/m);

    fs.writeFileSync(file, 'no export\n');
    const ended = await run(directory, ['import', file]);
    assert.equal(ended.code, 1);
    saidOnce(ended, /./);
  });

  test('backup, and back', async (t) => {
    const { directory } = await filled(t);
    const folder = path.join(directory, 'copy');
    assert.match(await succeeds(directory, ['backup', folder]), /^ {2}claude-mem\.db +\d/m);
    saidOnce(await run(directory, ['backup', folder]), /copy/);
    const other = path.join(dataDirectory(t).directory, 'new');
    await succeeds(other, ['restore', folder]);
    const found = JSON.parse(await succeeds(other, ['search', 'tokens', '--mode', 'keyword', '--json']));
    assert.equal(found.results.length, 1);
    // What is the same already needs no word.
    const memory = await openMemory({ dataDir: directory, indexing: 'manual' });
    await memory.store.createSDKSession('later', 'my-project', 'something else');
    await memory.dispose();
    saidOnce(await run(directory, ['restore', folder]), /overwrite/);
    assert.match(await succeeds(directory, ['restore', folder, '--overwrite']), /kept as .*\.before-restore/);
  });

  test('check and repair', async (t) => {
    const { directory } = await filled(t);
    assert.match(await succeeds(directory, ['check']), /all is well/);
    assert.deepEqual(JSON.parse(await succeeds(directory, ['check', '--json'])).findings, []);
    assert.match(await succeeds(directory, ['repair']), /nothing was to be repaired/);
  });

  test('compact gives space back and keeps every row', async (t) => {
    const { directory } = await filled(t);
    const file = path.join(directory, 'claude-mem.db');
    await foreign.execute(
      file,
      `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 400)
       INSERT INTO observations(sdk_session_id, project, text, type, created_at, created_at_epoch)
         SELECT 'session-1', 'my-project', hex(zeroblob(2000)), 'change', '', i FROM n;
       DELETE FROM observations WHERE text IS NOT NULL`,
    );
    const before = fs.statSync(file).size;
    const said = await succeeds(directory, ['compact']);
    assert.match(said, /^claude-mem\.db +\S+ MB +\S+ kB/m);
    assert.match(said, /given back in/);
    assert.ok(fs.statSync(file).size * 2 < before);
    const { files, freedBytes } = JSON.parse(await succeeds(directory, ['compact', '--json']));
    assert.ok(
      files.every(({ rewritten }) => !rewritten),
      'nothing is left to give',
    );
    assert.ok(freedBytes >= 0);
    const found = JSON.parse(await succeeds(directory, ['search', 'tokens', '--mode', 'keyword', '--json']));
    assert.equal(found.results.length, 1);
    assert.match(await succeeds(directory, ['check']), /all is well/);
  });
});
