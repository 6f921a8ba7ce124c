'use strict';
// The worker's routes: what they answer, what they refuse, and what they leave in the database.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const http = require('node:http');
const net = require('node:net');
const path = require('node:path');
const { test } = require('node:test');
const { without } = require('./runtime.cjs');
const { WorkerUnderTest, temporaryDirectory } = require('./worker/worker-under-test.cjs');
const { createSessions, readCall } = require('./worker/sessions.cjs');

const FIXTURE = path.join(__dirname, '..', '..', 'shared', 'fixtures', 'claude-mem-6.0.2.db');
const TEST_AGENT = path.join(__dirname, 'worker', 'test-agent.cjs');
const HAS_FIXTURE = fs.existsSync(FIXTURE);

async function workerWithSessions(t, count = 1, options = {}) {
  const dataDir = temporaryDirectory(t);
  const ids = await createSessions(dataDir, count);
  const worker = await new WorkerUnderTest(t, { dataDir, ...options }).start();
  return { worker, ids };
}

async function workerOnFixture(t) {
  const dataDir = temporaryDirectory(t);
  fs.copyFileSync(FIXTURE, path.join(dataDir, 'claude-mem.db'));
  return new WorkerUnderTest(t, { dataDir }).start();
}

test('a session from init to summary: answers, events and rows', async (t) => {
  const {
    worker,
    ids: [id],
  } = await workerWithSessions(t);
  const { events, response } = await worker.listen();
  t.after(() => response.destroy());
  const types = () => events.map(({ type }) => type);

  assert.deepEqual(
    await worker.post(`/sessions/${id}/init`, { project: 'demo', userPrompt: 'Do it', promptNumber: 1 }),
    {
      status: 'initialized',
      sessionDbId: id,
      port: worker.port,
    },
  );
  const status = await worker.get(`/sessions/${id}/status`);
  assert.deepEqual(
    { ...status, uptime: typeof status.uptime },
    { status: 'active', sessionDbId: id, project: 'demo', queueLength: 0, uptime: 'number' },
  );
  assert.deepEqual(await worker.post(`/sessions/${id}/observations`, readCall('tokenCache')), { status: 'queued' });
  await worker.until(() => types().includes('new_observation'), 'new_observation');
  assert.deepEqual(
    await worker.post(`/sessions/${id}/summarize`, {
      last_user_message: 'thanks',
      last_assistant_message: 'Next, test it.',
    }),
    { status: 'queued' },
  );
  await worker.until(() => types().includes('session_completed'), 'session_completed');
  await worker.idle();

  const {
    items: [observation],
    hasMore,
  } = await worker.get('/api/observations');
  assert.equal(hasMore, false);
  assert.equal(observation.title, 'tokenCache.js defines tokenCache');
  assert.equal(observation.project, 'demo');
  assert.equal(observation.prompt_number, 1);
  const {
    items: [summary],
  } = await worker.get('/api/summaries');
  assert.equal(summary.next_steps, 'Next, test it.');
  assert.match(summary.investigated, /tokenCache\.js/);
  assert.deepEqual(await worker.get(`/sessions/${id}/status`), { status: 'not_found' });

  assert.equal(types()[0], 'connected');
  for (const type of [
    'initial_load',
    'processing_status',
    'new_prompt',
    'session_started',
    'observation_queued',
    'new_summary',
  ]) {
    assert.ok(types().includes(type), `${type} among ${types()}`);
  }
  assert.deepEqual(events.find(({ type }) => type === 'initial_load').projects, ['demo']);
  assert.equal(events.find(({ type }) => type === 'new_prompt').prompt.prompt_text, 'Do the thing number 0');
  const announced = events.find(({ type }) => type === 'new_observation').observation;
  for (const key of [
    'id',
    'title',
    'facts',
    'files_read',
    'project',
    'prompt_number',
    'created_at_epoch',
    'sdk_session_id',
  ]) {
    assert.deepEqual(announced[key], observation[key], key);
  }
  const recent = await worker.get('/api/context/recent?project=demo&format=json');
  assert.equal(recent.sessions[0].status, 'completed');
});

