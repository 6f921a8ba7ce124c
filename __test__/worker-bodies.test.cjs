'use strict';
// Large request bodies on their way through the worker: bytes to the engine, read in part by the agents.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const zlib = require('node:zlib');
const { test } = require('node:test');

const { WorkerUnderTest, temporaryDirectory } = require('./worker/worker-under-test.cjs');
const { createSessions, readCall } = require('./worker/sessions.cjs');

const LIMIT = 50 * 1024 * 1024;
const SMALL_HEAP = '--max-old-space-size=64';

async function workerOn(t, { environment = {}, heap } = {}) {
  const dataDir = temporaryDirectory(t);
  const [id] = await createSessions(dataDir, 1);
  const worker = new WorkerUnderTest(t, {
    dataDir,
    environment: { ...environment, ...(heap ? { NODE_OPTIONS: heap } : {}) },
  });
  await worker.start();
  return { worker, id, dataDir, observations: `/sessions/${id}/observations`, summarize: `/sessions/${id}/summarize` };
}

/** A body of exactly `bytes` whose response text is as large as fits. */
function bodyOf(bytes, mark) {
  const empty = JSON.stringify(readCall(mark, { tool_response: '' }));
  const text = `function ${mark}() {}\\n`;
  const filler = text.repeat(Math.ceil((bytes - empty.length) / text.length)).slice(0, bytes - empty.length);
  // An escape that was cut in two would be no JSON.
  const response = filler.replace(/\\$/, 'x');
  return Buffer.from(empty.replace('"tool_response":""', () => `"tool_response":"${response}"`));
}

test('a body of 50 MB is taken, worked on and stored by a worker whose heap is 64 MB', async (t) => {
  const { worker, observations, summarize } = await workerOn(t, { heap: SMALL_HEAP });
  const body = bodyOf(LIMIT, 'huge');
  assert.equal(body.length, LIMIT);
  assert.equal((await worker.request('POST', observations, { raw: body })).status, 200);
  await worker.idle();
  const { items } = await worker.get('/api/observations');
  assert.equal(items.length, 1, worker.output.stderr);
  assert.match(items[0].title, /huge/);
  const last = JSON.stringify({ last_user_message: 'x'.repeat(1_000), last_assistant_message: '' });
  const summary = Buffer.from(
    last.replace('_message":""', () => `_message":"It is done. ${'Next. '.repeat(8_000_000)}"`),
  );
  assert.ok(summary.length > 45e6 && summary.length <= LIMIT);
  assert.equal((await worker.request('POST', summarize, { raw: summary })).status, 200);
  await worker.idle();
  assert.equal((await worker.get('/api/summaries')).items.length, 1, worker.output.stderr);
  const tooLarge = await worker.request('POST', observations, { raw: Buffer.alloc(LIMIT + 1, ' ') });
  assert.equal(tooLarge.status, 413);
  assert.match(tooLarge.json.error, /50 MB/);
  const { heap } = await worker.get('/health');
  t.diagnostic(`heapUsed afterwards ${(heap.usedBytes ?? heap.used) / 1e6} MB`);
});

test('an agent command is handed 50 MB by a worker whose heap is 64 MB', async (t) => {
  const program = path.join(temporaryDirectory(t), 'agent.cjs');
  fs.writeFileSync(
    program,
    `const { messages, context } = JSON.parse(require('node:fs').readFileSync(0));
     const [{ id, attempts, type, tool_response }] = messages;
     console.log(JSON.stringify({ observations: [{ type: 'discovery', title: [typeof id, attempts, type, tool_response.length,
       context.userPrompt].join(' ') }] }));`,
  );
  const command = JSON.stringify([process.execPath, '--max-old-space-size=1024', program]);
  // The program has a heap of its own; the flag of the worker would be inherited, its own comes after.
  const { worker, observations } = await workerOn(t, {
    heap: SMALL_HEAP,
    environment: { CLAUDE_MEM_AGENT_COMMAND: command },
  });
  const text = 'é'.repeat(24_000_000);
  const raw = Buffer.from(
    JSON.stringify(readCall('large', { tool_response: '' })).replace(
      '"tool_response":""',
      () => `"tool_response":"${text}"`,
    ),
  );
  assert.equal((await worker.request('POST', observations, { raw })).status, 200);
  await worker.idle();
  const { items } = await worker.get('/api/observations');
  assert.equal(items[0]?.title, 'number 0 observation 24000000 Do the thing number 0', worker.output.stderr);
});

test('bodies are what they were: objects as text, numbers as text, keys, other charsets, compressed, none', async (t) => {
  const { worker, observations, summarize, dataDir } = await workerOn(t, {
    environment: {
      CLAUDE_MEM_AGENT_COMMAND: JSON.stringify([
        process.execPath,
        '-e',
        `const { messages } = JSON.parse(require('node:fs').readFileSync(0));
         for (const { enqueuedAtEpoch, id, ...message } of messages)
           require('node:fs').appendFileSync(process.env.SEEN, JSON.stringify(message) + '\\n');`,
      ]),
      SEEN: path.join(temporaryDirectory(t), 'seen'),
    },
  });
  const seen = () => fs.readFileSync(worker.environment.SEEN, 'utf8').trim().split('\n').map(JSON.parse);
  const post = async (target, raw, headers = {}) => {
    const { status, text } = await worker.request('POST', target, { raw, headers });
    assert.equal(status, 200, text);
    await worker.idle();
  };
  const call = {
    tool_name: 'Edit',
    tool_input: { a: [1, 'é'] },
    tool_response: '{"b":2}',
    prompt_number: '4',
    cwd: null,
  };
  await post(observations, JSON.stringify({ ...call, type: 'forged', more: 1, dedupe_key: 'k' }));
  await post(observations, JSON.stringify({ ...call, dedupe_key: 'k' }));
  await post(observations, JSON.stringify(call), { 'Idempotency-Key': 'k' });
  await post(observations, Buffer.from(JSON.stringify({ tool_name: 'Ünïcode' }), 'utf16le'), {
    'Content-Type': 'application/json; charset=utf-16le',
  });
  const packed = zlib.gzipSync(JSON.stringify({ tool_name: 'Packed' }));
  await post(observations, packed, { 'Content-Encoding': 'gzip', 'Content-Length': packed.length });
  await post(observations, `\ufeff${JSON.stringify({ tool_name: 'Marked' })}`);
  const expected = { type: 'observation', attempts: 0 };
  assert.deepEqual(seen(), [
    { ...expected, tool_name: 'Edit', tool_input: '{"a":[1,"é"]}', tool_response: '{"b":2}', prompt_number: 4 },
    { ...expected, tool_name: 'Ünïcode' },
    { ...expected, tool_name: 'Packed' },
    { ...expected, tool_name: 'Marked' },
  ]);
  assert.equal((await worker.request('POST', summarize)).status, 200);
  await worker.idle();
  assert.deepEqual(seen().at(-1), { type: 'summarize', attempts: 0 });
  const bomb = zlib.gzipSync(Buffer.alloc(LIMIT + 1, ' '));
  const refused = await worker.request('POST', observations, {
    raw: bomb,
    headers: { 'Content-Encoding': 'gzip', 'Content-Length': bomb.length },
  });
  assert.equal(refused.status, 413, 'the bound is of what comes out');
  assert.ok(fs.existsSync(dataDir));
});
