'use strict';
// Ends a worker_threads thread whose memory has threads left that nobody joins, and prints at once which files SQLite and
// the owner lock have left: `node --expose-gc exit-detached.cjs <collected | disposing | opening | client> <directory>`,
// with a fault that slows these threads in CLAUDE_MEM_NATIVE_FAULT.

const fs = require('node:fs');
const { Worker, isMainThread, parentPort, workerData } = require('node:worker_threads');
const { openMemory } = require('../fault/index.cjs');
const { collectGarbage } = require('../runtime.cjs');

async function main([how, dataDir]) {
  const worker = new Worker(__filename, { workerData: { how, dataDir } });
  const exited = new Promise((resolve, reject) => worker.on('exit', resolve).on('error', reject));
  await Promise.race([new Promise((resolve) => worker.once('message', resolve)), exited]);
  await worker.terminate();
  await exited;
  const names = fs.existsSync(dataDir) ? fs.readdirSync(dataDir, { recursive: true }) : [];
  console.log(JSON.stringify(names.filter((name) => /-wal$|-shm$|owner\.json$/.test(name))));
}

async function thread({ how, dataDir }) {
  const opening = openMemory({ dataDir, role: how === 'client' ? 'client' : 'owner' });
  if (how !== 'opening') {
    let memory = await opening;
    const session = await memory.store.createSDKSession('claude', 'project', 'prompt');
    await memory.queue.enqueue(session, { type: 'observation' });
    if (how === 'disposing') memory.dispose();
    memory = null;
  }
  if (how !== 'disposing') setTimeout(collect, 10);
  else parentPort.postMessage('begun');
  // Alive until it is terminated.
  setInterval(() => {}, 1_000);
}

/** Once a few turns have let go of what the promises held. */
function collect(turn = 0) {
  collectGarbage();
  if (turn < 5) setTimeout(collect, 5, turn + 1);
  else parentPort.postMessage('begun');
}

if (isMainThread) main(process.argv.slice(2));
else thread(workerData);
