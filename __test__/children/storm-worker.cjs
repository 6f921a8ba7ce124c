'use strict';
// A worker that is killed with whatever it has in its hands: `node storm-worker.cjs <directory>`, and a line on standard
// input to begin. Says `open`, then each message that it is given: `given <marker> <attempts>`. It never commits.

const fs = require('node:fs');
const { openMemory } = require('../..');

const say = (...words) => fs.writeSync(1, `${words.join(' ')}\n`);

async function main() {
  const memory = await openMemory({ dataDir: process.argv[2] });
  say('open');
  const holding = [];
  for await (const { sessionDbId } of memory.queue.ready({ keepAlive: true })) {
    const consumer = memory.queue.consume(sessionDbId, { keepAlive: true });
    const { value: batch } = await consumer.next();
    holding.push(consumer, batch);
    for (const { marker, attempts } of batch.messages) say('given', marker, attempts);
  }
}

process.stdin.once('data', main);
