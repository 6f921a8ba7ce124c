'use strict';
// The figures of docs/operations.md: `node --expose-gc docs/figures.cjs` prints them as JSON.
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { openMemory } = require('..');

const MEGABYTE = 1_000_000;
const directories = [];

function directory() {
  const made = fs.mkdtempSync(path.join(os.tmpdir(), 'claude-mem-native-figures-'));
  directories.push(made);
  return made;
}

/** The heap after a collection, MB. */
async function heap() {
  for (let round = 0; round < 3; round += 1) {
    globalThis.gc?.();
    await new Promise(setImmediate);
  }
  return process.memoryUsage().heapUsed / MEGABYTE;
}

/** Open files and threads of this process; only Linux tells. */
function held() {
  const count = (name) => (fs.existsSync(name) ? fs.readdirSync(name).length : null);
  return { files: count('/proc/self/fd'), threads: count('/proc/self/task') };
}

async function queueing() {
  const memory = await openMemory({ dataDir: directory() });
  const sessions = [];
  for (let number = 0; number < 400; number += 1) {
    sessions.push(await memory.store.createSDKSession(`session-${number}`, 'p', 'prompt'));
  }
  const before = await heap();
  const tool_response = 'x'.repeat(4_300);
  for (let round = 0; round < 50; round += 1) {
    await Promise.all(sessions.map((id) => memory.queue.enqueue(id, { type: 'observation', tool_response })));
  }
  const grown = (await heap()) - before;
  const { queue } = await memory.health();
  await memory.dispose();

  const small = await openMemory({ dataDir: directory(), maxSessionMessages: 100 });
  const id = await small.store.createSDKSession('full', 'p', 'prompt');
  let refused = null;
  while (refused === null) await small.queue.enqueue(id, { type: 'observation' }).catch((error) => (refused = error));
  const bound = { code: refused.code, depth: small.queue.depth(id) };
  await small.dispose();
  return { messages: queue.depth, bytes: queue.bytes, heapGrowthMB: grown, bound };
}

async function vectors() {
  const dimensions = 384;
  const budget = 2 << 20;
  const options = { embedder: 'external', model: { name: 'figures', dimensions }, indexing: 'manual' };
  const memory = await openMemory({ dataDir: directory(), vectorMemoryBudget: budget, ...options });
  const embed = () => Float32Array.from({ length: dimensions }, () => Math.random() - 0.5);
  const before = await heap();
  const steps = [];
  for (let step = 1; step <= 4; step += 1) {
    for (let number = 0; number < 2_000; number += 1) {
      await memory.store.storeObservation('session', 'p', { type: 'change', narrative: `note ${step} ${number}` });
    }
    await memory.vectors.sync();
    for (;;) {
      const pending = await memory.vectors.pending({ limit: 500 });
      if (pending.length === 0) break;
      await memory.vectors.put(pending.map((document) => ({ ...document, vector: embed() })));
    }
    await memory.vectors.search({ vector: embed(), k: 1 });
    const { index, native } = await memory.health();
    const { documents, answers, precision, inMemory } = index;
    steps.push({ documents, answers, precision, inMemory, vectorBytes: native.vectorBytes });
  }
  const grown = (await heap()) - before;
  await memory.dispose();
  return { budget, heapGrowthMB: grown, steps };
}

async function connections() {
  const dataDir = directory();
  const round = async () => {
    const memory = await openMemory({ dataDir });
    await memory.store.getAllProjects();
    await memory.search.observations('word', { mode: 'keyword' });
    await memory.dispose();
  };
  for (let number = 0; number < 5; number += 1) await round();
  const before = held();
  for (let number = 0; number < 200; number += 1) await round();
  return { rounds: 200, before, after: held() };
}

async function listeners() {
  const warnings = [];
  process.on('warning', (warning) => warnings.push(warning.name));
  const counted = () => process.eventNames().reduce((sum, name) => sum + process.listenerCount(name), 0);
  const memory = await openMemory({ dataDir: directory() });
  const id = await memory.store.createSDKSession('session', 'p', 'prompt');
  const before = counted();
  const consumer = memory.queue.consume(id, { keepAlive: true });
  for (let wait = 0; wait < 5_000; wait += 1) {
    const next = consumer.next(); // waits: the queue is empty
    await memory.queue.enqueue(id, { type: 'observation' });
    await (await next).value.commit();
  }
  const after = counted();
  await memory.dispose();
  return { waits: 5_000, listenersBefore: before, listenersAfter: after, warnings };
}

async function main() {
  const figures = {
    queueing: await queueing(),
    vectors: await vectors(),
    connections: await connections(),
    listeners: await listeners(),
  };
  console.log(JSON.stringify({ node: process.version, ...figures }, null, 2));
}

main()
  .catch((error) => {
    console.error(error);
    process.exitCode = 1;
  })
  .finally(() => directories.forEach((made) => fs.rmSync(made, { recursive: true, force: true })));
