'use strict';
// Role, parts and long work together: clients with one part, beside owners with one or both, while the owner erases,
// imports, backs up; and who answers what where something is not open.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { execFile } = require('node:child_process');
const { describe, test } = require('node:test');
const { promisify } = require('node:util');
const { Worker } = require('node:worker_threads');

const { openMemory, restore } = require('..');
const { contents, dataDirectory } = require('./data-directory.cjs');
const foreign = require('./foreign/index.cjs');
const { message, names, next, openedMemory, settled, until } = require('./opened-memory.cjs');
const { withoutCrashReport } = require('./runtime.cjs');

const QUEUE = ['queue'];
const STORE = ['store'];

/** A client of a directory, disposed after the test. */
async function openedClient(t, dataDir, options) {
  const client = await openMemory({ dataDir, role: 'client', ...options });
  t.after(() => client.dispose());
  return client;
}

/** Takes everything that waits in a session; its tool names. */
async function drained(memory, session) {
  const seen = [];
  const consumer = memory.queue.consume(session);
  while ((await memory.queue.poke(session)) > 0) {
    const batch = await next(consumer);
    seen.push(...names(batch));
    await batch.commit({});
  }
  await consumer.return();
  return seen;
}

const refused = (code, others) => ({ code, ...others });

describe('a client with the queue alone', () => {
  for (const [title, content] of [
    ['no database', undefined],
    ['one of a newer claude-mem', 'newer'],
    ['something that is no database', 'this is no database at all, whatever its name says'],
  ]) {
    test(`beside ${title} leaves it as it is, and reaches both kinds of owner`, async (t) => {
      const { directory, database } = dataDirectory(t);
      if (content === 'newer') {
        const script = 'CREATE TABLE schema_versions(version INTEGER); INSERT INTO schema_versions VALUES (99)';
        await foreign.execute(database, script);
      } else if (content) fs.writeFileSync(database, content);
      const before = fs.existsSync(database) ? fs.readFileSync(database) : null;
      const client = await openedClient(t, directory, { parts: QUEUE });
      const ids = [];
      for (const tool of ['a', 'b', 'c']) ids.push((await client.queue.enqueue(7, message(tool))).id);
      assert.deepEqual(
        (await client.queue.discover()).map(({ sessionDbId, depth }) => [sessionDbId, depth]),
        [[7, 3]],
      );
      await assert.rejects(client.store.getAllProjects(), refused('ERR_NOT_OPEN', { part: 'store' }));
      const owner = await openMemory({ dataDir: directory, parts: QUEUE });
      t.after(() => owner.dispose());
      ids.push((await owner.queue.enqueue(7, message('d'))).id);
      ids.push((await client.queue.enqueue(7, message('e'))).id);
      assert.equal(await owner.queue.poke(7), 5);
      const consumer = owner.queue.consume(7, { maxBatch: 3 });
      const batch = await next(consumer);
      assert.deepEqual(names(batch), ['a', 'b', 'c']);
      await batch.commit({ external: true });
      await owner.dispose();
      ids.push((await client.queue.enqueue(7, message('f'))).id);
      assert.deepEqual(
        ids,
        [...ids].sort((a, b) => a - b),
      );
      assert.equal(new Set(ids).size, ids.length);
      assert.equal((await client.queue.discover())[0].depth, 3);
      assert.deepEqual(fs.existsSync(database) ? fs.readFileSync(database) : null, before);
      assert.ok(!fs.existsSync(`${database}-wal`) && !fs.existsSync(`${database}.pre-native`));
    });
  }

  test('readOnly with each part', async (t) => {
    const opened = await openedMemory(t);
    const id = await opened.session();
    await opened.put(id, 'a');
    const queue = await openedClient(t, opened.directory, { parts: QUEUE, readOnly: true });
    assert.equal((await queue.queue.discover())[0].depth, 1);
    await assert.rejects(queue.queue.enqueue(id, message('b')), refused('ERR_READ_ONLY'));
    await assert.rejects(queue.queue.enqueueRaw(id, Buffer.from('{}')), refused('ERR_READ_ONLY'));
    await assert.rejects(queue.store.getAllProjects(), refused('ERR_NOT_OPEN'));
    const store = await openedClient(t, opened.directory, { parts: STORE, readOnly: true });
    assert.deepEqual(await store.store.getAllProjects(), ['project']);
    await assert.rejects(store.store.createSDKSession('x', 'p', 'q'), refused('ERR_READ_ONLY'));
    await assert.rejects(store.deleteObservations([1]), refused('ERR_READ_ONLY'));
    await assert.rejects(store.queue.enqueue(id, message('b')), refused('ERR_NOT_OPEN', { part: 'queue' }));
    await assert.rejects(store.queue.discover(), refused('ERR_NOT_OPEN', { part: 'queue' }));
    const health = await store.health();
    assert.equal(health.queue, null);
  });
});

