'use strict';
// The example hook as the editor runs it: without a worker, with one, and around the death of one.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const http = require('node:http');
const path = require('node:path');
const { spawn } = require('node:child_process');
const { test } = require('node:test');

const { openMemory } = require('..');
const { withoutFixtures } = require('./data-directory.cjs');
const { WorkerUnderTest, environmentWith, temporaryDirectory } = require('./worker/worker-under-test.cjs');

const HOOK = path.join(__dirname, '..', 'examples', 'hooks', 'hook.cjs');
const AGENT = path.join(__dirname, 'worker', 'test-agent.cjs');
const SESSION = 'a-session-of-the-editor';

/** Runs hooks one after the other, as the editor does; `port` is the worker's, or one where nobody listens. */
class Editor {
  constructor(t) {
    this.dataDir = temporaryDirectory(t);
    this.home = temporaryDirectory(t);
    this.agentDir = temporaryDirectory(t);
    this.port = 1;
    this.calls = 0;
  }

  run(kind, input) {
    const child = spawn(process.execPath, [HOOK, kind], {
      env: environmentWith(this.home, {
        CLAUDE_MEM_DATA_DIR: this.dataDir,
        CLAUDE_MEM_WORKER_PORT: `${this.port}`,
        // A port where nobody listens refuses at once; a worker on a busy machine may take its time.
        CLAUDE_MEM_HOOK_HEALTH_MS: '30000',
      }),
    });
    let [stdout, stderr] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text));
    child.stdin.end(JSON.stringify(input));
    return new Promise((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (code) => resolve({ code, stdout, stderr }));
    });
  }

  async hook(kind, input) {
    const { code, stdout, stderr } = await this.run(kind, { session_id: SESSION, cwd: '/home/me/editor', ...input });
    assert.deepEqual([code, stderr], [0, '']);
    assert.deepEqual(JSON.parse(stdout), { continue: true, suppressOutput: true });
  }

  prompt(prompt) {
    return this.hook('prompt', { prompt });
  }

  tool(more) {
    const number = this.calls++;
    const call = { tool_name: `tool-${number}`, tool_input: { number }, tool_response: { ok: true } };
    return this.hook('tool', { tool_use_id: `use-${number}`, ...call, ...more });
  }

  async tools(count) {
    for (let n = 0; n < count; n += 1) await this.tool();
  }

  async worker(t) {
    const worker = new WorkerUnderTest(t, {
      dataDir: this.dataDir,
      home: this.home,
      args: ['--agent', AGENT],
      environment: { CLAUDE_MEM_TEST_AGENT_DIR: this.agentDir },
    });
    await worker.start();
    this.port = worker.port;
    return worker;
  }

  hold(held) {
    const file = path.join(this.agentDir, 'hold');
    if (held) fs.writeFileSync(file, '');
    else fs.rmSync(file, { force: true });
  }

  /** What is stored for the session: titles of observations in order, summaries, prompts. */
  async stored() {
    const memory = await openMemory({ dataDir: this.dataDir, role: 'client', readOnly: true });
    try {
      const observations = await memory.store.getObservationsForSession(SESSION);
      const summary = await memory.store.getSummaryForSession(SESSION);
      const prompts = await memory.store.getUserPromptsBySession(SESSION);
      return {
        titles: observations.sort((a, b) => a.id - b.id).map(({ title }) => title),
        prompts: prompts.map(({ prompt_text, prompt_number }) => `${prompt_number}: ${prompt_text}`),
        summary: summary?.request,
        projects: await memory.store.getAllProjects(),
      };
    } finally {
      await memory.dispose();
    }
  }
}

const tools = (count) => Array.from({ length: count }, (_, number) => `tool-${number}`);

test('without a worker nothing is lost: the one that starts later processes all of it', async (t) => {
  const editor = new Editor(t);
  await editor.prompt('fix the login bug');
  await editor.tools(5);
  await editor.tool({ tool_use_id: 'use-4' }); // the same call once more
  await editor.hook('stop', { last_assistant_message: 'It is fixed.' });

  const client = await openMemory({ dataDir: editor.dataDir, role: 'client', readOnly: true });
  const [waiting] = await client.queue.discover();
  assert.equal(waiting.depth, 6);
  await client.dispose();

  const worker = await editor.worker(t);
  await worker.idle();
  await worker.end();
  assert.deepEqual(await editor.stored(), {
    titles: tools(5),
    prompts: ['1: fix the login bug'],
    summary: 'r',
    projects: ['editor'],
  });
});

