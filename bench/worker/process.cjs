'use strict';
// The example worker in a process of its own, which does on demand what the trial `worker-memory` asks it for and
// answers with what it saw of itself.

const path = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');
const { createAgent } = require('../../examples/worker/agents/rule-based.cjs');
const { SettingsFile } = require('../../examples/worker/settings-file.cjs');
const { startWorker } = require('../../examples/worker/worker.cjs');
const { modelFile } = require('../embedding/model.cjs');
const { corpus } = require('../embedding/texts.cjs');
const { observe } = require('../observe.cjs');

const MODEL_IDLE_MS = 1_000;
const POLL_MS = 250;
const SAMPLE_MS = 20;

/** The largest resident size while `work` runs, bytes. */
async function residentPeak(work) {
  let peak = 0;
  const sample = () => (peak = Math.max(peak, process.memoryUsage.rss()));
  const sampling = setInterval(sample, SAMPLE_MS);
  await work();
  sample();
  clearInterval(sampling);
  return peak;
}

/** Waits until a condition holds of the index. */
async function until(memory, holds) {
  for (;;) {
    const status = await memory.vectors.status();
    if (status.model.reason) throw new Error(status.model.reason);
    if (holds(status)) return status;
    await sleep(POLL_MS);
  }
}

const heapUsed = () => {
  for (let i = 0; i < 3; i += 1) globalThis.gc();
  return process.memoryUsage().heapUsed;
};

const work = {
  /** Resident size after a query, once the model is out of memory again. */
  async idle(memory) {
    await memory.search.all('why were valid tokens refused', { limit: 20 });
    await until(memory, ({ model }) => model.availability === 'unloaded');
    await sleep(POLL_MS);
    return { resident: process.memoryUsage.rss() };
  },

  /** The largest resident size while texts of all lengths are embedded. */
  async embedding(memory, quick) {
    const documents = Object.values(corpus(1, quick))
      .flat()
      .map((text, index) => ({ id: String(index), text }));
    const collection = memory.vectors.collection('bench');
    return { resident: await residentPeak(() => collection.upsert(documents)) };
  },

  /** All documents get their vectors in the background. */
  async backfill(memory) {
    const before = heapUsed();
    let documents = 0;
    let resident = 0;
    const observed = await observe(async () => {
      resident = await residentPeak(async () => {
        const status = await until(memory, (now) => now.documents > 0 && now.pending === 0);
        documents = status.documents;
      });
    });
    return { documents, resident, ms: observed.ms, heapGrowth: heapUsed() - before, process: observed.process };
  },
};

async function main() {
  const [, , dataDir, quick] = process.argv;
  const worker = await startWorker({
    dataDir,
    port: 0,
    agent: createAgent(),
    settings: new SettingsFile(dataDir),
    memoryOptions: { modelDir: path.dirname(modelFile()), modelIdleMs: MODEL_IDLE_MS },
  });
  process.on('message', async (what) => {
    try {
      if (what === 'stop') {
        await worker.stop();
        process.disconnect();
      } else process.send({ answer: await work[what](worker.memory, quick === 'quick') });
    } catch (error) {
      process.send({ failure: error.stack });
    }
  });
  process.send({ answer: 'started' });
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