test("health is the memory's own, with the event loop and the agents", async (t) => {
  const { worker } = await workerWithSessions(t);
  const health = await worker.get('/health');
  assert.equal(health.status, 'ok');
  assert.ok(Math.abs(health.timestamp - Date.now()) < 60_000);
  assert.ok(health.heap.usedBytes > 0);
  if (!without('limit of the heap')) assert.ok(health.heap.limitBytes > health.heap.usedBytes);
  assert.deepEqual(Object.keys(health.eventLoopDelayMs), ['p50', 'p99', 'max']);
  assert.deepEqual(health.agents, { agent: 'rules', running: 0, maxConcurrent: 2, lastError: null });
  assert.equal(health.queue.depth, 0);
  const { fields, samples } = await worker.get('/api/metrics/history');
  assert.equal(samples[0].length, fields.length);
  assert.equal(samples[0][fields.indexOf('depth')], 0);
});

test(
  'stats, projects and pages on a database of 6.0.2',
  { skip: !HAS_FIXTURE && 'no ../shared/fixtures here' },
  async (t) => {
    const worker = await workerOnFixture(t);
    const { worker: own, database } = await worker.get('/api/stats');
    assert.equal(own.version, require('../package.json').version);
    assert.deepEqual([own.activeSessions, own.sseClients, own.port], [0, 0, worker.port]);
    assert.deepEqual([database.observations, database.sessions, database.summaries], [3496, 404, 420]);
    assert.equal(fs.realpathSync(database.path), fs.realpathSync(path.join(worker.dataDir, 'claude-mem.db')));
    assert.ok(database.size > 1_000_000);

    const first = await worker.get('/api/observations');
    assert.deepEqual([first.items.length, first.hasMore, first.offset, first.limit], [20, true, 0, 20]);
    const second = await worker.get('/api/observations?offset=20&limit=500&project=claude-mem');
    assert.deepEqual([second.items.length, second.limit, second.offset], [100, 100, 20]);
    assert.ok(second.items.every(({ project }) => project === 'claude-mem'));
    assert.equal((await worker.get('/api/summaries?limit=3')).items.length, 3);
    assert.equal((await worker.get('/api/prompts?limit=3&offset=899')).items.length, 1);
    assert.equal((await worker.get('/api/prompts?offset=100000')).hasMore, false);
  },
);

