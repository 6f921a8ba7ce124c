'use strict';
// Ends worker_threads threads in mid-flight, again and again: `node crossing-terminate.cjs <rounds> <how>`.
// `how`: `terminate` from outside, `exit` from inside; with `-loaded` the main thread has the module too.

const fs = require('node:fs');
const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads');

async function rounds() {
  const [count, how] = [Number(process.argv[2]), process.argv[3]];
  const main = how.endsWith('-loaded') ? new (require('../fault/index.cjs').CrossingProbe)() : null;
  for (let round = 0; round < count; round++) {
    const worker = new Worker(__filename, { workerData: { how, round } });
    const failed = new Promise((_, reject) => worker.on('error', reject));
    const exited = new Promise((resolve) => worker.on('exit', resolve));
    await Promise.race([new Promise((resolve) => worker.once('message', resolve)), failed]);
    // From 0 to 19 ms: each round meets the threads at another moment.
    await new Promise((resolve) => setTimeout(resolve, round % 20));
    if (how.startsWith('terminate')) await worker.terminate();
    else await exited;
    if (main && (await main.echo(round)) !== round) throw new Error('the main thread got a wrong answer');
  }
  main?.dispose();
  // Node unloads what only a thread had loaded; the module must have pinned itself.
  const maps = '/proc/self/maps';
  if (fs.existsSync(maps) && !fs.readFileSync(maps, 'utf8').includes('claude-mem-native-fault')) {
    throw new Error('the module was unloaded while its threads may still run');
  }
  console.log(`${count} rounds`);
}

function traffic() {
  const { CrossingProbe } = require('../fault/index.cjs');
  const probes = [new CrossingProbe(), new CrossingProbe(true)];
  const again = (start) => start().then(() => again(start));
  for (const probe of probes) {
    for (let i = 0; i < 500; i++) again(() => probe.echo(i));
    for (let i = 0; i < 500; i++) probe.hold();
    again(() => probe.rows(['id', 'title', 'text'], 5_000, 20));
    again(() => probe.list(1_000));
  }
  parentPort.postMessage('busy');
  if (workerData.how.startsWith('exit')) setTimeout(() => process.exit(0), workerData.round % 20);
}

if (isMainThread) rounds();
else traffic();