test('with a worker, then without, then with the next: once each, in order', async (t) => {
  const editor = new Editor(t);
  const first = await editor.worker(t);
  await editor.prompt('the first');
  await first.until(async () => (await first.get('/sessions/1/status')).status === 'active', 'that the worker is told');
  await editor.tools(3);
  await first.idle();

  // It dies with messages in its hands.
  editor.hold(true);
  await editor.tools(3);
  await first.end('SIGKILL');
  await editor.tools(3);
  await editor.prompt('the second');
  await editor.tools(2);
  editor.hold(false);

  const second = await editor.worker(t);
  await editor.tools(2);
  await editor.hook('stop', {});
  await second.idle();
  await second.end();
  assert.deepEqual(await editor.stored(), {
    titles: tools(13),
    prompts: ['1: the first', '2: the second'],
    summary: 'r',
    projects: ['editor'],
  });
});

test('a worker that is too slow to answer is poked, and the message is stored once', async (t) => {
  const editor = new Editor(t);
  await editor.prompt('be slow');
  const worker = await editor.worker(t);
  // Between the hook and the worker: takes observations and never answers, after it has handed them on.
  const asked = [];
  const proxy = http.createServer((request, response) => {
    const chunks = [];
    request.on('data', (chunk) => chunks.push(chunk));
    request.on('end', async () => {
      asked.push(request.url);
      const raw = Buffer.concat(chunks).toString();
      const headers = { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(raw) };
      const answer = await worker.request(request.method, request.url, raw ? { raw, headers } : {});
      if (!request.url.endsWith('/observations')) response.writeHead(answer.status).end(answer.text);
    });
  });
  await new Promise((resolve) => proxy.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    proxy.closeAllConnections();
    proxy.close();
  });
  editor.hold(true);
  editor.port = proxy.address().port;
  await editor.tools(2);
  assert.deepEqual(asked, Array(2).fill(['/health', '/sessions/1/observations', '/sessions/1/poke']).flat());
  // The dedupe key has told the hook's own message and the one that the worker took from each other.
  await worker.until(async () => (await worker.get('/sessions/1/status')).queueLength === 2, 'two messages');
  editor.hold(false);
  await worker.idle();
  await worker.end();
  assert.deepEqual((await editor.stored()).titles, tools(2));
});

test(
  'an older database is brought up to date by the first hook',
  { skip: withoutFixtures('schema-v7-rows.db') },
  async (t) => {
    const editor = new Editor(t);
    const fixture = path.join(__dirname, '../../shared/fixtures/schema-v7-rows.db');
    fs.writeFileSync(path.join(editor.dataDir, 'claude-mem.db'), fs.readFileSync(fixture));
    await editor.prompt('on an old file');
    await editor.tools(1);
    assert.deepEqual((await editor.stored()).prompts, ['1: on an old file']);
    const client = await openMemory({ dataDir: editor.dataDir, role: 'client' });
    assert.equal((await client.queue.discover())[0].depth, 1);
    await client.dispose();
  },
);

test('the last words come from the transcript; a wrong input is told on stderr', async (t) => {
  const editor = new Editor(t);
  const transcript = path.join(editor.home, 'transcript.jsonl');
  const lines = [
    { type: 'user', message: { content: 'an older question' } },
    { type: 'user', message: { content: [{ type: 'text', text: 'the last question' }] } },
    {
      type: 'assistant',
      message: {
        content: [
          { type: 'text', text: 'the' },
          { type: 'text', text: 'answer' },
        ],
      },
    },
    { type: 'user', message: { content: [{ type: 'tool_result', content: 'x' }] } },
  ];
  fs.writeFileSync(transcript, `${lines.map((line) => JSON.stringify(line)).join('\n')}\n{"type":"assis`);
  await editor.prompt('p');
  await editor.hook('stop', { transcript_path: transcript });
  const owner = await openMemory({ dataDir: editor.dataDir });
  t.after(() => owner.dispose());
  const [{ sessionDbId }] = await owner.queue.discover();
  const { value: batch } = await owner.queue.consume(sessionDbId, { keepAlive: true }).next();
  const [{ type, last_user_message, last_assistant_message, prompt_number }] = batch.messages;
  assert.deepEqual(
    [type, last_user_message, last_assistant_message, prompt_number],
    ['summarize', 'the last question', 'the\nanswer', 1],
  );
  await batch.commit();

  for (const [kind, input, words] of [
    ['tool', {}, /no session_id/],
    ['nap', { session_id: 's' }, /no hook "nap"/],
  ]) {
    const { code, stderr } = await editor.run(kind, input);
    assert.equal(code, 1);
    assert.match(stderr, words);
  }
});
