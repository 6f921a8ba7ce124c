'use strict';
// An owner in a process of its own, to be killed: `node client-owner.cjs <directory> <sessionDbId>`. Consumes one
// session and says of each message, once its commit has resolved, its tool name and id; enqueues some of its own.

const fs = require('node:fs');
const { openMemory } = require('../..');

const [dataDir, session] = process.argv.slice(2);
const say = (...words) => fs.writeSync(1, `${words.join(' ')}\n`);

async function main() {
  const memory = await openMemory({ dataDir, backoffBaseMs: 1, backoffMaxMs: 1 });
  say('open');
  for await (const batch of memory.queue.consume(Number(session), { keepAlive: true })) {
    const done = batch.messages.map(({ tool_name, id }) => [tool_name, id]);
    await batch.commit({ observations: done.map(([title]) => ({ type: 'change', title })) });
    for (const [name, id] of done) say('C', name, id);
  }
}

main();
