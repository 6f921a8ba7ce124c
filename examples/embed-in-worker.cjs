'use strict';
// The smallest worker: opens the memory, takes messages, works on them in batches, searches, and closes in order.
//   node examples/embed-in-worker.cjs [data directory] [port, 0 for any]
// Where the engine cannot be loaded or opened it stays up, degraded: every route answers 503 with the reason. A process
// that ended instead would be started again and again by PM2, for the same reason each time.
const http = require('node:http');
const { buffer } = require('node:stream/consumers');
const { setTimeout: sleep } = require('node:timers/promises');

const [dataDir, port = '37777'] = process.argv.slice(2);
const FIELDS = { tool_name: 'text', tool_input: 'jsonText', tool_response: 'jsonText', prompt_number: 'integer' };
const STATUS = { ERR_INVALID_ARG: 400, ERR_NOT_FOUND: 404, ERR_QUEUE_FULL: 429, ERR_BUSY: 503, ERR_DISPOSED: 503 };
let [memory, stopping] = [null, false];
let reason = 'The worker is starting.';

/** Stands for your model: what is worth keeping of some messages. */
async function observe(messages) {
  const calls = messages.filter(({ type }) => type === 'observation');
  return { observations: calls.map(({ tool_name }) => ({ type: 'change', title: `Used ${tool_name}` })) };
}

/** One session after the other. In production several at once: see examples/worker/scheduler.cjs. */
async function work() {
  for await (const { sessionDbId } of memory.queue.ready()) {
    for await (const batch of memory.queue.consume(sessionDbId, { idleTimeoutMs: 1_000 })) {
      try {
        await batch.commit(await observe(batch.messages)); // rows stored and messages done, in one transaction
      } catch (error) {
        await batch.release({ error: error.message }).catch(() => {}); // comes again after a backoff, unless it is gone
      }
    }
  }
}

/** Loads and opens the engine, and works until it is told to stop; what fails is tried again after a second. */
async function run() {
  try {
    const { openMemory } = require('..'); // in your worker: require('claude-mem-native')
    memory = await openMemory({ dataDir });
    if (stopping) return await stop(); // asked to while it was opening
  } catch (error) {
    reason = `The engine is not available: ${error.message}`;
    console.error(reason);
    return;
  }
  for (; !stopping; await sleep(1_000, null, { ref: false }))
    await work().catch((error) => stopping || console.error(error));
}

async function answer(request) {
  const { pathname, searchParams: query } = new URL(request.url, 'http://localhost');
  if (memory === null) return [503, { status: 'critical', reasons: [reason] }];
  if (pathname === '/health') return [200, await memory.health()];
  if (pathname === '/search') return [200, await memory.search.all(query.get('query') ?? '', { limit: 10 })];
  if (request.method !== 'POST') return [404, { error: 'There is no such route.' }];
  const [, id, action] = /^\/sessions\/([^/]+)\/(init|observations)$/.exec(pathname) ?? [];
  if (action === 'init') return [200, await memory.store.beginPrompt(id, query.get('project'), query.get('prompt'))];
  if (action !== 'observations') return [404, { error: 'There is no such route.' }];
  const body = await buffer(request); // goes to the engine as it came; resolves when it is durable
  return [200, await memory.queue.enqueueRaw(Number(id), body, { type: 'observation', fields: FIELDS })];
}

const server = http.createServer(async (request, response) => {
  const failed = (error) => [STATUS[error.code] ?? 500, { error: error.message }];
  const [status, body] = await answer(request).catch(failed);
  response.writeHead(status, { 'Content-Type': 'application/json' }).end(JSON.stringify(body));
});

async function stop() {
  const open = memory;
  [memory, stopping, reason] = [null, true, 'The worker is shutting down.'];
  server.close();
  server.closeIdleConnections();
  await open?.dispose(); // ends the loops; a batch that is open goes back, and counts no attempt
}

server.listen(Number(port), '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}`));
for (const signal of ['SIGTERM', 'SIGINT']) process.once(signal, stop);
run();
