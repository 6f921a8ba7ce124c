'use strict';
// The example worker as a whole, in a process of its own: resident memory with everything indexed, idle and embedding;
// and what it is like while everything gets its vectors in the background.

const fs = require('node:fs');
const path = require('node:path');
const { fork } = require('node:child_process');
const { once } = require('node:events');
const { setTimeout: sleep } = require('node:timers/promises');
const { copyIndexed, copyPart, variants, whyNot } = require('../indexed.cjs');
const { observe } = require('../observe.cjs');

const CELL_MS = 2 * 3_600_000;

/** Starts a worker and has it do things, one after the other; resolves their answers. */
async function inWorker(dataDir, things, quick) {
  const script = path.join(__dirname, '../worker/process.cjs');
  const child = fork(script, [dataDir, quick ? 'quick' : ''], {
    execArgv: ['--expose-gc'],
    stdio: ['ignore', 'ignore', 'inherit', 'ipc'],
  });
  const exited = once(child, 'exit');
  const next = async () => {
    const [message] = await Promise.race([
      once(child, 'message'),
      exited.then(([code, signal]) => [{ failure: `the worker ended with ${code ?? signal}` }]),
    ]);
    if (message.failure) throw new Error(message.failure);
    return message.answer;
  };
  try {
    await next();
    const answers = [];
    for (const thing of things) {
      child.send(thing);
      answers.push(await next());
    }
    child.send('stop');
    await exited;
    return answers;
  } finally {
    child.kill('SIGKILL'); // nothing where it has ended
  }
}

function folder(directory, name) {
  const place = path.join(directory, name);
  fs.mkdirSync(place);
  return place;
}

module.exports = {
  title: 'The example worker on the reference database',
  accepts: ({ id }) => id === 'native' || id === 'idle',
  unavailable: whyNot,
  peer: 'idle',
  cellMs: CELL_MS,
  repetitions: 3,
  variants: variants(),
  measures: {
    idle: { title: 'resident, idle, all indexed, model unloaded', unit: 'MB', wanted: { atMost: 150 } },
    embedding: { title: 'resident, largest while embedding', unit: 'MB', wanted: { atMost: 280 } },
    seconds: { title: 'back-filling', unit: 's' },
    rate: { title: 'back-filling, documents', unit: 'documents/s', better: 'more' },
    backfill: { title: 'resident, largest while back-filling', unit: 'MB', wanted: { atMost: 280 } },
    p99: { title: 'event-loop delay p99 while back-filling', unit: 'ms', wanted: { above: 2 } },
    heap: { title: 'heapUsed after back-filling, above that before', unit: 'MB' },
  },
  async run(driver, { directory, variant, quick }) {
    if (driver.provides.includes('idle')) {
      const { process } = await observe(() => sleep(quick ? 20 : 2_000));
      return { measures: { p99: process.delayP99 }, process };
    }
    const { observations } = variant;
    const bare = folder(directory, 'bare');
    await copyPart(bare, observations, quick);
    const [filled] = await inWorker(bare, ['backfill'], quick);
    const indexed = folder(directory, 'indexed');
    await copyIndexed(indexed, observations, quick);
    const [idle, embedding] = await inWorker(indexed, ['idle', 'embedding'], quick);
    const measures = {
      idle: idle.resident / 1e6,
      embedding: embedding.resident / 1e6,
      seconds: filled.ms / 1_000,
      rate: filled.documents / (filled.ms / 1_000),
      backfill: filled.resident / 1e6,
      p99: filled.process.delayP99,
      heap: filled.heapGrowth / 1e6,
    };
    return { measures, process: filled.process };
  },
};