describe('a message of a client', () => {
  test('raw, in a shape, with its key in a field and with a name', async (t) => {
    const opened = await openedMemory(t, { maxMessageBytes: 1_024 });
    const id = await opened.session();
    const client = await openedClient(t, opened.directory, { maxMessageBytes: 1_024 });
    const shape = {
      type: 'observation',
      fields: { tool_name: 'text', tool_input: 'jsonText', prompt_number: 'integer' },
      dedupeKeyField: 'key',
    };
    const body = JSON.stringify({ tool_name: 'a', tool_input: { a: [1] }, prompt_number: '3', more: 1, key: 'k' });
    const first = await client.queue.enqueueRaw(id, Buffer.from(body), { ...shape, claudeSessionId: 'claude' });
    assert.equal((await opened.memory.queue.enqueueRaw(id, Buffer.from(body), shape)).duplicate, 'waiting');
    const raw = client.queue.raw(id);
    for (const piece of body.match(/.{1,7}/g)) raw.append(Buffer.from(piece));
    assert.deepEqual(await raw.enqueue(shape), { ...first, duplicate: 'waiting' });
    await assert.rejects(
      client.queue.enqueueRaw(id, Buffer.from(body), { ...shape, claudeSessionId: 'another' }),
      refused('ERR_NOT_FOUND'),
    );
    // Small as it came, and too large in its shape: every quote is escaped once more.
    const grows = JSON.stringify({ tool_input: { a: '"'.repeat(300) } });
    assert.ok(grows.length < 1_024);
    for (const { queue } of [client, opened.memory]) {
      await assert.rejects(
        queue.enqueueRaw(id, Buffer.from(grows), shape),
        refused('ERR_QUEUE_FULL', { limit: 1_024 }),
      );
      await assert.rejects(queue.enqueueRaw(id, Buffer.from('{"prompt_number":-1}'), shape), /prompt_number/);
      await assert.rejects(queue.enqueueRaw(id, Buffer.from('[]'), shape), refused('ERR_INVALID_ARG'));
    }
    assert.equal(await opened.memory.queue.poke(id), 1, 'nothing of what was refused is counted');
    const [one] = (await next(opened.memory.queue.consume(id))).messages;
    assert.deepEqual(
      [one.type, one.tool_name, one.tool_input, one.prompt_number, one.more],
      ['observation', 'a', '{"a":[1]}', 3, undefined],
    );
  });

  test('that was killed before or after its COMMIT is there whole or not at all', async (t) => {
    const opened = await openedMemory(t);
    const id = await opened.session();
    const script = `
      const { openMemory } = require(${JSON.stringify(path.join(__dirname, 'fault', 'index.cjs'))});
      openMemory({ dataDir: ${JSON.stringify(opened.directory)}, role: 'client' })
        .then((client) => client.queue.enqueue(${id}, { type: 'observation', tool_name: process.argv[1], prompt_number: 1 }));`;
    for (const [stage, depth] of [
      ['before-commit', 0],
      ['after-commit', 1],
    ]) {
      const env = { ...process.env, CLAUDE_MEM_NATIVE_FAULT: `${stage}:enqueue=abort` };
      const child = promisify(execFile)(process.execPath, ['-e', script, stage], { env, timeout: 60_000 });
      // Ended by the injection point, not by an error of its own.
      await assert.rejects(child, (error) => withoutCrashReport(error.stderr) === '' && error.killed === false);
      assert.equal(await opened.memory.queue.poke(id), depth, stage);
    }
    const { id: later } = await opened.memory.queue.enqueue(id, message('later'));
    const batch = await next(opened.memory.queue.consume(id));
    assert.deepEqual(names(batch), ['after-commit', 'later']);
    assert.equal(batch.messages[1].id, later);
    await batch.commit({});
    assert.equal(opened.memory.queue.depth(), 0);
  });
});

