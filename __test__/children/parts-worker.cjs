'use strict';
// Enqueues and commits on a directory of which only the queue is opened, until it is killed:
// `node parts-worker.cjs <directory> <round>`. What was promised to it goes out the moment its promise resolves:
//   E <marker>     an enqueue was acknowledged
//   B <marker> …   a batch was handed out
//   C <marker> …   its external commit was acknowledged

const fs = require('node:fs');
const { openMemory } = require('../..');

const [, , dataDir, round] = process.argv;
const WAITING = 40;

const say = (...words) => fs.writeSync(1, `${words.join(' ')}\n`);

async function produce(memory) {
  for (let number = 0; ;) {
    const burst = [];
    for (let i = 0; i < 1 + (number % 7); i++, number++) {
      const marker = `${round}.${number}`;
      burst.push(memory.queue.enqueue(1, { type: 'observation', marker }).then(() => say('E', marker)));
    }
    await Promise.all(burst);
    while (memory.queue.depth(1) > WAITING) await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

async function consume(memory) {
  for await (const batch of memory.queue.consume(1, { keepAlive: true })) {
    const markers = batch.messages.map(({ marker }) => marker);
    say('B', ...markers);
    await batch.commit({ external: true });
    say('C', ...markers);
  }
}

openMemory({ dataDir, parts: ['queue'], backoffBaseMs: 1, backoffMaxMs: 1, maxAttempts: 100 }).then((memory) => {
  say('open');
  return Promise.all([produce(memory), consume(memory)]);
});
