'use strict';
// health(): one object that a /health route can send as it is, whatever the disk does.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { execFileSync } = require('node:child_process');
const { describe, test } = require('node:test');
const { Worker } = require('node:worker_threads');

const foreign = require('./foreign/index.cjs');
const { version } = require('../package.json');
const { dataDirectory } = require('./data-directory.cjs');
const { NO_BACKOFF, message, next, openedMemory, settled, until } = require('./opened-memory.cjs');
const { BUN, without } = require('./runtime.cjs');

/** The names and kinds of an object's properties, in order. */
const shape = (value) =>
  value === null || typeof value !== 'object' || Array.isArray(value)
    ? Array.isArray(value)
      ? 'array'
      : value === null
        ? 'null'
        : typeof value
    : Object.fromEntries(Object.entries(value).map(([name, inner]) => [name, shape(inner)]));

const NUMBER = 'number';
const FILE = {
  path: 'string',
  bytes: NUMBER,
  walBytes: NUMBER,
  walPages: NUMBER,
  pinnedPages: NUMBER,
  freePages: NUMBER,
  lastCheckpointEpoch: 'null',
  waitingWrites: NUMBER,
  commits: NUMBER,
  sampledAtEpoch: NUMBER,
};
const SHAPE = {
  role: 'string',
  status: 'string',
  reasons: 'array',
  timestamp: NUMBER,
  uptimeMs: NUMBER,
  version: 'string',
  build: { target: 'string', profile: 'string', napi: NUMBER },
  sqliteVersion: 'string',
  heap: {
    usedBytes: NUMBER,
    allocatedBytes: NUMBER,
    limitBytes: NUMBER,
    limitSource: 'string',
    usedOfLimit: NUMBER,
    usedOfAllocated: NUMBER,
  },
  rssBytes: NUMBER,
  native: {
    totalBytes: NUMBER,
    sqliteBytes: NUMBER,
    inFlightWriteBytes: NUMBER,
    queueIndexBytes: NUMBER,
    vectorBytes: NUMBER,
    collectionBytes: NUMBER,
    modelBytes: NUMBER,
  },
  queue: {
    depth: NUMBER,
    bytes: NUMBER,
    oldestEpoch: NUMBER,
    oldestAgeMs: NUMBER,
    inFlight: NUMBER,
    attempts: NUMBER,
    dead: NUMBER,
    sessions: NUMBER,
    paused: NUMBER,
    unpurged: NUMBER,
    unpurgedBytes: NUMBER,
    enqueuedPerMinute: NUMBER,
    committedPerMinute: NUMBER,
    waitMs: { p50: NUMBER, p99: NUMBER },
    leaseMs: { p50: NUMBER, p99: NUMBER },
    dedupeEvicted: NUMBER,
    deadEvicted: NUMBER,
  },
  queueLimits: {
    maxMessageBytes: NUMBER,
    maxSessionMessages: NUMBER,
    maxSessionBytes: NUMBER,
    maxQueueBytes: NUMBER,
    maxDeadLetters: NUMBER,
  },
  sessions: { active: NUMBER, consumers: NUMBER },
  database: FILE,
  queueDatabase: FILE,
  index: {
    state: 'string',
    reason: 'null',
    rows: NUMBER,
    documents: NUMBER,
    embedded: NUMBER,
    pending: NUMBER,
    model: { name: 'string', dimensions: NUMBER, availability: 'string', reason: 'null' },
    otherModel: 'null',
    answers: 'string',
    precision: 'string',
    inMemory: NUMBER,
    vectorBytes: NUMBER,
    graphBytes: NUMBER,
    mapBytes: NUMBER,
    modelBytes: NUMBER,
    fileBytes: NUMBER,
    lastFeedEpoch: NUMBER,
    remade: NUMBER,
    lastDoubt: 'null',
  },
  handles: { memories: NUMBER, consumers: NUMBER, batches: NUMBER, ready: NUMBER, jobs: NUMBER },
  slowest: 'array',
};

/** The heap's limit on Bun, which has none. */
const NO_LIMIT = { limitBytes: 'null', usedOfLimit: 'null' };

