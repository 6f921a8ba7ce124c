'use strict';
// How the worker runs its agents: places, draining, aborting, failures, restarts.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { setTimeout: sleep } = require('node:timers/promises');
const { WorkerUnderTest, temporaryDirectory } = require('./worker/worker-under-test.cjs');
const { createSessions, readCall } = require('./worker/sessions.cjs');
const { openMemory } = require('..');

const TEST_AGENT = path.join(__dirname, 'worker', 'test-agent.cjs');

/** A worker with the steered agent: `hold()`, `goOn()`, `fail()`, `log()`. */
async function steeredWorker(t, sessions, { environment = {}, hold = true } = {}) {
  const dataDir = temporaryDirectory(t);
  const directory = temporaryDirectory(t);
  const file = (name) => path.join(directory, name);
  const ids = await createSessions(dataDir, sessions);
  const options = {
    dataDir,
    args: ['--agent', TEST_AGENT],
    environment: { CLAUDE_MEM_TEST_AGENT_DIR: directory, ...environment },
  };
  const steer = {
    hold: () => fs.writeFileSync(file('hold'), ''),
    goOn: () => fs.rmSync(file('hold'), { force: true }),
    fail: () => fs.writeFileSync(file('fail'), ''),
    succeed: () => fs.rmSync(file('fail'), { force: true }),
    log: () =>
      fs.existsSync(file('log'))
        ? fs
            .readFileSync(file('log'), 'utf8')
            .trim()
            .split('\n')
            .map((line) => JSON.parse(line))
        : [],
  };
  if (hold) steer.hold();
  const worker = await new WorkerUnderTest(t, options).start();
  return { worker, ids, options, ...steer };
}

const call = (name) => ({ tool_name: name, tool_input: '{}', tool_response: '{}', prompt_number: 1 });

async function titles(worker) {
  const { items } = await worker.get('/api/observations?limit=100');
  return items.toSorted((a, b) => a.id - b.id).map(({ title }) => title);
}

async function statusOf(worker, id) {
  const { sessions } = await worker.get('/api/context/recent?project=demo&limit=50&format=json');
  return sessions.find(({ sdk_session_id: name }) => name === `session-${id - 1}`)?.status;
}

test('at most two agents run at a time, and every session gets its turn', async (t) => {
  const { worker, ids, goOn, log } = await steeredWorker(t, 6);
  for (const id of ids)
    for (let n = 0; n < 3; n += 1) await worker.post(`/sessions/${id}/observations`, call(`T${id}-${n}`));
  await worker.until(() => log().length === 2, 'two agents');
  await sleep(300);
  assert.equal(log().length, 2, 'a third agent was started');
  assert.equal((await worker.get('/health')).agents.running, 2);
  goOn();
  await worker.idle();
  assert.equal(Math.max(...log().map(({ running }) => running)), 2);
  assert.deepEqual(
    (await titles(worker)).toSorted(),
    ids.flatMap((id) => [0, 1, 2].map((n) => `T${id}-${n}`)).toSorted(),
  );
});

test('a session that waits for messages or backs off holds no place', async (t) => {
  const { worker, ids, fail, succeed, log } = await steeredWorker(t, 4, {
    hold: false,
    environment: { CLAUDE_MEM_MAX_CONCURRENT_AGENTS: '1' },
  });
  const [first, second, third, fourth] = ids;
  await worker.post(`/sessions/${first}/observations`, call('A'));
  await worker.idle();
  await worker.post(`/sessions/${second}/observations`, call('B')); // the first one is idle now
  await worker.idle();
  fail();
  await worker.post(`/sessions/${third}/observations`, call('C'));
  await worker.until(() => log().some(({ sessionDbId }) => sessionDbId === third), 'the failing attempt');
  await worker.until(async () => (await worker.get('/health')).agents.lastError !== null, 'the failure');
  succeed();
  await worker.post(`/sessions/${fourth}/observations`, call('D')); // the third one backs off now
  await worker.until(async () => (await titles(worker)).includes('D'), 'the fourth session');
  await worker.idle();
  assert.deepEqual((await titles(worker)).toSorted(), ['A', 'B', 'C', 'D']);
  assert.deepEqual(
    log()
      .filter(({ sessionDbId }) => sessionDbId === third)
      .map(({ attempt }) => attempt),
    [1, 2],
  );
});

test('complete drains: the session is completed once its queue is empty', async (t) => {
  const {
    worker,
    ids: [id],
    goOn,
    log,
  } = await steeredWorker(t, 1);
  for (let n = 0; n < 20; n += 1) await worker.post(`/sessions/${id}/observations`, call(`M${n}`));
  await worker.until(() => log().length === 1, 'the agent');
  assert.deepEqual(await worker.post(`/sessions/${id}/complete`), { success: true });
  assert.equal(await statusOf(worker, id), 'active');
  goOn();
  await worker.until(async () => (await statusOf(worker, id)) === 'completed', 'the completion');
  assert.deepEqual(
    await titles(worker),
    Array.from({ length: 20 }, (_, n) => `M${n}`),
  );
  assert.deepEqual(await worker.get(`/sessions/${id}/status`), { status: 'not_found' });
});

