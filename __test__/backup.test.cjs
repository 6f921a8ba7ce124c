'use strict';
// memory.backup and restore.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');

const { openMemory, restore } = require('..');
const foreign = require('./foreign/index.cjs');
const { dataDirectory, contents } = require('./data-directory.cjs');
const { message, names, next, openedMemory, settled } = require('./opened-memory.cjs');

const rejects = (code) => (error) => error.code === code || assert.fail(error);

/** A memory, and a function that gives a new path for a backup. */
async function opened(t) {
  const memory = await openedMemory(t);
  const { directory } = dataDirectory(t);
  let count = 0;
  return Object.assign(memory, { folder: () => path.join(directory, `backup-${++count}`) });
}

test('a backup is awaited for its manifest, and restores into a new directory', async (t) => {
  const { memory, session, put, folder, directory } = await opened(t);
  const id = await session();
  await put(id, 'a', 'b');
  const to = folder();
  const manifest = await memory.backup(to);
  assert.deepEqual(manifest, JSON.parse(fs.readFileSync(path.join(to, 'manifest.json'), 'utf8')));
  assert.deepEqual(fs.readdirSync(to).sort(), ['claude-mem.db', 'manifest.json', 'queue.db']);
  for (const { name, bytes } of manifest.files) assert.equal(fs.statSync(path.join(to, name)).size, bytes);
  assert.equal(manifest.files[0].rows.messages, 2);
  assert.equal(manifest.files[1].rows.sdk_sessions, 1);

  await assert.rejects(memory.backup(to).result, rejects('ERR_INVALID_ARG'));
  await assert.rejects(restore(to, directory, { overwrite: true, lockWaitMs: 0 }).result, rejects('ERR_LOCKED'));
  const fresh = path.join(folder(), 'new');
  const report = await restore(to, fresh);
  assert.deepEqual(
    report.files.map(({ name, keptAs }) => [name, keptAs]),
    [
      ['queue.db', null],
      ['claude-mem.db', null],
    ],
  );
  const other = await openMemory({ dataDir: fresh });
  t.after(() => other.dispose());
  const batch = await next(other.queue.consume(id, { keepAlive: true }));
  assert.deepEqual(names(batch), ['a', 'b']);
  await batch.commit();
});

test('beside a busy writer of ours and a busy foreign process it ends, and is whole', async (t) => {
  const { memory, session, folder, database } = await opened(t);
  const id = await session();
  await memory.store.storeObservation('claude', 'project', { type: 'change', title: 'x'.repeat(2_000_000) });
  const writer = await foreign.write(database);
  let stop = false;
  let written = 0;
  const ours = (async () => {
    while (!stop) {
      await memory.queue.enqueue(id, message('busy', { tool_response: 'y'.repeat(4000) }));
      await memory.store.saveUserPrompt('claude', ++written, 'prompt');
    }
  })();
  for (let round = 0; round < 3; round += 1) {
    const manifest = await settled(memory.backup(folder()).result);
    assert.ok(manifest.files[1].rows.user_prompts > 0);
  }
  const last = folder();
  await settled(memory.backup(last).result);
  stop = true;
  await ours;
  const { errors } = await writer.stop();
  assert.deepEqual(errors, []);
  for (const name of ['queue.db', 'claude-mem.db']) {
    const [{ integrity_check }] = await foreign.query(path.join(last, name), 'PRAGMA integrity_check');
    assert.equal(integrity_check, 'ok', name);
  }
});

test('progress: as an async iterable, without a backlog, and not needed', async (t) => {
  const { memory, folder } = await opened(t);
  await memory.store.createSDKSession('claude', 'project', 'x'.repeat(3_000_000));
  await memory.store.saveUserPrompt('claude', 1, 'x'.repeat(6_000_000));
  const job = memory.backup(folder());
  const seen = [];
  for await (const progress of job) seen.push(progress);
  assert.ok(seen.length > 0);
  const { file, done, total } = seen.at(-1);
  assert.deepEqual([file, done], ['claude-mem.db', total]);
  assert.equal((await job.result).format, 1);
  assert.equal(job.result, job.result);
  assert.deepEqual(await job.next(), { value: undefined, done: true });

  // Left alone; then the latest progress is what is there, once.
  const alone = memory.backup(folder());
  await alone.result;
  assert.equal((await alone.next()).value.file, 'claude-mem.db');
  assert.equal((await alone.next()).done, true);

  // Leaving the loop is not leaving the work.
  const left = memory.backup(folder());
  for await (const _ of left) break;
  assert.equal((await left).files.length, 2);
  await left.dispose();
});

test('a failure ends the loop; one that nobody looks at is no unhandled rejection', async (t) => {
  const { memory, directory } = await opened(t);
  const failing = memory.backup(directory);
  await assert.rejects(async () => {
    for await (const _ of failing);
  }, rejects('ERR_INVALID_ARG'));
  memory.backup(directory);
  await memory.backup(directory).then(assert.fail, rejects('ERR_INVALID_ARG'));
  assert.throws(() => memory.backup(), rejects('ERR_INVALID_ARG'));
  assert.throws(() => memory.backup(''), rejects('ERR_INVALID_ARG'));
});

