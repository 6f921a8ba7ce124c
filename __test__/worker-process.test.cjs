'use strict';
// The worker as a process: how it starts, why it does not, how it ends.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const net = require('node:net');
const path = require('node:path');
const { test } = require('node:test');
const { setTimeout: sleep } = require('node:timers/promises');
const { without } = require('./runtime.cjs');
const { WorkerUnderTest, temporaryDirectory } = require('./worker/worker-under-test.cjs');
const { createSessions, readCall } = require('./worker/sessions.cjs');

const IS_WINDOWS = process.platform === 'win32';
const NO_SIGNALS = IS_WINDOWS && 'Windows ends a process at once, whatever the signal';

function oneSentence(text) {
  const lines = text.trim().split('\n');
  assert.equal(lines.length, 1, text);
  assert.ok(!text.includes('    at '), text);
}

async function endsWith(worker, code) {
  const result = await worker.exited;
  assert.equal(result.code, code, result.stderr);
  return result.stderr;
}

test('a taken port: one clear sentence, exit code 1, nothing created', async (t) => {
  const server = net.createServer().listen(0, '127.0.0.1');
  t.after(() => server.close());
  await new Promise((resolve) => server.once('listening', resolve));
  const { port } = server.address();
  const worker = new WorkerUnderTest(t, { args: ['--port', String(port)] });
  worker.spawn();
  const said = await endsWith(worker, 1);
  oneSentence(said);
  assert.match(said, new RegExp(`Port ${port} is taken`));
  assert.equal(fs.existsSync(path.join(worker.dataDir, 'claude-mem.db')), false);
});

test('a directory that another worker owns: one clear sentence that names the owner, exit code 1', async (t) => {
  const first = await new WorkerUnderTest(t).start();
  const second = new WorkerUnderTest(t, { dataDir: first.dataDir, args: ['--port', '0'] });
  second.spawn();
  const said = await endsWith(second, 1);
  oneSentence(said);
  assert.match(said, /is in use/);
  assert.match(said, new RegExp(String(first.child.pid)));
  assert.equal((await first.get('/health')).status, 'ok');
});

test('options of the engine come from the settings; one that is refused is said, and the default counts', async (t) => {
  const dataDir = temporaryDirectory(t);
  const env = { CLAUDE_MEM_NATIVE_MAX_QUEUE_BYTES: '64 MiB', CLAUDE_MEM_NATIVE_MAX_DEAD_LETTERS: 'many' };
  fs.writeFileSync(path.join(dataDir, 'settings.json'), JSON.stringify({ env }));
  const worker = await new WorkerUnderTest(t, { dataDir }).start();
  const { queueLimits } = await worker.get('/health');
  assert.deepEqual([queueLimits.maxQueueBytes, queueLimits.maxDeadLetters], [67_108_864, 10_000]);
  assert.match(
    worker.output.stderr,
    /CLAUDE_MEM_NATIVE_MAX_DEAD_LETTERS in settings\.json is "many"; it must be a whole number/,
  );
});

test('a wrong flag, port, agent or settings file is explained', async (t) => {
  const broken = temporaryDirectory(t);
  fs.writeFileSync(path.join(broken, 'settings.json'), '{"env":');
  const wrongPort = temporaryDirectory(t);
  fs.writeFileSync(path.join(wrongPort, 'settings.json'), JSON.stringify({ env: { CLAUDE_MEM_WORKER_PORT: '80' } }));
  for (const [options, expected] of [
    [{ args: ['--port', 'x'] }, /"x" is not a whole number/],
    [{ args: ['--prot', '1'] }, /--prot/],
    [{ args: ['--agent', './no-such-agent.cjs'] }, /agent could not be loaded/],
    [{ dataDir: broken }, /settings\.json is not valid JSON/],
    [{ dataDir: wrongPort }, /from 1024 to 65535/],
    [{ environment: { CLAUDE_MEM_MAX_CONCURRENT_AGENTS: 'many' } }, /CLAUDE_MEM_MAX_CONCURRENT_AGENTS/],
  ]) {
    const worker = new WorkerUnderTest(t, options);
    worker.spawn();
    const said = await endsWith(worker, 1);
    assert.match(said, expected);
    assert.ok(!said.includes('    at '), said);
  }
});

