'use strict';
// Clients in processes of their own beside an owner that enqueues and consumes: each message stored once, in the
// order of its sender, no id twice, nothing swallowed by a watermark. Also where clients are killed, and where they
// outlive the owner.

const assert = require('node:assert/strict');
const path = require('node:path');
const { spawn } = require('node:child_process');
const { createInterface } = require('node:readline');
const { after, test } = require('node:test');
const { setTimeout: sleep } = require('node:timers/promises');

const { openMemory } = require('..');
const { dataDirectory, withoutFixtures } = require('./data-directory.cjs');
const { message, names, next, openedMemory, until } = require('./opened-memory.cjs');

const running = new Set();
after(() => {
  for (const child of running) child.kill('SIGKILL');
});

/** Starts a client; `said` grows with what it was promised: tool name → id. */
function client(directory, session, name, count, busy = '') {
  const script = path.join(__dirname, 'children', 'client-sender.cjs');
  const child = spawn(process.execPath, [script, directory, `${session}`, name, `${count}`, busy], {
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  running.add(child);
  const said = new Map();
  const used = {};
  let stderr = '';
  child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text));
  createInterface({ input: child.stdout }).on('line', (line) => {
    const [what, ...words] = line.split(' ');
    if (what === 'E') said.set(words[0], Number(words[1]));
    else [used.written, used.read, used.found] = words.map(Number);
  });
  const ended = new Promise((resolve) => {
    child.on('close', (code, signal) => {
      running.delete(child);
      resolve({ code, signal, stderr });
    });
  });
  return { child, said, used, ended, name };
}

/** Consumes a session and keeps what was committed, in order: tool name and id. */
function consuming(memory, session) {
  const state = { done: [], stopped: false };
  const consumer = memory.queue.consume(session, { maxBatch: 16, idleTimeoutMs: 3_600_000 });
  state.ended = (async () => {
    for (let batch = await consumer.next(); !batch.done; batch = await consumer.next()) {
      const messages = batch.value.messages.map(({ tool_name, id }) => [tool_name, id]);
      await batch.value.commit({ observations: messages.map(([title]) => ({ type: 'change', title })) });
      state.done.push(...messages);
    }
  })();
  state.stop = async () => {
    consumer.dispose();
    await state.ended;
  };
  return state;
}

/** Each of `expected` once, ids rising, and each sender's in its order. */
function check(done, expected) {
  const ids = done.map(([, id]) => id);
  assert.ok(
    ids.every((id, index) => index === 0 || id > ids[index - 1]),
    'ids rise in the order of delivery',
  );
  const found = done.map(([name]) => name);
  assert.equal(new Set(found).size, found.length, 'none twice');
  for (const [name, id] of expected) assert.equal(new Map(done).get(name), id, `${name} under its id`);
  const senders = new Map();
  for (const name of found) {
    const [sender, number] = name.split(':');
    const before = senders.get(sender) ?? -1;
    assert.ok(Number(number) > before, `${name} after ${sender}:${before}`);
    senders.set(sender, Number(number));
  }
}

/** The titles that the commits have stored. */
async function stored(memory, claudeSessionId) {
  const rows = await memory.store.getObservationsForSession(claudeSessionId);
  return rows.map(({ title }) => title).sort();
}

test('several clients and the owner enqueue while the owner consumes', async (t) => {
  const { memory, directory, session: create } = await openedMemory(t);
  const session = await create('claude');
  const work = consuming(memory, session);
  const clients = ['a', 'b', 'c'].map((name) => client(directory, session, name, 300));
  const own = new Map();
  for (let number = 0; number < 300; number += 1) {
    const name = `owner:${number}`;
    own.set(name, (await memory.queue.enqueue(session, message(name))).id);
    if (number % 50 === 0) await sleep(20);
  }
  for (const { ended } of clients) assert.deepEqual(await ended, { code: 0, signal: null, stderr: '' });
  await until(() => work.done.length === 1_200);
  await work.stop();
  const expected = new Map([...own, ...clients.flatMap(({ said }) => [...said])]);
  assert.equal(expected.size, 1_200);
  assert.equal(new Set(expected.values()).size, 1_200, 'no id twice');
  check(work.done, expected);
  await until(() => memory.queue.depth() === 0);
  assert.deepEqual(await stored(memory, 'claude'), [...expected.keys()].sort());
});

test(
  'a client beside a busy worker reads, writes and searches',
  { skip: withoutFixtures('claude-mem-6.0.2.db') },
  async (t) => {
    const { directory } = dataDirectory(t, 'claude-mem-6.0.2.db');
    const memory = await openMemory({ dataDir: directory });
    t.after(() => memory.dispose());
    const session = await memory.store.createSDKSession('claude', 'project', 'prompt');
    const work = consuming(memory, session);
    const load = { over: false, writes: 0 };
    const loading = (async () => {
      while (!load.over) {
        await Promise.all([
          memory.store.storeObservation('claude', 'load', { type: 'change', title: `load ${load.writes}` }),
          memory.queue.enqueue(session, message(`owner:${load.writes}`)),
          memory.store.searchObservations('authentication', { limit: 20 }),
        ]);
        load.writes += 1;
      }
    })();
    const clients = ['a', 'b'].map((name) => client(directory, session, name, 500, 'busy'));
    for (const { ended } of clients) assert.deepEqual(await ended, { code: 0, signal: null, stderr: '' });
    load.over = true;
    await loading;
    for (const { used, name } of clients) {
      t.diagnostic(`client ${name}: ${JSON.stringify(used)}; worker: ${load.writes} rounds`);
      assert.ok(used.written > 0);
      assert.deepEqual([used.read, used.found], [used.written, used.written], 'it reads and finds what it wrote');
    }
    const total = 1_000 + load.writes;
    await until(() => work.done.length === total);
    await work.stop();
    check(work.done, new Map(clients.flatMap(({ said }) => [...said])));
  },
);