test('is one object that survives JSON as it is', async (t) => {
  const { memory, session, put, directory, database } = await openedMemory(t, { embedder: 'external' });
  const id = await session();
  await put(id, 'a', 'b');
  await (await next(memory.queue.consume(id, { maxBatch: 1 }))).commit();
  await until(async () => {
    const { queueDatabase, index } = await memory.health();
    return queueDatabase.sampledAtEpoch !== null && index.lastFeedEpoch !== null;
  });
  const health = await memory.health();
  assert.deepEqual(shape(health), BUN ? { ...SHAPE, heap: { ...SHAPE.heap, ...NO_LIMIT } } : SHAPE);
  assert.deepEqual(JSON.parse(JSON.stringify(health)), health);
  assert.deepEqual([health.status, health.reasons], ['ok', []]);
  assert.equal(health.version, version);
  assert.match(health.sqliteVersion, /^3\.\d+\.\d+$/);
  assert.match(health.build.target, /^\w+-\w+$/);
  assert.ok(Math.abs(health.timestamp - Date.now()) < 60_000 && health.uptimeMs > 0);
  assert.ok(health.rssBytes > health.heap.usedBytes);
  assert.equal(health.database.path, database);
  assert.equal(health.queueDatabase.path, path.join(directory, 'native', 'queue.db'));
  assert.ok(health.native.totalBytes >= health.native.sqliteBytes && health.native.sqliteBytes > 0);
  for (const { name, ms, atEpoch } of health.slowest) {
    assert.ok(typeof name === 'string' && ms >= 0 && atEpoch <= health.timestamp);
  }
});

test('the queue and the sessions in figures', async (t) => {
  const { memory, session, put } = await openedMemory(t, NO_BACKOFF);
  const [id, other] = [await session('a'), await session('b')];
  const empty = (await memory.health()).queue;
  assert.deepEqual(
    [empty.depth, empty.oldestEpoch, empty.oldestAgeMs, empty.waitMs, empty.leaseMs],
    [0, null, null, null, null],
  );
  await put(id, 'a', 'b', 'c');
  await put(other, 'd');
  const consumer = memory.queue.consume(id, { maxBatch: 2 });
  await (await next(consumer)).release();
  await next(consumer);
  const { queue, sessions } = await memory.health();
  assert.deepEqual(
    [queue.depth, queue.bytes, queue.inFlight, queue.attempts, queue.sessions, queue.enqueuedPerMinute],
    [4, memory.queue.bytes(), 1, 1, 2, 4],
  );
  assert.deepEqual(sessions, { active: 2, consumers: 1 });
  assert.ok(queue.oldestAgeMs >= 0 && queue.waitMs.p99 >= queue.waitMs.p50);
  const batch = await next(consumer);
  await batch.commit();
  const after = (await memory.health()).queue;
  assert.deepEqual([after.inFlight, after.committedPerMinute], [0, 1]);
  assert.ok(after.leaseMs.p50 >= 0);
});

test('the figures of files are sampled, and carry their age', async (t) => {
  const { memory, session, put, database, directory } = await openedMemory(t);
  const id = await session();
  for (let n = 0; n < 20; n += 1) await put(id, 'x'.repeat(10_000));
  const bytesOf = (file) => fs.statSync(file).size;
  let health;
  await until(async () => {
    health = await memory.health();
    return health.queueDatabase.walBytes >= 200_000 || health.queueDatabase.bytes >= 200_000;
  });
  assert.ok(health.database.bytes <= bytesOf(database));
  assert.ok(health.queueDatabase.walBytes <= bytesOf(path.join(directory, 'native', 'queue.db-wal')));
  assert.ok(health.queueDatabase.commits >= 20);
  assert.ok(health.queueDatabase.sampledAtEpoch <= health.timestamp);
});

test('answers while another process holds the write locks, and says what waits', async (t) => {
  const { memory, session, database, directory } = await openedMemory(t);
  const id = await session();
  const hooks = [await foreign.hold(database), await foreign.hold(path.join(directory, 'native', 'queue.db'))];
  const writes = [
    memory.store.storeObservation('claude', 'project', { type: 'change' }, null, { deadlineMs: 120_000 }),
    memory.queue.enqueue(id, message('a'), { deadlineMs: 120_000 }),
  ];
  let settledWrites = 0;
  for (const write of writes) write.then(() => (settledWrites += 1));
  const times = [];
  for (let n = 0; n < 50; n += 1) {
    const startedAt = performance.now();
    const health = await settled(memory.health());
    times.push(performance.now() - startedAt);
    assert.equal(health.queue.depth, 1);
    assert.equal(settledWrites, 0, 'the locks are still held');
  }
  const health = await memory.health();
  assert.deepEqual([health.database.waitingWrites >= 1, health.queueDatabase.waitingWrites >= 1], [true, true]);
  assert.ok(health.native.inFlightWriteBytes >= JSON.stringify(message('a')).length);
  times.sort((a, b) => a - b);
  t.diagnostic(`health(): median ${times[25].toFixed(2)} ms, slowest ${times[49].toFixed(2)} ms (20 ms is promised)`);
  for (const hook of hooks) await hook.stop();
  await settled(Promise.all(writes));
});

