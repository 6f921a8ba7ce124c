'use strict';
// Nothing is tried again and again for nothing: an agent that answers nothing, one over its quota, one that is missing for
// an hour, a worker that is restarted fifty times in a minute. No dead letter, and no row twice.

const assert = require('node:assert/strict');
const path = require('node:path');
const { spawn } = require('node:child_process');
const { describe, test } = require('node:test');
const { setTimeout: sleep } = require('node:timers/promises');

const { openMemory } = require('..');
const { startWorker } = require('../examples/worker/worker.cjs');
const { AgentUnavailableError } = require('../examples/worker/agents/unavailable.cjs');
const { SettingsFile } = require('../examples/worker/settings-file.cjs');
const { dataDirectory } = require('./data-directory.cjs');
const foreign = require('./foreign/index.cjs');
const { NO_BACKOFF, message, openedMemory, until } = require('./opened-memory.cjs');

const MESSAGES = Array.from({ length: 50 }, (_, n) => `m${n}`);
const row = (title) => ({ type: 'discovery', title });

async function titles(database) {
  return (await foreign.query(database, 'SELECT title FROM observations ORDER BY id')).map(({ title }) => title);
}

/** The worker of examples/worker with the agent that a test wants, fifty messages in one session. */
async function workerWith(t, observe, options = {}) {
  const { directory, database } = dataDirectory(t);
  const asked = [];
  const agent = {
    name: 'test',
    observe(messages, context) {
      asked.push({ names: messages.map(({ tool_name: name }) => name), attempt: context.attempt });
      return observe(messages, context, asked.length);
    },
  };
  const start = () =>
    startWorker({
      dataDir: directory,
      port: 0,
      agent,
      settings: new SettingsFile(directory),
      memoryOptions: NO_BACKOFF,
      schedulerOptions: options,
    });
  const worker = await start();
  t.after(() => worker.stop());
  const { queue, store } = worker.memory;
  const id = await store.createSDKSession('claude', 'project', 'ask');
  // Nobody works before all are there.
  await queue.pause(id);
  for (const name of MESSAGES) await queue.enqueue(id, message(name));
  await queue.resume(id);
  return { worker, queue, database, asked, id };
}

describe('the worker', () => {
  test('with an agent that answers nothing asks once and is done', async (t) => {
    const { queue, database, asked } = await workerWith(t, () => ({ observations: [], summary: null }));
    await until(() => queue.depth() === 0);
    assert.deepEqual(
      asked.flatMap(({ names }) => names),
      MESSAGES,
      'each once',
    );
    assert.deepEqual(await queue.deadLetters(), []);
    assert.deepEqual(await titles(database), []);
  });

  for (const [what, refusals] of [
    ['over its quota', 10],
    // An hour, at the pace of one attempt every half minute, in a few seconds.
    ['missing for an hour', 120],
  ]) {
    test(`with an agent that is ${what} uses no attempt up, and stores every row once`, async (t) => {
      const { queue, database, asked, id } = await workerWith(
        t,
        (messages, context, times) => {
          if (times <= refusals) throw new AgentUnavailableError(`The agent is ${what}.`);
          return { observations: messages.map(({ tool_name: name }) => row(name)), summary: null };
        },
        { unavailableRetryMs: 10 },
      );
      await until(() => queue.depth(id) === 0);
      assert.ok(asked.every(({ attempt }) => attempt === 1));
      assert.equal(asked.length, refusals + Math.ceil(MESSAGES.length / 8), 'batches were not halved either');
      assert.deepEqual(await queue.deadLetters(), []);
      assert.deepEqual(await titles(database), MESSAGES);
    });
  }

  test('with one poisonous message among fifty loses that one alone, to the dead letters', async (t) => {
    const { queue, database } = await workerWith(t, (messages) => {
      if (messages.some(({ tool_name: name }) => name === 'm17')) throw new Error('poisoned');
      return { observations: messages.map(({ tool_name: name }) => row(name)), summary: null };
    });
    await until(() => queue.depth() === 0);
    const letters = await queue.deadLetters();
    assert.deepEqual(
      letters.map(({ reason, error, attempts }) => ({ reason, error, attempts })),
      [{ reason: 'max-attempts', error: 'poisoned', attempts: 5 }],
    );
    assert.equal((await queue.getDeadLetter(letters[0].id)).message.tool_name, 'm17');
    assert.deepEqual(
      await titles(database),
      MESSAGES.filter((name) => name !== 'm17'),
    );
  });
});

/** A worker that has loaded Node and the module, and begins when it is told. */
function standBy(t, directory) {
  const child = spawn(process.execPath, [path.join(__dirname, 'children', 'storm-worker.cjs'), directory], {
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  t.after(() => child.kill('SIGKILL'));
  const worker = { said: '', complaint: '', child };
  child.stdin.on('error', () => {});
  child.stdout.setEncoding('utf8').on('data', (text) => (worker.said += text));
  child.stderr.setEncoding('utf8').on('data', (text) => (worker.complaint += text));
  worker.ended = new Promise((resolve) => child.on('close', resolve));
  return worker;
}

test('a worker that is killed fifty times in a minute, with the default backoff, loses and repeats nothing', async (t) => {
  const { memory, directory, database } = await openedMemory(t);
  const id = await memory.store.createSDKSession('claude', 'project', 'ask');
  // One session whose message is always alone in the worker's hands, and one with many.
  const alone = await memory.store.createSDKSession('alone', 'project', 'ask');
  for (const marker of MESSAGES) await memory.queue.enqueue(id, { type: 'observation', marker });
  await memory.queue.enqueue(alone, { type: 'observation', marker: 'alone' });
  await memory.dispose();

  const startedAt = performance.now();
  let next = standBy(t, directory);
  let given = 0;
  for (let n = 0; n < 50; n += 1) {
    const worker = next;
    worker.child.stdin.write('go\n');
    next = standBy(t, directory);
    await until(() => worker.said.includes('open') || worker.child.exitCode !== null);
    // Where something is deliverable it is in the worker's hands by now, or a moment later.
    await sleep(40);
    worker.child.kill('SIGKILL');
    await worker.ended;
    assert.equal(worker.complaint, '');
    given += worker.said.split('\n').filter((line) => line.startsWith('given alone ')).length;
  }
  next.child.kill('SIGKILL');
  await next.ended;
  const seconds = (performance.now() - startedAt) / 1e3;
  t.diagnostic(`50 kills in ${seconds.toFixed(1)} s; the lone message was given ${given} times`);
  // Twice at once, then after 15 s and more, 30 s and more: the fifth would be its last.
  assert.ok(given >= 1, 'nobody had anything in his hands: this has tested nothing');
  assert.ok(given <= 2 + Math.floor(seconds / 15), `given ${given} times in ${seconds} s`);

  // What waits for its backoff need not be waited for here.
  const last = await openMemory({ dataDir: directory, maxPauseMs: 1 });
  t.after(() => last.dispose());
  assert.deepEqual(await last.queue.deadLetters(), []);
  for (const session of [id, alone]) {
    const consumer = last.queue.consume(session, { keepAlive: true });
    while (last.queue.depth(session) > 0) {
      const { value: batch } = await consumer.next();
      await batch.commit({ observations: batch.messages.map(({ marker }) => row(marker)) });
    }
    consumer.dispose();
  }
  assert.deepEqual(await last.queue.deadLetters(), []);
  await last.dispose();
  assert.deepEqual(await titles(database), [...MESSAGES, 'alone']);
});