test('clients enqueue while the owner deletes, imports and backs up', async (t) => {
  const opened = await openedMemory(t);
  const { memory, directory } = opened;
  const stays = await opened.session('stays', 'kept');
  await opened.put(stays, 'x', 'y');
  const file = path.join(directory, 'export.jsonl');
  await memory.exportTo(file);
  const clients = await Promise.all([openedClient(t, directory), openedClient(t, directory, { parts: QUEUE })]);
  let running = true;
  let sent = 2;
  let going = 0;
  const send = async (client) => {
    while (running) {
      await client.queue.enqueue(stays, message('s'));
      sent += 1;
      // Its session comes and goes; a client that sees the table is told so, one that does not is taken.
      await client.queue.enqueue(going, message('g')).catch((error) => assert.equal(error.code, 'ERR_NOT_FOUND'));
    }
  };
  going = await opened.session('goes', 'gone');
  const sending = clients.map(send);
  for (let round = 0; round < 5; round += 1) {
    going = await opened.session(`goes${round}`, 'gone');
    await memory.backup(path.join(directory, `backup${round}`));
    const { messages } = await memory.importFrom(file);
    assert.deepEqual([messages.imported, messages.duplicate], [0, 2]);
    await memory.deleteProject('gone');
  }
  running = false;
  await Promise.all(sending);
  assert.equal(await memory.queue.poke(stays), sent);
  const { ok, findings } = await memory.checkIntegrity();
  assert.ok(ok && findings.length === 0, JSON.stringify(findings));
  // A backup holds what was there at one moment, counters and rows alike.
  const copy = path.join(directory, 'copy');
  await restore(path.join(directory, 'backup4'), copy);
  const restored = await openMemory({ dataDir: copy });
  t.after(() => restored.dispose());
  assert.ok((await restored.checkIntegrity()).ok);
});

test('a client after its queue.db was restored', async (t) => {
  const opened = await openedMemory(t);
  const id = await opened.session();
  await opened.put(id, 'a', 'b');
  const to = path.join(opened.directory, 'backup');
  await opened.memory.backup(to);
  const early = await openedClient(t, opened.directory);
  const highest = (await early.queue.enqueue(id, message('c'))).id;
  const batch = await next(opened.memory.queue.consume(id));
  await batch.commit({});
  await opened.memory.dispose();
  const options = { overwrite: true, files: ['queue.db'], lockWaitMs: 100 };
  await assert.rejects(restore(to, opened.directory, options).result, refused('ERR_LOCKED'));
  await early.dispose();
  await restore(to, opened.directory, options);
  for (const parts of [QUEUE, undefined]) {
    const client = await openedClient(t, opened.directory, { parts });
    const { id: after } = await client.queue.enqueue(id, message('d'));
    assert.ok(after > highest, `${after} after ${highest}`);
    await client.dispose();
  }
  const memory = await opened.reopen();
  // What was acknowledged is not delivered again; what came since is.
  assert.deepEqual(await drained(memory, id), ['d', 'd']);
});