test('dispose cancels and removes what was half written; so does the memory', async (t) => {
  const { memory, folder } = await opened(t);
  await memory.store.createSDKSession('claude', 'project', 'ask');
  for (let number = 1; number <= 6; number += 1)
    await memory.store.saveUserPrompt('claude', number, 'x'.repeat(8_000_000));
  const to = folder();
  const job = memory.backup(to);
  const outcome = assert.rejects(job.result, rejects('ERR_DISPOSED'));
  await job.dispose();
  await outcome;
  assert.equal(fs.existsSync(to), false);
  assert.deepEqual(await job.next(), { value: undefined, done: true });
  const second = folder();
  const cut = assert.rejects(memory.backup(second).result, rejects('ERR_DISPOSED'));
  await memory.dispose();
  await cut;
  assert.equal(fs.existsSync(second), false);
  assert.throws(() => memory.backup(folder()), rejects('ERR_DISPOSED'));
});

test('restore refuses before it changes anything, and keeps what was there', async (t) => {
  const { memory, session, put, folder, directory, database } = await opened(t);
  const id = await session();
  await put(id, 'old');
  const to = folder();
  await memory.backup(to);
  await put(id, 'new');
  await memory.dispose();

  const before = contents(directory);
  delete before['native/owner.json'];
  const unchanged = async (code, ...args) => {
    await assert.rejects(restore(...args).result, rejects(code));
    const after = contents(directory);
    // The hook's own, where one is there.
    const lasting = Object.keys(after).filter((name) => !/-(wal|shm)$/.test(name));
    assert.deepEqual(lasting, Object.keys(before));
    assert.ok(after['native/queue.db'] === before['native/queue.db'], 'queue.db was changed');
  };
  await unchanged('ERR_INVALID_ARG', to, directory);
  await unchanged('ERR_NOT_FOUND', folder(), directory, { overwrite: true });
  assert.throws(() => restore(to, directory, { overwrit: true }), /overwrite/);
  assert.throws(() => restore(to, directory, { files: ['other.db'] }), rejects('ERR_INVALID_ARG'));

  const damaged = folder();
  fs.cpSync(to, damaged, { recursive: true });
  const queue = path.join(damaged, 'queue.db');
  const bytes = fs.readFileSync(queue);
  bytes[bytes.length - 1] ^= 1;
  fs.writeFileSync(queue, bytes);
  await assert.rejects(restore(damaged, directory, { overwrite: true }).result, (error) => {
    assert.equal(error.code, 'ERR_CORRUPT');
    assert.equal(error.path, queue);
    assert.match(error.sha256, /^[0-9a-f]{64}$/);
    return true;
  });

  // A hook that has the database open.
  const hook = await foreign.hold(database);
  await unchanged('ERR_LOCKED', to, directory, { overwrite: true, lockWaitMs: 100 });
  await hook.stop();

  const { files } = await restore(to, directory, { overwrite: true });
  assert.deepEqual(
    files.map(({ keptAs }) => path.basename(keptAs)),
    ['queue.db.before-restore', 'claude-mem.db.before-restore'],
  );
  const again = await openMemory({ dataDir: directory });
  t.after(() => again.dispose());
  assert.equal(again.queue.depth(id), 1);
});

test('restore refuses while a client of this process has the directory open', async (t) => {
  const { memory, folder, directory } = await opened(t);
  const to = folder();
  await memory.backup(to);
  await memory.dispose();
  const client = await openMemory({ dataDir: directory, role: 'client' });
  const second = folder();
  assert.equal((await client.backup(second)).files.length, 2);
  await assert.rejects(client.repair(), rejects('ERR_NOT_OPEN'));
  for (const files of [['queue.db'], ['claude-mem.db']]) {
    await assert.rejects(restore(to, directory, { overwrite: true, files }).result, (error) => {
      assert.equal(error.code, 'ERR_LOCKED');
      assert.match(error.message, /of this process/);
      return true;
    });
  }
  await client.dispose();
  assert.equal((await restore(to, directory, { overwrite: true })).files.length, 2);
});

test("with the part 'queue' alone claude-mem.db is not looked at, whatever it is", async (t) => {
  const { memory, folder, directory, database } = await opened(t);
  await memory.dispose();
  fs.writeFileSync(database, 'no database');
  const queue = await openMemory({ dataDir: directory, parts: ['queue'] });
  t.after(() => queue.dispose());
  const { files } = await queue.backup(folder());
  assert.deepEqual(
    files.map(({ name }) => name),
    ['queue.db'],
  );
  assert.deepEqual((await queue.checkIntegrity()).findings, []);
  assert.equal(fs.readFileSync(database, 'utf8'), 'no database');
});
