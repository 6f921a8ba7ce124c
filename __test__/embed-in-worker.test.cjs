'use strict';
// examples/embed-in-worker.cjs as a process of its own: it takes, keeps and finds; ends on SIGTERM; and stays up,
// degraded, where the engine cannot be loaded.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { once } = require('node:events');
const { spawn } = require('node:child_process');
const { test } = require('node:test');
const { setTimeout: sleep } = require('node:timers/promises');

const { openMemory } = require('..');
const { dataDirectory } = require('./data-directory.cjs');

const EXAMPLE = path.join(__dirname, '../examples/embed-in-worker.cjs');
const PATIENCE_MS = 120_000;

/** Starts a copy of the example; resolves its address once it listens. */
async function start(t, script, dataDir) {
  const child = spawn(process.execPath, [script, dataDir, '0'], { stdio: ['ignore', 'pipe', 'pipe'] });
  t.after(() => child.kill('SIGKILL'));
  const exited = once(child, 'exit');
  const said = { stdout: '', stderr: '' };
  for (const stream of ['stdout', 'stderr'])
    child[stream].setEncoding('utf8').on('data', (text) => (said[stream] += text));
  const url = await until('it listens', () => /^http:\S+$/m.exec(said.stdout)?.[0]);
  const ask = async (route, options) => {
    const response = await fetch(url + route, options);
    return { status: response.status, body: await response.json() };
  };
  return { child, exited, said, ask };
}

/** Asks until there is an answer. */
async function until(what, look) {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = await look();
    if (found) return found;
    assert.ok(Date.now() < deadline, `never: ${what}`);
    await sleep(20);
  }
}

test('takes messages, keeps what was made of them, finds it, and ends on SIGTERM', async (t) => {
  const { directory } = dataDirectory(t);
  const { child, exited, said, ask } = await start(t, EXAMPLE, directory);
  await until('it is healthy', async () => (await ask('/health')).status === 200);

  const begun = await ask('/sessions/session-1/init?project=my-project&prompt=fix%20the%20login', { method: 'POST' });
  assert.equal(begun.status, 200);
  const route = `/sessions/${begun.body.sessionDbId}/observations`;
  const call = { tool_name: 'Edit', tool_input: { file_path: 'src/login.ts' }, tool_response: { success: true } };
  const queued = await ask(route, { method: 'POST', body: JSON.stringify(call) });
  assert.deepEqual([queued.status, queued.body.duplicate], [200, false]);

  await until('the queue is empty', async () => (await ask('/health')).body.queue.depth === 0);
  const found = await ask('/search?query=used%20edit');
  assert.ok(
    found.body.results.some((row) => row.kind === 'observation' && row.title === 'Used Edit'),
    JSON.stringify(found),
  );

  assert.equal((await ask('/sessions/999/observations', { method: 'POST', body: '{}' })).status, 404);
  assert.equal((await ask(route, { method: 'POST', body: 'no object' })).status, 400);
  assert.equal((await ask('/nothing')).status, 404);

  if (process.platform === 'win32') return; // there a signal ends a process without asking it
  child.kill('SIGTERM');
  assert.deepEqual(await exited, [0, null]);
  assert.equal(said.stderr, '');
  const memory = await openMemory({ dataDir: directory }); // nobody holds it any more
  t.after(() => memory.dispose());
  assert.deepEqual(
    (await memory.store.getObservationsForSession('session-1')).map((row) => row.title),
    ['Used Edit'],
  );
});

test('without the engine it stays up and says why', async (t) => {
  const { directory } = dataDirectory(t);
  const script = path.join(directory, 'alone', 'embed-in-worker.cjs'); // nothing lies above it
  fs.mkdirSync(path.dirname(script));
  fs.copyFileSync(EXAMPLE, script);
  const { child, exited, said, ask } = await start(t, script, directory);
  await until('it has tried', () => said.stderr.includes('not available'));
  for (const route of ['/health', '/search?query=word']) {
    const { status, body } = await ask(route);
    assert.deepEqual([status, body.status], [503, 'critical']);
    assert.match(body.reasons[0], /engine is not available: Cannot find module/);
  }
  assert.equal(child.exitCode, null);
  if (process.platform === 'win32') return;
  child.kill('SIGTERM');
  assert.deepEqual(await exited, [0, null]);
});

test('is as small as it says', () => {
  assert.ok(fs.readFileSync(EXAMPLE, 'utf8').trimEnd().split('\n').length < 80);
});