test('clients that are killed in the middle lose nothing that was acknowledged', async (t) => {
  const { memory, directory, session: create } = await openedMemory(t);
  const session = await create('claude');
  const work = consuming(memory, session);
  const acknowledged = new Map();
  for (let round = 0; round < 6; round += 1) {
    const clients = [0, 1].map((number) => client(directory, session, `${round}.${number}`, 100_000));
    await until(() => clients.every(({ said }) => said.size > 20 * (round + 1)));
    for (const { child } of clients) child.kill('SIGKILL');
    for (const { ended, said } of clients) {
      assert.equal((await ended).signal, 'SIGKILL');
      for (const [name, id] of said) acknowledged.set(name, id);
    }
    // The owner goes on, above whatever they have left.
    const name = `owner:${round}`;
    acknowledged.set(name, (await memory.queue.enqueue(session, message(name))).id);
  }
  await memory.queue.poke();
  await until(() => memory.queue.depth(session) === 0);
  await work.stop();
  check(work.done, acknowledged);
  t.diagnostic(`${acknowledged.size} acknowledged, ${work.done.length} stored`);
  assert.deepEqual(await stored(memory, 'claude'), work.done.map(([name]) => name).sort());
});

test('clients outlive several owners', async (t) => {
  const { directory } = dataDirectory(t);
  let memory = await openMemory({ dataDir: directory });
  t.after(() => memory.dispose());
  const session = await memory.store.createSDKSession('claude', 'project', 'prompt');
  const clients = ['a', 'b'].map((name) => client(directory, session, name, 600));
  const done = [];
  let over = false;
  const ends = Promise.all(clients.map(({ ended }) => ended)).then((all) => {
    over = true;
    return all;
  });
  for (let round = 0; !over; round += 1) {
    const work = consuming(memory, session);
    await memory.queue.enqueue(session, message(`owner:${round}`));
    await sleep(150);
    await work.stop();
    done.push(...work.done);
    await memory.dispose();
    await sleep(50); // nobody owns the directory
    memory = await openMemory({ dataDir: directory });
  }
  for (const end of await ends) assert.deepEqual(end, { code: 0, signal: null, stderr: '' });
  const consumer = memory.queue.consume(session);
  while (memory.queue.depth(session) > 0) {
    const batch = await next(consumer);
    names(batch).forEach((name, index) => done.push([name, batch.messages[index].id]));
    await batch.commit({ observations: names(batch).map((title) => ({ type: 'change', title })) });
  }
  consumer.dispose();
  const expected = new Map(clients.flatMap(({ said }) => [...said]));
  assert.equal(expected.size, 1_200);
  check(done, expected);
  assert.deepEqual(await stored(memory, 'claude'), done.map(([name]) => name).sort());
});

test('a client lives on while one owner after the other is killed', async (t) => {
  const { directory } = dataDirectory(t);
  const memory = await openMemory({ dataDir: directory, role: 'client' });
  t.after(() => memory.dispose());
  const session = await memory.store.createSDKSession('claude', 'project', 'prompt');
  const script = path.join(__dirname, 'children', 'client-owner.cjs');
  const sent = new Map();
  let over = false;
  const sending = (async () => {
    for (let number = 0; !over; number += 1) {
      const name = `client:${number}`;
      sent.set(name, (await memory.queue.enqueue(session, message(name))).id);
      if (number % 20 === 0) await sleep(1);
    }
  })();
  for (let round = 0; round < 5; round += 1) {
    const child = spawn(process.execPath, [script, directory, `${session}`], { stdio: ['ignore', 'pipe', 'inherit'] });
    running.add(child);
    let committed = 0;
    createInterface({ input: child.stdout }).on('line', (line) => (committed += line.startsWith('C')));
    await until(() => committed > 30);
    child.kill('SIGKILL');
    await new Promise((resolve) => child.once('close', resolve));
    running.delete(child);
  }
  over = true;
  await sending;
  const owner = await openMemory({ dataDir: directory, backoffBaseMs: 1, backoffMaxMs: 1 });
  t.after(() => owner.dispose());
  const work = consuming(owner, session);
  await until(() => owner.queue.depth(session) === 0);
  await work.stop();
  check(work.done, new Map());
  t.diagnostic(`${sent.size} sent, ${work.done.length} left for the last owner`);
  assert.deepEqual(await stored(owner, 'claude'), [...sent.keys()].sort());
});
