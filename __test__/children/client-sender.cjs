'use strict';
// A client in a process of its own: `node client-sender.cjs <directory> <sessionDbId> <name> <count> [busy]`. Enqueues
// <count> messages, one or a few at a time, and says of each, once its promise has resolved, its number and id. With
// `busy` it also writes, reads and searches `claude-mem.db` all the while, and says how often.

const fs = require('node:fs');
const { openMemory } = require('../..');

const [dataDir, session, name, count, busy] = process.argv.slice(2);

// In one synchronous write a line: what was said before a SIGKILL is heard.
const say = (...words) => fs.writeSync(1, `${words.join(' ')}\n`);

async function send(memory) {
  for (let number = 0; number < Number(count);) {
    const burst = [];
    for (let i = 0; i < 1 + (number % 5) && number < Number(count); i += 1, number += 1) {
      const tool_name = `${name}:${number}`;
      const message = { type: 'observation', tool_name, tool_input: 'x'.repeat((number * 977) % 6_000) };
      const dedupeKey = number % 3 === 0 ? tool_name : undefined;
      burst.push(
        memory.queue.enqueue(Number(session), message, { dedupeKey }).then(({ id }) => say('E', tool_name, id)),
      );
    }
    await Promise.all(burst);
  }
}

async function use(memory, until) {
  const done = { written: 0, read: 0, found: 0 };
  while (!until.over) {
    const title = `${name} wrote ${done.written}`;
    const { id } = await memory.store.storeObservation(`claude-${name}`, 'clients', { type: 'change', title });
    done.written += 1;
    if ((await memory.store.getObservationById(id)).title === title) done.read += 1;
    const rows = await memory.store.searchObservations(title, { project: 'clients' });
    if (rows.some((row) => row.id === id)) done.found += 1;
    await memory.pages.getObservations(0, 5, 'clients');
  }
  say('U', done.written, done.read, done.found);
}

async function main() {
  const memory = await openMemory({ dataDir, role: 'client', deadlineMs: 60_000 });
  const until = { over: false };
  const using = busy ? use(memory, until) : undefined;
  await send(memory);
  until.over = true;
  await using;
  await memory.dispose();
}

main();
