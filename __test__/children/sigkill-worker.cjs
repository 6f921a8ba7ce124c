'use strict';
// Enqueues, claims and commits on a data directory until it is killed: `node sigkill-worker.cjs <directory>`. It starts
// when a line of JSON comes in: {round, sessions}. What was promised to it goes out the moment its promise resolves,
// in one synchronous write a line:
//   open <ms it took>
//   E <session> <marker> <id>         an enqueue was acknowledged
//   B <session> <marker>=<attempts> … a batch was handed out
//   C <session> <marker> …            its commit was acknowledged

const fs = require('node:fs');
const { openMemory } = require('../..');
const { observation, OPTIONS } = require('./sigkill-options.cjs');

const dataDir = process.argv[2];
/** Messages of a session that may wait: with few of them each is seen by several killed workers. */
const WAITING = 40;

const say = (...words) => fs.writeSync(1, `${words.join(' ')}\n`);

async function produce(memory, session, round) {
  for (let number = 0; ;) {
    const burst = [];
    // Bursts of several sizes, so that groups and lone commands are both met.
    for (let i = 0; i < 1 + (number % 7); i++, number++) {
      const marker = `${round}.${number}`;
      const message = { type: 'observation', prompt_number: 1, marker, text: 'x'.repeat((number * 977) % 9_000) };
      burst.push(memory.queue.enqueue(session, message).then(({ id }) => say('E', session, marker, id)));
    }
    await Promise.all(burst);
    while (memory.queue.depth(session) > WAITING) await new Promise((resolve) => setTimeout(resolve, 1));
  }
}

async function consume(memory, session) {
  for await (const batch of memory.queue.consume(session, { keepAlive: true })) {
    say('B', session, ...batch.messages.map(({ marker, attempts }) => `${marker}=${attempts}`));
    const markers = batch.messages.map(({ marker }) => marker);
    await batch.commit({ observations: markers.map(observation) });
    say('C', session, ...markers);
  }
}

async function run({ round, sessions }) {
  const startedAt = performance.now();
  const memory = await openMemory({ dataDir, ...OPTIONS });
  say('open', performance.now() - startedAt);
  await Promise.all(sessions.flatMap((session) => [produce(memory, session, round), consume(memory, session)]));
}

process.stdin.setEncoding('utf8').once('data', (line) => run(JSON.parse(line)));
