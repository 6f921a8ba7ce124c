'use strict';
// Drops handles on the floor; what they hold must come free once they are collected. Needs --expose-gc.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');
const { openMemory } = require('../..');
const { removeTree } = require('../remove-tree.cjs');
const { collectGarbage } = require('../runtime.cjs');

async function collected(condition) {
  while (!(await condition())) {
    collectGarbage();
    await sleep(20);
  }
}

/** The next step of a consumer that nobody keeps: an async function would, in its registers. */
function step(memory, id) {
  return memory.queue.consume(id).next();
}

/** Whether the next batch came; it is not kept. */
const came = (step) => step.then(({ done }) => !done);

/** A pending next() is somebody's, whether or not its consumer or iterator is. */
async function pendingOnes(memory, id) {
  const delivered = came(step(memory, id));
  const offered = (() => memory.queue.ready().next())();
  for (let n = 0; n < 5; n += 1) {
    collectGarbage();
    await sleep(300);
  }
  await memory.queue.enqueue(id, { type: 'observation' });
  if (!(await delivered)) throw new Error('a pending next() was ended by the garbage collector');
  // Its consumer and its batch are collected; then the session is offered.
  await collected(() => !memory.queue.hasConsumer(id));
  if ((await offered).value?.sessionDbId !== id) throw new Error('a pending ready() was dropped');
}

/** A consumer with an open batch, and an iterator. */
async function openOnes(memory, id) {
  (() => memory.queue.ready())();
  if (!(await came(step(memory, id)))) throw new Error('nothing was delivered');
  await collected(async () => {
    const { consumers, batches, ready } = (await memory.health()).handles;
    return consumers === 0 && batches === 0 && ready === 0;
  });
  const { value: batch } = await step(memory, id);
  if (batch.messages[0].attempts !== 0) throw new Error('an attempt was counted');
  await batch.commit();
}

/** A memory that nobody disposes. */
async function use(dataDir) {
  const memory = await openMemory({ dataDir, backoffBaseMs: 1, backoffMaxMs: 1 });
  const id = await memory.store.createSDKSession('claude', 'project', 'ask');
  await pendingOnes(memory, id);
  await openOnes(memory, id);
}

async function main() {
  const dataDir = fs.mkdtempSync(path.join(os.tmpdir(), 'claude-mem-native-test-'));
  process.on('exit', () => removeTree(dataDir));
  // A wait does not keep the process alive.
  const alive = setInterval(() => {}, 1_000);
  await use(dataDir);
  let next;
  await collected(async () => {
    next = await openMemory({ dataDir, lockWaitMs: 50 }).catch((error) => {
      if (error.code !== 'ERR_LOCKED') throw error;
    });
    return next !== undefined;
  });
  await next.dispose();
  clearInterval(alive);
  fs.writeSync(1, 'released');
}

main();