test('the port of settings.json wins over the environment', async (t) => {
  const free = await new Promise((resolve) => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
  const dataDir = temporaryDirectory(t);
  fs.writeFileSync(
    path.join(dataDir, 'settings.json'),
    JSON.stringify({ env: { CLAUDE_MEM_WORKER_PORT: String(free) } }),
  );
  const worker = new WorkerUnderTest(t, { dataDir, environment: { CLAUDE_MEM_WORKER_PORT: '4567' } });
  worker.spawn();
  await worker.until(() => worker.output.stdout.includes(`127.0.0.1:${free}`), 'the start');
});

test('NODE_OPTIONS of settings.json count', { skip: without('limit of the heap') }, async (t) => {
  const dataDir = temporaryDirectory(t);
  fs.writeFileSync(
    path.join(dataDir, 'settings.json'),
    JSON.stringify({ env: { NODE_OPTIONS: '--max-old-space-size=222' } }),
  );
  const worker = await new WorkerUnderTest(t, { dataDir }).start();
  const { heap } = await worker.get('/health');
  assert.equal(Math.round(heap.limitBytes / 1024 / 1024), 222);
  const { code } = await worker.end();
  if (!IS_WINDOWS) assert.equal(code, 0);
});

test(
  'a process that was started again for NODE_OPTIONS ends with the one that started it',
  { skip: NO_SIGNALS },
  async (t) => {
    const dataDir = temporaryDirectory(t);
    fs.writeFileSync(
      path.join(dataDir, 'settings.json'),
      JSON.stringify({ env: { NODE_OPTIONS: '--max-old-space-size=222' } }),
    );
    const worker = await new WorkerUnderTest(t, { dataDir }).start();
    worker.child.kill('SIGKILL');
    await worker.until(
      () =>
        worker.get('/health').then(
          () => false,
          () => true,
        ),
      'the end of the inner process',
    );
  },
);

for (const signal of ['SIGTERM', 'SIGINT']) {
  test(
    `${signal} ends the worker by itself, with open streams and an agent at work`,
    { skip: NO_SIGNALS },
    async (t) => {
      const dataDir = temporaryDirectory(t);
      const [id] = await createSessions(dataDir, 1);
      const steering = temporaryDirectory(t);
      fs.writeFileSync(path.join(steering, 'hold'), '');
      const worker = await new WorkerUnderTest(t, {
        dataDir,
        args: ['--agent', path.join(__dirname, 'worker', 'test-agent.cjs')],
        environment: { CLAUDE_MEM_TEST_AGENT_DIR: steering },
      }).start();
      const { response } = await worker.listen();
      const ended = new Promise((resolve) => response.once('close', resolve));
      const idleConnection = net.connect(worker.port, '127.0.0.1');
      idleConnection.on('error', () => {});
      await worker.post(`/sessions/${id}/observations`, readCall('kept'));
      // Its place is taken before it has looked at anything.
      await worker.until(async () => fs.existsSync(path.join(steering, 'log')), 'the agent');
      const startedAt = performance.now();
      worker.child.kill(signal);
      await sleep(30);
      worker.child.kill(signal);
      worker.child.kill('SIGTERM');
      const { code, stderr } = await worker.exited;
      t.diagnostic(`ended after ${Math.round(performance.now() - startedAt)} ms`);
      assert.equal(code, 0, stderr);
      await ended;
      idleConnection.destroy();

      fs.rmSync(path.join(steering, 'hold'));
      const next = await new WorkerUnderTest(t, { dataDir }).start();
      await next.until(
        async () => (await next.get('/api/observations')).items.length === 1,
        'the message that was kept',
      );
      assert.deepEqual(
        fs
          .readFileSync(path.join(steering, 'log'), 'utf8')
          .trim()
          .split('\n')
          .map((line) => JSON.parse(line).attempt),
        [1],
      );
    },
  );
}