test('what is not open says so, and leaves nothing behind', async (t) => {
  const opened = await openedMemory(t);
  await opened.session();
  const file = path.join(opened.directory, 'export.jsonl');
  await opened.memory.exportTo(file);
  const target = path.join(opened.directory, 'nothing');
  fs.mkdirSync(target);
  const calls = {
    exportTo: (memory) => memory.exportTo(path.join(target, 'out.jsonl')).result,
    importFrom: (memory) => memory.importFrom(file).result,
    deleteProject: (memory) => memory.deleteProject('project'),
    retention: (memory) => memory.retention({ olderThan: 1_000 }),
    checkIntegrity: (memory) => memory.checkIntegrity(),
    repair: (memory) => memory.repair(),
  };
  const owners = ['importFrom', 'deleteProject', 'retention', 'repair'];
  const whole = ['exportTo', 'importFrom', 'deleteProject', 'retention'];
  const client = await openedClient(t, opened.directory);
  const before = contents(target);
  const check = async (memory, closed) => {
    for (const name of closed) await assert.rejects(calls[name](memory), refused('ERR_NOT_OPEN'), name);
    assert.deepEqual(contents(target), before);
  };
  await check(client, owners);
  // A client exports with both parts, and checks what it has.
  for (const options of [{ parts: QUEUE }, { parts: STORE, readOnly: true }]) {
    const part = await openedClient(t, opened.directory, options);
    await check(part, ['exportTo', ...owners]);
    assert.ok((await part.checkIntegrity()).ok);
  }
  for (const parts of [QUEUE, STORE]) {
    const memory = await opened.reopen({ parts });
    await check(memory, whole);
    assert.ok((await memory.checkIntegrity()).ok);
  }
  const queueOnly = await opened.reopen({ parts: QUEUE });
  for (const call of [() => queueOnly.deleteObservations([1]), () => queueOnly.findDuplicates()])
    await assert.rejects(call(), refused('ERR_NOT_OPEN', { part: 'store' }));
  const memory = await opened.reopen({});
  assert.deepEqual(await memory.store.getAllProjects(), ['project'], 'nothing was deleted');
});

test('a client and an owner in one process and in threads, disposed in any order', async (t) => {
  const { directory } = dataDirectory(t);
  const first = await openMemory({ dataDir: directory, role: 'client' });
  const owner = await openMemory({ dataDir: directory });
  t.after(() => Promise.all([first.dispose(), owner.dispose()]));
  const id = await owner.store.createSDKSession('claude', 'project', 'ask');
  await first.queue.enqueue(id, message('a'));
  const script = `
    const { openMemory } = require(${JSON.stringify(path.join(__dirname, '..'))});
    const { parentPort } = require('node:worker_threads');
    (async () => {
      const open = (parts) => openMemory({ dataDir: ${JSON.stringify(directory)}, role: 'client', parts });
      const [whole, queue] = await Promise.all([open(), open(['queue'])]);
      await whole.queue.enqueue(${id}, { type: 'observation', tool_name: 'b' });
      await queue.queue.enqueue(${id}, { type: 'observation', tool_name: 'c' });
      await Promise.all([queue.dispose(), whole.store.getAllProjects()]);
      // The other is left to the end of the thread, in the middle of its work.
      whole.queue.enqueue(${id}, { type: 'observation', tool_name: 'd' }).then(() => parentPort.postMessage('sent'));
    })();`;
  const worker = new Worker(script, { eval: true });
  await settled(new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject)));
  await settled(worker.terminate());
  const pending = first.queue.enqueue(id, message('e'));
  await Promise.all([first.dispose(), pending]);
  assert.deepEqual(await drained(owner, id), ['a', 'b', 'c', 'd', 'e']);
  // The locks of the owner are still its own: another owner is refused.
  await assert.rejects(openMemory({ dataDir: directory, lockWaitMs: 0 }), refused('ERR_LOCKED'));
  const last = await openMemory({ dataDir: directory, role: 'client' });
  await owner.dispose();
  await last.queue.enqueue(id, message('f'));
  await last.dispose();
  await assert.rejects(last.queue.enqueue(id, message('g')), refused('ERR_DISPOSED'));
  const next_ = await openMemory({ dataDir: directory, lockWaitMs: 0 });
  t.after(() => next_.dispose());
  await until(() => next_.queue.depth(id) === 1);
  const health = await next_.health();
  assert.ok(health.handles.memories >= 1);
});
