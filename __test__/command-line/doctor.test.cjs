'use strict';
// `doctor`: it looks at everything and changes nothing.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { describe, test } = require('node:test');

const { dataDirectory, withoutFixtures } = require('../data-directory.cjs');
const foreign = require('../foreign/index.cjs');
const { removeTree } = require('../remove-tree.cjs');
const { NOBODY, ROOT, filled, findingOf, run, saidOnce, worker } = require('./running.cjs');

describe('doctor', () => {
  test('finds nothing but what is there, and changes nothing', async (t) => {
    const { directory } = await filled(t);
    const names = () =>
      fs
        .readdirSync(directory, { recursive: true })
        .filter((name) => !/-(wal|shm)$/.test(name))
        .sort();
    const before = [names(), fs.readFileSync(path.join(directory, 'claude-mem.db'), 'base64')];
    const { code, stdout } = await run(directory, ['doctor', '--json', '--url', await worker(t, { status: 'ok' })]);
    assert.equal(code, 1, stdout);
    const { findings, ok, worst, dataDir } = JSON.parse(stdout);
    assert.deepEqual([ok, worst, dataDir], [false, 'warning', directory]);
    const checks =
      'runtime binary directory permissions settings disk space database schema queue dead letters model vectors Chroma integrity worker';
    for (const { check, severity, message: text, remedy } of findings) {
      assert.ok(checks.includes(check), check);
      assert.ok(text, check);
      if (severity === 'warning' || severity === 'error') assert.ok(remedy, `${check} has no remedy`);
    }
    assert.deepEqual(
      findingOf(stdout, 'database').map(({ severity, message: text }) => [severity, text]),
      [['ok', '1 session, 1 observation, 0 summaries, 0 prompts']],
    );
    assert.match(findingOf(stdout, 'schema')[0].message, /^step 10, .*engine's own tables: format 1$/);
    assert.match(findingOf(stdout, 'dead letters')[0].message, /^2; the newest: the model refused it/);
    assert.equal(findingOf(stdout, 'integrity')[0].severity, 'ok');
    assert.deepEqual([names(), fs.readFileSync(path.join(directory, 'claude-mem.db'), 'base64')], before);
  });

  test('a damaged database, settings that are no JSON, a vector store', async (t) => {
    const { directory } = dataDirectory(t);
    fs.writeFileSync(path.join(directory, 'claude-mem.db'), Buffer.alloc(8_192, 'no database'));
    fs.writeFileSync(path.join(directory, 'settings.json'), '{');
    fs.mkdirSync(path.join(directory, 'vector-db'));
    fs.writeFileSync(path.join(directory, 'vector-db', 'chroma.sqlite3'), '');
    const { code, stdout } = await run(directory, ['doctor', '--json', ...NOBODY]);
    assert.equal(code, 2, stdout);
    assert.match(findingOf(stdout, 'database')[0].message, /^ERR_CORRUPT: /);
    assert.deepEqual(
      findingOf(stdout, 'settings').map(({ severity, remedy }) => [severity, remedy]),
      [['warning', `mend ${path.join(directory, 'settings.json')}, or remove it`]],
    );
    assert.match(findingOf(stdout, 'Chroma')[0].remedy, /import-chroma/);
    assert.match(findingOf(stdout, 'worker')[0].message, /does not answer/);
  });

  for (const [fixture, severity, check, said] of [
    ['schema-v7-rows.db', 'warning', 'schema', /^step 7; step 8 is missing$/],
    ['newer-v7.4.5-fresh.db', 'ok', 'schema', /^step 10, .*recorded by later versions: 11, 16/],
    ['newer-v9.1.1-fresh.db', 'error', 'database', /^ERR_SCHEMA_UNSUPPORTED: .*newest schema version recorded: 21/],
  ]) {
    test(`the schema of ${fixture}, which is left as it was`, { skip: withoutFixtures(fixture) }, async (t) => {
      const { directory, database } = dataDirectory(t, fixture);
      const before = fs.readFileSync(database, 'base64');
      const { stdout } = await run(directory, ['doctor', '--quick', '--json', ...NOBODY]);
      const found = findingOf(stdout, check);
      assert.deepEqual([found.length, found[0].severity], [1, severity], stdout);
      assert.match(found[0].message, said);
      assert.equal(fs.readFileSync(database, 'base64'), before);
    });
  }

  test('a file that is mostly free pages: compact gives them back', async (t) => {
    const { directory } = await filled(t, { indexed: false });
    await foreign.execute(
      path.join(directory, 'claude-mem.db'),
      `WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 30)
       INSERT INTO observations(sdk_session_id, project, files_read, type, created_at, created_at_epoch)
         SELECT 'session-1', 'my-project', hex(zeroblob(500000)), 'change', '', i FROM n;
       DELETE FROM observations WHERE created_at = ''`,
    );
    const look = async () =>
      findingOf((await run(directory, ['doctor', '--quick', '--json', ...NOBODY])).stdout, 'database');
    const [, free] = await look();
    assert.match(free.message, /^3\d\.\d MB of the 3\d\.\d MB of claude-mem\.db are free/);
    assert.match(free.remedy, /claude-mem-native compact/);
    assert.equal((await run(directory, ['compact'])).code, 0);
    assert.equal((await look()).length, 1);
  });

  test('each setting that does not count, with its message and a remedy', async (t) => {
    const { directory } = dataDirectory(t);
    const file = path.join(directory, 'settings.json');
    const env = { CLAUDE_MEM_WORKER_PORT: '80', CLAUDE_MEM_NATIVE_READRES: 3, NODE_OPTIONS: '--eval=1' };
    fs.writeFileSync(file, JSON.stringify({ env }));
    const { stdout } = await run(directory, ['doctor', '--json', ...NOBODY], {
      env: { CLAUDE_MEM_NATIVE_READERS: '0' },
    });
    const found = findingOf(stdout, 'settings');
    assert.deepEqual(found.map(({ severity, remedy }) => [severity, remedy]).sort(), [
      ['warning', 'correct CLAUDE_MEM_NATIVE_READERS in the environment of the worker, or unset it'],
      ['warning', `correct CLAUDE_MEM_NATIVE_READRES in ${file}, or remove it`],
      ['warning', `correct CLAUDE_MEM_WORKER_PORT in ${file}, or remove it`],
      ['warning', `correct NODE_OPTIONS in ${file}, or remove it`],
    ]);
    const said = found.map(({ message }) => message).join('\n');
    assert.match(
      said,
      /CLAUDE_MEM_WORKER_PORT in settings\.json is "80"; it must be a whole number from 1024 to 65535/,
    );
    assert.match(said, /should it be CLAUDE_MEM_NATIVE_READERS\?/);
  });

  test('the data and the model are where the settings say; the command line says more', async (t) => {
    const { directory } = await filled(t);
    const { directory: home } = dataDirectory(t);
    const { directory: nowhere } = dataDirectory(t);
    const env = { CLAUDE_MEM_NATIVE_DATA_DIR: directory, CLAUDE_MEM_NATIVE_MODEL_DIR: path.join(home, 'no-model') };
    fs.writeFileSync(path.join(home, 'settings.json'), JSON.stringify({ env }));
    const { stdout } = await run(home, ['doctor', '--quick', '--json', ...NOBODY]);
    assert.equal(JSON.parse(stdout).dataDir, directory);
    assert.match(findingOf(stdout, 'model')[0].message, /no-model/);
    const other = await run(home, ['doctor', '--quick', '--json', '--data-dir', nowhere, ...NOBODY]);
    assert.equal(JSON.parse(other.stdout).dataDir, nowhere);
  });

  test('works without the binary, which is then a finding with a remedy; other commands say so in one line', async (t) => {
    const { directory } = await filled(t);
    const copy = fs.mkdtempSync(path.join(os.tmpdir(), 'claude-mem-native-package-'));
    t.after(() => removeTree(copy));
    for (const name of ['cli', 'loader', 'settings', 'index.js', 'package.json'])
      fs.cpSync(path.join(ROOT, name), path.join(copy, name), { recursive: true });
    fs.symlinkSync(path.join(ROOT, 'node_modules'), path.join(copy, 'node_modules'), 'junction');
    const main = path.join(copy, 'cli', 'main.cjs');

    const { code, stdout, stderr } = await run(directory, ['doctor', '--json', ...NOBODY], { main });
    assert.equal(code, 2, stderr);
    const [binary] = findingOf(stdout, 'binary');
    assert.equal(binary.severity, 'error');
    assert.match(binary.message, new RegExp(`${process.platform} ${process.arch}`));
    assert.match(binary.remedy, /npm install/);
    assert.equal(findingOf(stdout, 'worker').length, 1);

    const ended = await run(directory, ['check'], { main });
    assert.equal(ended.code, 1);
    saidOnce(ended, /has no binary that can be loaded on .* run "npm install .*doctor" says more/);

    fs.rmSync(path.join(copy, 'node_modules'));
    saidOnce(await run(directory, ['check'], { main }), /the package commander, .* is not installed/);
  });
});