test('counts what is open, by kind', async (t) => {
  const { memory, session, put } = await openedMemory(t);
  const counts = async () => (await memory.health()).handles;
  assert.deepEqual(await counts(), { memories: 1, consumers: 0, batches: 0, ready: 0, jobs: 0 });
  const id = await session();
  await put(id, 'a');
  const ready = [memory.queue.ready(), memory.queue.ready()];
  const consumers = [memory.queue.consume(id), memory.queue.consume(await session('other'))];
  const batch = await next(consumers[0]);
  assert.deepEqual(await counts(), { memories: 1, consumers: 2, batches: 1, ready: 2, jobs: 0 });
  await batch.commit();
  assert.deepEqual(await counts(), { memories: 1, consumers: 2, batches: 0, ready: 2, jobs: 0 });
  consumers[0].dispose();
  ready[0].dispose();
  assert.deepEqual(await counts(), { memories: 1, consumers: 1, batches: 0, ready: 1, jobs: 0 });
  const second = await openedMemory(t);
  assert.deepEqual(await second.memory.health().then(({ handles }) => handles), {
    memories: 2,
    consumers: 0,
    batches: 0,
    ready: 0,
    jobs: 0,
  });
  await second.memory.dispose();
  assert.equal((await counts()).memories, 1);
});

test('warns from 80 % of the queue, and is critical from 90 %', async (t) => {
  const { memory, session } = await openedMemory(t, { maxQueueBytes: 10_000 });
  const id = await session();
  const fill = (bytes) => memory.queue.enqueue(id, { x: 'x'.repeat(bytes - '{"x":""}'.length) });
  await fill(7_900);
  assert.equal((await memory.health()).status, 'ok');
  await fill(200);
  const warning = await memory.health();
  assert.equal(warning.status, 'warn');
  assert.match(warning.reasons.join(), /8100 of at most 10000 bytes.*maxQueueBytes/);
  await fill(1_000);
  assert.equal((await memory.health()).status, 'critical');
  await memory.queue.purge(id);
  assert.deepEqual([(await memory.health()).status, (await memory.health()).reasons], ['ok', []]);
});

describe('the limit of the heap', { skip: without('limit of the heap') }, () => {
  const CODE = (before = '') => `${before}
    const { openMemory } = require(${JSON.stringify(path.join(__dirname, '..'))});
    openMemory({ dataDir: process.env.TEST_DATA_DIR }).then(async (memory) => {
      const { heap, status } = await memory.health();
      await memory.dispose();
      require('node:fs').writeSync(1, JSON.stringify({ ...heap, status }));
    });`;

  /** The heap as a process with these flags tells of it. */
  function told(t, { flags = [], env = {}, before } = {}) {
    const { directory } = dataDirectory(t);
    const { NODE_OPTIONS: _, ...others } = process.env;
    const answer = execFileSync(process.execPath, [...flags, '--eval', CODE(before)], {
      env: { ...others, ...env, TEST_DATA_DIR: directory },
      encoding: 'utf8',
    });
    return JSON.parse(answer);
  }
  const limit = ({ limitBytes, limitSource }) => [limitBytes / 1_048_576, limitSource];

  test('is that of the old generation, as execArgv states it', (t) => {
    assert.deepEqual(limit(told(t, { flags: ['--max-old-space-size=77'] })), [77, 'execArgv']);
    assert.deepEqual(limit(told(t, { flags: ['--max_old_space_size=78'] })), [78, 'execArgv']);
  });

  test('or NODE_OPTIONS; a flag of the process itself goes before', (t) => {
    const env = { NODE_OPTIONS: '--no-warnings --max-old-space-size=88' };
    assert.deepEqual(limit(told(t, { env })), [88, 'NODE_OPTIONS']);
    assert.deepEqual(limit(told(t, { env, flags: ['--max-old-space-size=99'] })), [99, 'execArgv']);
  });

  test('else heap_size_limit', (t) => {
    const heap = told(t);
    assert.equal(heap.limitSource, 'heap_size_limit');
    assert.ok(heap.limitBytes > 100 << 20);
    assert.equal(heap.usedOfLimit, heap.usedBytes / heap.limitBytes);
    assert.equal(heap.usedOfAllocated, heap.usedBytes / heap.allocatedBytes);
    assert.equal(heap.status, 'ok', 'used of allocated is never alarmed');
  });

  test('or the resourceLimits of a worker_threads thread', async (t) => {
    const { directory } = dataDirectory(t);
    const code = `
      const { parentPort, workerData } = require('node:worker_threads');
      const { openMemory } = require(workerData.module);
      openMemory({ dataDir: workerData.directory }).then(async (memory) => {
        const { heap } = await memory.health();
        await memory.dispose();
        parentPort.postMessage(heap);
      });`;
    const worker = new Worker(code, {
      eval: true,
      workerData: { module: path.join(__dirname, '..'), directory },
      resourceLimits: { maxOldGenerationSizeMb: 66 },
    });
    const heap = await settled(
      new Promise((resolve, reject) => {
        worker.once('message', resolve);
        worker.once('error', reject);
      }),
    );
    await worker.terminate();
    assert.deepEqual(limit(heap), [66, 'resourceLimits']);
  });

  test('is what the status is made of', (t) => {
    // Small enough for a few arrays to fill it to more than 80 %, and less than 100.
    const before = `globalThis.ballast = [];
      const { getHeapStatistics } = require('node:v8');
      while (getHeapStatistics().used_heap_size < 0.85 * (64 << 20)) globalThis.ballast.push(new Array(10_000).fill(0));`;
    const heap = told(t, { flags: ['--max-old-space-size=64'], before });
    assert.ok(heap.usedOfLimit > 0.8, `${heap.usedOfLimit}`);
    assert.equal(heap.status, heap.usedOfLimit >= 0.9 ? 'critical' : 'warn');
  });
});