test(
  'search: text for a model, rows for a program',
  { skip: !HAS_FIXTURE && 'no ../shared/fixtures here' },
  async (t) => {
    const worker = await workerOnFixture(t);
    const [index, ...rest] = await worker.get('/api/search/observations?query=pending+queue&limit=3');
    assert.deepEqual([index.type, rest.length], ['text', 0]);
    assert.match(
      index.text,
      /^Search for "pending queue": 3 observations\.\n\n1\. \[\w+\] .+\n {3}\d{4}-\d\d-\d\d \d\d:\d\d · .+\n {3}Source: claude-mem:\/\/observation\/\d+/,
    );
    const [full] = await worker.get('/api/search/observations?query=pending+queue&limit=1&format=full');
    assert.match(full.text, /\*\*Facts:\*\*\n- /);
    const rows = await worker.get('/api/search/observations?query=pending+queue&limit=2&offset=1&format=json');
    assert.equal(rows.length, 2);
    assert.ok(rows.every(({ id, score }) => Number.isInteger(id) && score > 0 && score <= 1));

    const typed = await worker.get(
      '/api/search/observations?query=queue&type=bugfix,decision&project=claude-mem&orderBy=date_asc&limit=50&format=json',
    );
    assert.ok(typed.length > 0);
    assert.ok(typed.every(({ type, project }) => ['bugfix', 'decision'].includes(type) && project === 'claude-mem'));
    assert.deepEqual(
      typed.map((row) => row.created_at_epoch),
      typed.map((row) => row.created_at_epoch).toSorted((a, b) => a - b),
    );
    const range = encodeURIComponent(JSON.stringify({ start: '2025-09-10', end: '2025-09-12' }));
    const dated = await worker.get(`/api/search/observations?query=queue&dateRange=${range}&format=json&limit=100`);
    assert.ok(dated.length > 0);
    assert.ok(dated.every((row) => row.created_at >= '2025-09-10' && row.created_at <= '2025-09-12T00:00:00.000Z'));

    assert.match((await worker.get('/api/search/sessions?query=queue&limit=2'))[0].text, /claude-mem:\/\/session\//);
    assert.match((await worker.get('/api/search/prompts?query=queue&limit=2'))[0].text, /claude-mem:\/\/prompt\//);
    assert.equal(
      (await worker.get('/api/search/observations?query=zzzznothing&mode=keyword'))[0].text,
      'Search for "zzzznothing": nothing found.',
    );

    const byType = await worker.get('/api/search/by-type?type=bugfix&limit=4&format=json');
    assert.ok(byType.length === 4 && byType.every(({ type }) => type === 'bugfix'));
    const byConcept = await worker.get('/api/search/by-concept?concept=gotcha&limit=4&format=json');
    assert.ok(byConcept.length === 4 && byConcept.every(({ concepts }) => concepts.includes('gotcha')));
    const byFile = await worker.get('/api/search/by-file?filePath=SessionStore.ts&limit=4&format=json');
    assert.deepEqual(Object.keys(byFile).toSorted(), ['observations', 'sessions']);
    assert.ok(byFile.observations.every((row) => (row.files_read + row.files_modified).includes('SessionStore.ts')));
    assert.match(
      (await worker.get('/api/search/by-file?filePath=SessionStore.ts&limit=2'))[0].text,
      /File "SessionStore\.ts"/,
    );
    const help = await worker.get('/api/search/help');
    assert.ok(help.endpoints.some(({ path: route }) => route === '/api/timeline/by-query'));
  },
);

test(
  'timelines: by observation, session, date and query',
  { skip: !HAS_FIXTURE && 'no ../shared/fixtures here' },
  async (t) => {
    const worker = await workerOnFixture(t);
    const around = await worker.get('/api/context/timeline?anchor=123&depth_before=2&depth_after=3&format=json');
    assert.deepEqual(around.anchor.id, 123);
    assert.ok(around.observations.some(({ id }) => id === 123));
    assert.ok(around.observations.length >= 6);
    assert.match((await worker.get('/api/context/timeline?anchor=123'))[0].text, /#123 .* ← anchor/);
    assert.equal((await worker.get('/api/context/timeline?anchor=S12&format=json')).anchor.kind, 'session');
    assert.equal(
      (await worker.get('/api/context/timeline?anchor=2025-09-10T00:00:00Z&format=json')).anchor.kind,
      'moment',
    );
    assert.match((await worker.get('/api/timeline/by-query?query=pending+queue'))[0].text, /^Timeline around /);
    assert.match(
      (await worker.get('/api/timeline/by-query?query=pending+queue&mode=interactive&limit=2'))[0].text,
      /\n2\. \[/,
    );
    assert.match((await worker.get('/api/context/recent'))[0].text, /^# Recent sessions of /);
    assert.match((await worker.get('/api/context/recent?project=claude-mem&limit=2'))[0].text, /\*\*Request:\*\*/);
  },
);

test('bad input is 400, what is not there 404, and always {error}', async (t) => {
  const {
    worker,
    ids: [id],
  } = await workerWithSessions(t);
  const cases = [
    [400, 'GET', '/api/observations?limit=0'],
    [400, 'GET', '/api/observations?offset=-1'],
    [400, 'GET', '/api/observations?limit=ten'],
    [400, 'GET', '/api/observations?limit=1&limit=2'],
    [400, 'GET', '/api/search/observations'],
    [400, 'GET', '/api/search/observations?query=a&type=insight'],
    [400, 'GET', '/api/search/observations?query=a&orderBy=size'],
    [400, 'GET', '/api/search/observations?query=a&format=xml'],
    [400, 'GET', '/api/search/observations?query=a&dateRange=yesterday'],
    [400, 'GET', '/api/search/by-type'],
    [400, 'GET', '/api/search/by-concept'],
    [400, 'GET', '/api/search/by-file'],
    [400, 'GET', '/api/context/timeline'],
    [400, 'GET', '/api/context/timeline?anchor=soon'],
    [404, 'GET', '/api/context/timeline?anchor=999999'],
    [404, 'GET', '/api/context/timeline?anchor=S999999'],
    [400, 'GET', '/sessions/abc/status'],
    [400, 'POST', '/sessions/abc/complete', {}],
    [400, 'DELETE', '/sessions/0'],
    [404, 'POST', '/sessions/999/complete', {}],
    [404, 'DELETE', '/sessions/999'],
    [404, 'POST', '/sessions/999/init', { project: 'p', userPrompt: 'u' }],
    [404, 'POST', '/sessions/999/observations', { tool_name: 'Read' }],
    [404, 'POST', '/sessions/999/summarize', {}],
    [400, 'POST', `/sessions/${id}/observations`],
    [400, 'POST', `/sessions/${id}/observations`, []],
    [400, 'POST', `/sessions/${id}/observations`, null],
    [400, 'POST', `/sessions/${id}/observations`, { tool_name: 7 }],
    [400, 'POST', `/sessions/${id}/observations`, { tool_name: 'Read', prompt_number: 'first' }],
    [400, 'POST', '/api/mcp/toggle', { enabled: 'yes' }],
    [404, 'GET', '/api/nothing'],
    [404, 'GET', '/../package.json'],
    [404, 'PUT', `/sessions/${id}/observations`, {}],
  ];
  for (const [status, method, target, body] of cases) {
    const answer = await worker.request(method, target, { body });
    assert.equal(answer.status, status, `${method} ${target}: ${answer.text}`);
    assert.equal(typeof answer.json?.error, 'string', `${method} ${target}: ${answer.text}`);
    assert.ok(answer.json.error.length > 10, answer.text);
  }
  const notJson = await worker.request('POST', `/sessions/${id}/observations`, { raw: '{"tool_name":' });
  assert.equal(notJson.status, 400);
  assert.match(notJson.json.error, /not valid JSON/);
  const wrongType = await worker.request('POST', `/sessions/${id}/observations`, {
    raw: '{}',
    headers: { 'Content-Type': 'text/plain' },
  });
  assert.equal(wrongType.status, 400);
  assert.match(wrongType.json.error, /Content-Type/);
  assert.equal((await worker.get('/api/processing-status')).isProcessing, false);
});

test('a body of 50 MB is taken, a larger one is refused', async (t) => {
  const {
    worker,
    ids: [id],
  } = await workerWithSessions(t);
  const large = JSON.stringify(readCall('large', { tool_response: 'x'.repeat(45 * 1024 * 1024) }));
  assert.equal((await worker.request('POST', `/sessions/${id}/observations`, { raw: large })).status, 200);
  await worker.idle();
  assert.equal((await worker.get('/api/observations')).items.length, 1);
  const tooLarge = JSON.stringify(readCall('large', { tool_response: 'x'.repeat(50 * 1024 * 1024) }));
  const answer = await worker.request('POST', `/sessions/${id}/observations`, { raw: tooLarge });
  assert.equal(answer.status, 413);
  assert.match(answer.json.error, /50 MB/);
});

test('requests that are not HTTP, or end in the middle, harm nobody', async (t) => {
  const {
    worker,
    ids: [id],
  } = await workerWithSessions(t);
  const speak = (text, { cut = false } = {}) =>
    new Promise((resolve) => {
      const socket = net.connect(worker.port, '127.0.0.1', () => {
        socket.write(text);
        if (cut) setTimeout(() => socket.resetAndDestroy(), 30);
      });
      let said = '';
      socket.on('data', (chunk) => {
        said += chunk;
      });
      socket.on('error', () => {});
      socket.on('close', () => resolve(said));
    });
  assert.match(await speak('not http at all\r\n\r\n'), /^HTTP\/1\.1 400 [\s\S]*\{"error"/);
  const head = `POST /sessions/${id}/observations HTTP/1.1\r\nHost: 127.0.0.1:${worker.port}\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{"tool`;
  await speak(head, { cut: true });
  await speak(`GET /stream HTTP/1.1\r\nHost: 127.0.0.1:${worker.port}\r\n\r\n`, { cut: true });
  assert.equal((await worker.get('/health')).status, 'ok');
  assert.equal((await worker.get('/api/processing-status')).queueDepth, 0);
});

test('only this machine, and only its own page, may ask', async (t) => {
  const { worker } = await workerWithSessions(t);
  const { port } = worker;
  const status = async (headers, method = 'GET') => (await worker.request(method, '/api/stats', { headers })).status;
  for (const host of [`127.0.0.1:${port}`, `localhost:${port}`, `LOCALHOST:${port}`, `[::1]:${port}`]) {
    assert.equal(await status({ Host: host }), 200, host);
  }
  for (const host of [
    'evil.example',
    `evil.example:${port}`,
    'localhost',
    `127.0.0.1.evil.example:${port}`,
    `127.0.0.1:${port + 1}`,
  ]) {
    assert.equal(await status({ Host: host }), 403, host);
  }
  assert.equal(await status({ Origin: `http://127.0.0.1:${port}` }), 200);
  assert.equal(await status({ Origin: `http://localhost:${port}` }), 200);
  for (const origin of [
    'https://evil.example',
    'null',
    `http://evil.example:${port}`,
    `https://localhost:${port}`,
    'http://localhost:3000',
  ]) {
    assert.equal(await status({ Origin: origin }), 403, origin);
    assert.equal(await status({ Origin: origin }, 'OPTIONS'), 403, origin);
  }
  assert.equal(await status({ 'Sec-Fetch-Site': 'cross-site', 'Sec-Fetch-Mode': 'no-cors' }), 403);
  const refused = await worker.request('GET', '/api/stats', { headers: { Origin: 'https://evil.example' } });
  assert.equal(typeof refused.json.error, 'string');
  const served = await worker.request('GET', '/', { headers: { Origin: `http://localhost:${port}` } });
  assert.equal(served.headers['access-control-allow-origin'], undefined);
  assert.match(served.headers['content-security-policy'], /default-src 'none'/);
  await assert.rejects(
    new Promise((resolve, reject) => {
      const address = Object.values(require('node:os').networkInterfaces())
        .flat()
        .find(({ internal, family }) => !internal && family === 'IPv4')?.address;
      if (address === undefined) reject(new Error('no other address to try'));
      else http.get({ host: address, port, path: '/health' }, resolve).once('error', reject);
    }),
    'the worker listens on another address than 127.0.0.1',
  );
});

test('settings: precedence, checks, and nothing else in the file is touched', async (t) => {
  const dataDir = temporaryDirectory(t);
  const home = temporaryDirectory(t);
  const file = path.join(dataDir, 'settings.json');
  fs.mkdirSync(path.join(home, '.claude'));
  fs.writeFileSync(
    path.join(home, '.claude', 'settings.json'),
    JSON.stringify({
      env: { CLAUDE_MEM_CONTEXT_OBSERVATIONS: '77', CLAUDE_MEM_MODEL: 'from-home' },
    }),
  );
  fs.writeFileSync(file, JSON.stringify({ theme: 'dark', env: { CLAUDE_MEM_MODEL: 'from-data-dir', OTHER: '1' } }));
  const worker = await new WorkerUnderTest(t, {
    dataDir,
    home,
    environment: { CLAUDE_MEM_CONTEXT_OBSERVATIONS: '5', CLAUDE_MEM_WORKER_PORT: '4567' },
  }).start();
  assert.deepEqual(await worker.get('/api/settings'), {
    CLAUDE_MEM_MODEL: 'from-data-dir',
    CLAUDE_MEM_CONTEXT_OBSERVATIONS: '77',
    CLAUDE_MEM_WORKER_PORT: '4567',
  });
  assert.equal(
    (await worker.post('/api/settings', { CLAUDE_MEM_CONTEXT_OBSERVATIONS: '120', CLAUDE_MEM_WORKER_PORT: 40123 }))
      .success,
    true,
  );
  assert.deepEqual(JSON.parse(fs.readFileSync(file, 'utf8')), {
    theme: 'dark',
    env: {
      CLAUDE_MEM_MODEL: 'from-data-dir',
      OTHER: '1',
      CLAUDE_MEM_CONTEXT_OBSERVATIONS: '120',
      CLAUDE_MEM_WORKER_PORT: '40123',
    },
  });
  const before = fs.readFileSync(file, 'utf8');
  for (const body of [
    { CLAUDE_MEM_CONTEXT_OBSERVATIONS: '0' },
    { CLAUDE_MEM_CONTEXT_OBSERVATIONS: 201 },
    { CLAUDE_MEM_CONTEXT_OBSERVATIONS: '1e2' },
    { CLAUDE_MEM_WORKER_PORT: '1023' },
    { CLAUDE_MEM_WORKER_PORT: '65536' },
    { CLAUDE_MEM_MODEL: '' },
    { CLAUDE_MEM_MODEL: { a: 1 } },
    { CLAUDE_MEM_AGENT_COMMAND: 'rm -rf /' },
    { NODE_OPTIONS: '--require evil' },
    { __proto__: null, toString: 'x' },
    {},
  ]) {
    const answer = await worker.request('POST', '/api/settings', { body });
    assert.equal(answer.status, 400, JSON.stringify(body));
    assert.equal(typeof answer.json.error, 'string');
  }
  assert.equal(fs.readFileSync(file, 'utf8'), before);
  await Promise.all(
    Array.from({ length: 10 }, (_, index) => worker.post('/api/settings', { CLAUDE_MEM_MODEL: `m${index}` })),
  );
  assert.match(JSON.parse(fs.readFileSync(file, 'utf8')).env.CLAUDE_MEM_MODEL, /^m\d$/);
  assert.deepEqual(
    fs.readdirSync(dataDir).filter((name) => name.endsWith('.tmp')),
    [],
  );

  assert.deepEqual(await worker.get('/api/mcp/status'), { enabled: true });
  assert.deepEqual(await worker.post('/api/mcp/toggle', { enabled: false }), { success: true, enabled: false });
  assert.deepEqual(await worker.get('/api/mcp/status'), { enabled: false });
});

test('the same dedupe key is queued once, in the body or as a header', async (t) => {
  const {
    worker,
    ids: [id],
  } = await workerWithSessions(t);
  for (let round = 0; round < 3; round += 1) {
    await worker.post(`/sessions/${id}/observations`, readCall('once', { dedupe_key: 'k1' }));
    await worker.request('POST', `/sessions/${id}/observations`, {
      body: readCall('header'),
      headers: { 'Idempotency-Key': 'k2' },
    });
    await worker.idle();
  }
  const titles = (await worker.get('/api/observations')).items.map(({ title }) => title).toSorted();
  assert.deepEqual(titles, ['header.js defines header', 'once.js defines once']);
});

test('a full queue is refused with what is full, and nothing is dropped', async (t) => {
  const {
    worker,
    ids: [id],
  } = await workerWithSessions(t, 1, {
    args: ['--agent', TEST_AGENT],
    environment: { CLAUDE_MEM_TEST_AGENT_DIR: holdDirectory(t) },
  });
  const body = JSON.stringify(readCall('big', { tool_response: 'x'.repeat(40 * 1024 * 1024) }));
  let taken = 0;
  let answer;
  for (;;) {
    answer = await worker.request('POST', `/sessions/${id}/observations`, { raw: body });
    if (answer.status !== 200) break;
    taken += 1;
    assert.ok(taken < 7, 'seven messages of 40 MB fit into 256 MiB');
  }
  assert.equal(answer.status, 429);
  assert.equal(answer.json.code, 'ERR_QUEUE_FULL');
  assert.equal((await worker.get('/api/processing-status')).queueDepth, taken);
});

test('a client of the stream that stops reading is dropped, the others still hear', async (t) => {
  const {
    worker,
    ids: [id],
  } = await workerWithSessions(t, 1, {
    args: ['--agent', TEST_AGENT],
    environment: { CLAUDE_MEM_TEST_AGENT_DIR: temporaryDirectory(t), CLAUDE_MEM_TEST_AGENT_NARRATIVE: '1000000' },
  });
  const socket = net.connect(worker.port, '127.0.0.1');
  t.after(() => socket.destroy());
  socket.on('error', () => {});
  socket.write(`GET /stream HTTP/1.1\r\nHost: 127.0.0.1:${worker.port}\r\n\r\n`);
  socket.pause();
  const clients = async () => (await worker.get('/api/stats')).worker.sseClients;
  await worker.until(async () => (await clients()) === 1, 'the client');
  const { events, response } = await worker.listen();
  t.after(() => response.destroy());
  await worker.until(async () => (await clients()) === 2, 'the other client');
  // What the system's own socket buffers take comes first, some megabytes; then the worker's bound counts.
  let sent = 0;
  for (; sent < 60 && (await clients()) === 2; sent += 1) {
    await worker.post(`/sessions/${id}/observations`, readCall('event'));
    await worker.idle();
  }
  assert.equal(await clients(), 1, `${sent} events of 1 MB wait for a client that does not read`);
  await worker.until(
    () => events.filter(({ type }) => type === 'new_observation').length === sent,
    'the events of the other client',
  );
});

function holdDirectory(t) {
  const directory = temporaryDirectory(t);
  fs.writeFileSync(path.join(directory, 'hold'), '');
  return directory;
}