test('complete on an empty queue completes at once, and twice without harm', async (t) => {
  const {
    worker,
    ids: [id],
  } = await steeredWorker(t, 1, { hold: false });
  assert.deepEqual(await worker.post(`/sessions/${id}/complete`), { success: true });
  assert.equal(await statusOf(worker, id), 'completed');
  assert.deepEqual(await worker.post(`/sessions/${id}/complete`), { success: true });
});

test('complete is remembered over a SIGKILL', async (t) => {
  const {
    worker,
    ids: [id],
    options,
    goOn,
    log,
  } = await steeredWorker(t, 1);
  await worker.post(`/sessions/${id}/observations`, call('M'));
  await worker.until(() => log().length === 1, 'the agent');
  await worker.post(`/sessions/${id}/complete`);
  await worker.end('SIGKILL');
  goOn();
  const next = await new WorkerUnderTest(t, options).start();
  await next.until(async () => (await statusOf(next, id)) === 'completed', 'the completion');
  assert.deepEqual(await titles(next), ['M']);
});

test('DELETE aborts, purges and says how many messages went', async (t) => {
  const {
    worker,
    ids: [id, other],
    goOn,
    log,
  } = await steeredWorker(t, 2);
  for (let n = 0; n < 12; n += 1) await worker.post(`/sessions/${id}/observations`, call(`M${n}`));
  await worker.post(`/sessions/${other}/observations`, call('Other'));
  await worker.until(() => log().length === 2, 'the agents');
  const { json } = await worker.request('DELETE', `/sessions/${id}`);
  assert.deepEqual(json, { status: 'deleted', purged: 12 });
  await worker.until(async () => (await worker.get('/health')).agents.running === 1, 'the end of the agent');
  assert.deepEqual(await worker.get(`/sessions/${id}/status`), { status: 'not_found' });
  goOn();
  await worker.idle();
  assert.deepEqual(await titles(worker), ['Other']);
  assert.deepEqual((await worker.request('DELETE', `/sessions/${id}`)).json, { status: 'deleted', purged: 0 });
});

test('what is queued behind a summary gets a run of its own', async (t) => {
  const {
    worker,
    ids: [id],
    goOn,
    log,
  } = await steeredWorker(t, 1);
  await worker.post(`/sessions/${id}/observations`, call('Before'));
  await worker.post(`/sessions/${id}/summarize`, {
    last_user_message: 'u',
    last_assistant_message: 'a',
    prompt_number: 1,
  });
  await worker.post(`/sessions/${id}/observations`, call('Behind'));
  goOn();
  await worker.idle();
  assert.deepEqual(await titles(worker), ['Before', 'Behind']);
  assert.equal((await worker.get('/api/summaries')).items.length, 1);
  assert.ok(log().every(({ tools }) => !(tools.includes('summarize') && tools.includes('Behind'))));
  assert.equal(await statusOf(worker, id), 'completed');
});

test('an agent that never answers is given up on, and the batch is offered again', async (t) => {
  const {
    worker,
    ids: [id],
    goOn,
    log,
  } = await steeredWorker(t, 1, { environment: { CLAUDE_MEM_AGENT_TIMEOUT_MS: '200' } });
  await worker.post(`/sessions/${id}/observations`, call('M'));
  await worker.until(async () => (await worker.get('/health')).agents.lastError, "the end of the agent's time");
  assert.match((await worker.get('/health')).agents.lastError.message, /no answer within 200 ms/);
  goOn();
  await worker.until(async () => (await titles(worker)).length === 1, 'the second attempt');
  assert.deepEqual(
    log().map(({ attempt }) => attempt),
    [1, 2],
  );
});

test('an agent that cannot be started costs no attempt', async (t) => {
  const dataDir = temporaryDirectory(t);
  const [id] = await createSessions(dataDir, 1);
  const worker = await new WorkerUnderTest(t, {
    dataDir,
    args: ['--agent-command', 'no-such-program-anywhere'],
  }).start();
  await worker.post(`/sessions/${id}/observations`, readCall('kept'));
  const { agents } = await worker.until(async () => {
    const health = await worker.get('/health');
    return health.agents.lastError && health;
  }, 'the failure');
  assert.match(agents.lastError.message, /could not be started/);
  await worker.end();
  const memory = await openMemory({ dataDir });
  t.after(() => memory.dispose());
  const [waiting] = await memory.queue.discover();
  assert.deepEqual([waiting.sessionDbId, waiting.depth, waiting.attempts], [id, 1, 0]);
  await memory.dispose();
});

test('after a SIGKILL the next worker finds everything acknowledged, in order', async (t) => {
  const { worker, ids, options, goOn, log } = await steeredWorker(t, 3);
  for (let n = 0; n < 10; n += 1)
    for (const id of ids) await worker.post(`/sessions/${id}/observations`, call(`T${id}-${n}`));
  await worker.until(() => log().length === 2, 'the agents');
  await worker.end('SIGKILL');
  goOn();
  const next = await new WorkerUnderTest(t, options).start();
  await next.until(async () => (await titles(next)).length === 30, 'all messages');
  await next.idle();
  const stored = await titles(next);
  for (const id of ids) {
    assert.deepEqual(
      stored.filter((title) => title.startsWith(`T${id}-`)),
      Array.from({ length: 10 }, (_, n) => `T${id}-${n}`),
    );
  }
});