test('a runtime without a limit of the heap is told as such', { skip: !BUN && 'Node has one' }, async (t) => {
  const { memory } = await openedMemory(t);
  const { heap, status } = await memory.health();
  assert.deepEqual([heap.limitBytes, heap.usedOfLimit, heap.limitSource, status], [null, null, 'none', 'ok']);
  assert.ok(heap.usedBytes > 0 && heap.allocatedBytes > 0 && heap.usedOfAllocated > 0);
});

test('ten thousand waiting messages leave the heap where it was', async (t) => {
  const { directory } = dataDirectory(t);
  const code = `
    const { openMemory } = require(${JSON.stringify(path.join(__dirname, '..'))});
    (async () => {
      const memory = await openMemory({ dataDir: ${JSON.stringify(directory)} });
      const id = await memory.store.createSDKSession('claude', 'project', 'ask');
      const put = async (count) => {
        for (let n = 0; n < count; n += 50) {
          const text = 'x'.repeat(4_000);
          await Promise.all(Array.from({ length: 50 }, () => memory.queue.enqueue(id, { type: 'observation', text })));
        }
        gc();
        return process.memoryUsage().heapUsed;
      };
      const before = await put(500);
      const grown = (await put(9_500)) - before;
      await memory.dispose();
      require('node:fs').writeSync(1, String(grown));
    })();`;
  const grown = Number(execFileSync(process.execPath, ['--expose-gc', '--eval', code], { encoding: 'utf8' }));
  t.diagnostic(`heapUsed grew by ${grown} bytes over 9,500 messages of 4 KB`);
  assert.ok(grown < 1 << 20, `${grown}`);
});

test('the module listens to nothing: 5,000 waits warn nobody and leave no listener', async (t) => {
  const warnings = [];
  const warn = (warning) => warnings.push(String(warning));
  process.on('warning', warn);
  t.after(() => process.off('warning', warn));
  const listeners = () => process.eventNames().reduce((sum, name) => sum + process.listenerCount(name), 0);
  const { memory, session } = await openedMemory(t);
  const before = listeners();
  const ids = await Promise.all(Array.from({ length: 50 }, (_, n) => session(`${n}`)));
  for (let round = 0; round < 100; round += 1) {
    const consumers = ids.map((id) => memory.queue.consume(id));
    const pending = consumers.map((consumer) => consumer.next());
    for (const consumer of consumers) consumer.dispose();
    await settled(Promise.all(pending));
  }
  assert.equal(listeners(), before);
  for (const handle of [memory, memory.queue, memory.queue.consume(ids[0])]) {
    assert.equal(handle.on ?? handle.addListener ?? handle.addEventListener, undefined);
  }
  await new Promise((resolve) => setImmediate(resolve));
  assert.deepEqual(warnings, []);
});

test('the limits of the queues are those that the memory was opened with', async (t) => {
  const limits = {
    maxMessageBytes: 2_048,
    maxSessionMessages: 7,
    maxSessionBytes: 4_096,
    maxQueueBytes: 8_192,
    maxDeadLetters: 3,
  };
  const { memory, session } = await openedMemory(t, limits);
  assert.deepEqual((await memory.health()).queueLimits, limits);
  const id = await session();
  // Six times 1,200 bytes are 88 % of 8,192: what the status says is what a script makes of the figures.
  for (const name of ['a', 'b'])
    for (let count = 0; count < 3; count += 1)
      await memory.queue.enqueue(
        name === 'a' ? id : await session(name),
        message(name, { tool_response: 'x'.repeat(1_080) }),
      );
  const { queue, queueLimits, status, reasons } = await memory.health();
  const share = queue.bytes / queueLimits.maxQueueBytes;
  assert.ok(share >= 0.8 && share < 0.9, `${share}`);
  assert.equal(status, 'warn', reasons.join());
});
