'use strict';
// The command line as users run it: processes of their own, on data directories of their own.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const http = require('node:http');
const os = require('node:os');
const path = require('node:path');
const { once } = require('node:events');
const { spawn } = require('node:child_process');
const { describe, test } = require('node:test');

const { openMemory } = require('..');
const { dataDirectory } = require('./data-directory.cjs');
const { message } = require('./opened-memory.cjs');

const ROOT = path.join(__dirname, '..');
const MAIN = path.join(ROOT, 'cli', 'main.cjs');
/** Longer than any command needs on a slow machine: what runs into it hangs. */
const HANGS_AFTER_MS = 120_000;
/** A port on which nobody listens: a worker of this machine must not answer. */
const NOBODY = ['--url', 'http://127.0.0.1:1'];

/** Runs the command line on a data directory: `{code, stdout, stderr}`. */
async function run(directory, args, { main = MAIN, env = {} } = {}) {
  const child = spawn(process.execPath, [main, ...args], {
    // Neither the settings nor the vector store of whoever runs the tests count.
    env: { ...process.env, CLAUDE_MEM_DATA_DIR: directory, HOME: directory, USERPROFILE: directory, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text));
  const timer = setTimeout(() => child.kill('SIGKILL'), HANGS_AFTER_MS);
  const [code] = await once(child, 'close');
  clearTimeout(timer);
  assert.doesNotMatch(stderr, /^ {4}at /m, 'a stack trace');
  return { code, stdout, stderr };
}

/** As `run`, for a command that succeeds; its standard output. */
async function succeeds(directory, args, options) {
  const { code, stdout, stderr } = await run(directory, args, options);
  assert.equal(code, 0, `${args.join(' ')}: ${stderr}${stdout}`);
  return stdout;
}

/** One line on stderr, and nothing else. */
function saidOnce({ stdout, stderr }, pattern) {
  assert.equal(stdout, '');
  assert.match(stderr, /^claude-mem-native: [^\n]+\n$/);
  assert.match(stderr, pattern);
}

/** A data directory with one observation, a waiting message and two dead letters; nobody has it open. */
async function filled(t, { indexed = true } = {}) {
  const { directory } = dataDirectory(t);
  // By words only: the tests need no model, and a machine that has one shall not take longer for it.
  const options = { indexing: 'manual', deadlineMs: 60_000, embedder: 'external' };
  const memory = await openMemory({ dataDir: directory, ...options });
  try {
    const session = await memory.store.createSDKSession('session-1', 'my-project', 'fix the login bug');
    await memory.store.storeObservation('session-1', 'my-project', {
      type: 'bugfix',
      title: 'Login refused \u001b[31mvalid tokens',
      narrative: 'The expiry is multiplied by 1000 before it is compared.',
    });
    for (const name of ['first', 'second', 'third']) await memory.queue.enqueue(session, message(name));
    for await (const batch of memory.queue.consume(session, { maxBatch: 2, keepAlive: true })) {
      const ids = batch.messages.map(({ id }) => id);
      await batch.deadLetter(ids, 'the model refused it');
      break;
    }
    if (indexed) await memory.vectors.sync();
    return { directory, session };
  } finally {
    await memory.dispose();
  }
}

/** The same directory as a worker has it: owned until the test's end. */
async function owned(t, directory) {
  const memory = await openMemory({ dataDir: directory, indexing: 'manual' });
  t.after(() => memory.dispose());
  return memory;
}

/** A server on a port of its own that answers GET /health so; its address. */
async function worker(t, answer) {
  const server = http.createServer((request, response) => {
    assert.equal(request.url, '/health');
    response.end(typeof answer === 'string' ? answer : JSON.stringify(answer));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return `http://127.0.0.1:${server.address().port}`;
}

const findingOf = (stdout, check) => JSON.parse(stdout).findings.filter((each) => each.check === check);

describe('help and mistakes', () => {
  test('every command is in the help, with a help of its own', async (t) => {
    const { directory } = dataDirectory(t);
    const help = await succeeds(directory, ['--help']);
    const readme = fs.readFileSync(path.join(ROOT, 'README.md'), 'utf8');
    for (const name of 'doctor health setup import-chroma search queue export import backup restore check repair'.split(
      ' ',
    )) {
      assert.match(help, new RegExp(`^ {2}${name}\\b`, 'm'));
      assert.match(readme, new RegExp(`^\\| \`${name}\\b`, 'm'), `README: ${name}`);
    }
    for (const name of ['list', 'show', 'retry', 'purge', 'pause', 'resume'])
      assert.match(
        await succeeds(directory, ['queue', name, '--help']),
        new RegExp(`^Usage: claude-mem-native queue ${name}`),
      );
    assert.equal(await succeeds(directory, ['--version']), `${require('../package.json').version}\n`);
    assert.deepEqual(fs.readdirSync(directory), []);
  });

  test('a wrong command line is told with the right one, and exit code 64', async (t) => {
    const { directory } = dataDirectory(t);
    for (const [args, said] of [
      [['healht'], /Did you mean health\?/],
      [['health', '--interval', '0'], /whole number from 1 to 86400/],
      [['search'], /missing required argument/],
      [['search', 'x', '--kind', 'rows'], /Allowed choices are all, observation, summary, prompt/],
      [['queue', 'retry'], /name the dead letters/],
      [['queue', 'purge', '--all'], /say --yes/],
      [['queue', 'purge', '--waiting', '--yes'], /say which with --session/],
      [['queue', 'pause', '--for', 'soon'], /such as 30d/],
    ]) {
      const { code, stdout, stderr } = await run(directory, args);
      assert.equal(code, 64, args.join(' '));
      assert.match(stderr, said);
      assert.equal(stdout, '');
    }
    assert.deepEqual(fs.readdirSync(directory), []);
  });

  test('a directory without a database is not made into one', async (t) => {
    const { directory } = dataDirectory(t);
    for (const args of [
      ['search', 'x'],
      ['queue', 'list'],
      ['check'],
      ['repair'],
      ['backup', path.join(directory, 'b')],
    ]) {
      const ended = await run(directory, args);
      assert.equal(ended.code, 1);
      saidOnce(ended, /there is no claude-mem\.db in .*--data-dir/);
    }
    assert.deepEqual(fs.readdirSync(directory), []);
  });
});

describe('health', () => {
  const well = { status: 'ok', reasons: [], version: '1', heap: { usedBytes: 1, limitBytes: 100, usedOfLimit: 0.5 } };
  const queue = { depth: 2, bytes: 1_000, dead: 0, oldestAgeMs: 5 };

  test('exit 0, 1 and 2 by what the worker says, by the heap and by the queue', async (t) => {
    const { directory } = dataDirectory(t);
    for (const [answer, args, code, said] of [
      [well, [], 0, /^ok\n/],
      [{ status: 'warn', reasons: ['the log is long'] }, [], 1, /^warn\n {2}the log is long\n/],
      [{ status: 'critical', reasons: ['the queue is full'] }, [], 2, /the queue is full/],
      [{ status: 'ok', heap: { ...well.heap, usedOfLimit: 0.8 } }, [], 1, /the heap is at 80 %/],
      [{ status: 'ok', heap: { ...well.heap, usedOfLimit: 0.9 } }, [], 2, /the heap is at 90 %/],
      [{ ...well, queue }, ['--max-queue-bytes', '1250'], 1, /the queues are at 80 %/],
      [{ ...well, queue }, ['--max-queue-bytes', '1250', '--warn', '85'], 0, /^ok\n/],
      [{ status: 'on fire' }, [], 2, /the worker says "on fire"/],
      ['<html>', [], 2, /something answers there that is no worker/],
    ]) {
      const ended = await run(directory, ['health', '--url', await worker(t, answer), ...args]);
      assert.equal(ended.code, code, ended.stdout);
      assert.match(ended.stdout, said);
      assert.equal(ended.stderr, '');
    }
  });

  test('nobody answers: exit 2, also as JSON', async (t) => {
    const { directory } = dataDirectory(t);
    const { code, stdout } = await run(directory, ['health', '--json', ...NOBODY]);
    assert.equal(code, 2);
    assert.deepEqual([JSON.parse(stdout).status, JSON.parse(stdout).health], ['critical', null]);
  });

  test('--watch looks again, a line each; the port is that of settings.json', async (t) => {
    const { directory } = dataDirectory(t);
    const { port } = new URL(await worker(t, well));
    fs.writeFileSync(path.join(directory, 'settings.json'), JSON.stringify({ env: { CLAUDE_MEM_WORKER_PORT: port } }));
    const lines = await succeeds(directory, ['health', '--watch', '--interval', '1', '--count', '2']);
    assert.match(lines, /^(\S+Z ok\n){2}$/);
  });

  test("the worker's real answer is understood", async (t) => {
    const { directory } = await filled(t);
    const memory = await owned(t, directory);
    const url = await worker(t, await memory.health());
    const { stdout, code } = await run(directory, ['health', '--url', url]);
    assert.ok(code <= 2);
    assert.match(stdout, /^ {2}queue +1 message, /m);
    assert.match(stdout, /^ {2}dead letters +2$/m);
  });
});

describe('beside a running worker', () => {
  test('what a client may do works; what is the owner’s alone says so in one line', async (t) => {
    const { directory, session } = await filled(t);
    await owned(t, directory);

    const found = JSON.parse(await succeeds(directory, ['search', 'valid', 'tokens', '--mode', 'keyword', '--json']));
    assert.deepEqual([found.results.length, found.results[0].kind, found.mode], [1, 'observation', 'keyword']);

    const { waiting, dead } = JSON.parse(await succeeds(directory, ['queue', 'list', '--json']));
    assert.deepEqual(
      waiting.map(({ sessionDbId, depth }) => [sessionDbId, depth]),
      [[session, 1]],
    );
    assert.equal(dead.length, 2);
    const letter = JSON.parse(await succeeds(directory, ['queue', 'show', String(dead[0].id)]));
    assert.equal(letter.error, 'the model refused it');
    assert.ok(['first', 'second'].includes(letter.message.tool_name));

    const folder = path.join(directory, 'copy');
    const manifest = JSON.parse(await succeeds(directory, ['backup', folder, '--json']));
    assert.deepEqual(JSON.parse(fs.readFileSync(path.join(folder, 'manifest.json'), 'utf8')), manifest);

    const url = await worker(t, { status: 'ok' });
    const { stdout } = await run(directory, ['doctor', '--json', '--url', url]);
    assert.deepEqual(
      findingOf(stdout, 'integrity').map(({ severity }) => severity),
      ['ok'],
    );

    for (const args of [
      ['check'],
      ['repair'],
      ['export', path.join(directory, 'all.jsonl')],
      ['queue', 'retry', '--all'],
      ['queue', 'purge', '--all', '--yes'],
      ['queue', 'pause'],
      ['queue', 'resume'],
      ['setup', '--no-chroma'],
    ]) {
      const ended = await run(directory, args);
      assert.equal(ended.code, 1, args.join(' '));
      saidOnce(ended, new RegExp(`process ${process.pid} \\(the worker\\) has .* open: stop the worker`));
    }
    assert.equal(fs.existsSync(path.join(directory, 'all.jsonl')), false);
  });
});

describe('without a worker', () => {
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

  test('queue: retry, pause, resume, purge', async (t) => {
    const { directory, session } = await filled(t);
    const listed = async () => JSON.parse(await succeeds(directory, ['queue', 'list', '--json']));
    const [{ id }] = (await listed()).dead;

    assert.equal(await succeeds(directory, ['queue', 'retry', String(id)]), '1 dead letter enqueued again\n');
    saidOnce(await run(directory, ['queue', 'show', String(id)]), /there is no dead letter/);
    let { waiting, dead } = await listed();
    assert.deepEqual([waiting[0].depth, dead.length, waiting[0].paused], [2, 1, false]);

    await succeeds(directory, ['queue', 'pause', '--session', String(session), '--reason', 'tests']);
    assert.equal((await listed()).waiting[0].paused, true);
    const { stdout } = await run(directory, ['doctor', '--quick', '--json', ...NOBODY]);
    assert.ok(
      findingOf(stdout, 'queue').some(({ severity, message: text }) => severity === 'warning' && /paused/.test(text)),
    );
    await succeeds(directory, ['queue', 'resume', '--session', String(session)]);
    assert.equal((await listed()).waiting[0].paused, false);

    assert.equal(
      await succeeds(directory, ['queue', 'purge', '--older-than', '1d', '--yes']),
      '0 dead letters thrown away\n',
    );
    assert.equal(await succeeds(directory, ['queue', 'purge', '--all', '--yes']), '1 dead letter thrown away\n');
    const purge = ['queue', 'purge', '--waiting', '--session', String(session), '--yes'];
    assert.equal(await succeeds(directory, purge), '2 waiting messages thrown away\n');
    ({ waiting, dead } = await listed());
    assert.deepEqual([waiting, dead], [[], []]);
  });

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

  test('setup: without a model the words are indexed, and it says what is missing', async (t) => {
    const directory = path.join(dataDirectory(t).directory, 'new');
    const nowhere = dataDirectory(t).directory;
    const said = await succeeds(directory, ['setup'], { env: { CLAUDE_MEM_MODEL_DIR: nowhere } });
    assert.match(said, /^model: /m);
    assert.match(said, /searches go on by words; put model\.onnx into /);
    assert.match(said, /^ready$/m);
    assert.ok(fs.existsSync(path.join(directory, 'claude-mem.db')));
    saidOnce(await run(directory, ['setup', '--model', nowhere]), /there is no model\.onnx at /);
  });

  test('import-chroma: no directory, and one that is none', async (t) => {
    const { directory } = await filled(t);
    saidOnce(await run(directory, ['import-chroma']), /there is no Chroma directory in /);
    saidOnce(await run(directory, ['import-chroma', directory]), /chroma/i);
  });
});

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
    assert.equal(findingOf(stdout, 'settings')[0].severity, 'warning');
    assert.match(findingOf(stdout, 'Chroma')[0].remedy, /import-chroma/);
    assert.match(findingOf(stdout, 'worker')[0].message, /does not answer/);
  });

  test('works without the binary, which is then a finding with a remedy; other commands say so in one line', async (t) => {
    const { directory } = await filled(t);
    const copy = fs.mkdtempSync(path.join(os.tmpdir(), 'claude-mem-native-package-'));
    t.after(() => fs.rmSync(copy, { recursive: true, force: true }));
    fs.cpSync(path.join(ROOT, 'cli'), path.join(copy, 'cli'), { recursive: true });
    for (const name of ['index.js', 'package.json', 'loader', 'settings'])
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
