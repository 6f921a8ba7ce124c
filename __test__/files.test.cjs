'use strict';
// What disks and people do to the files: each a typed error that names the file and the remedy; what was
// acknowledged is still there, the process lives, and dispose ends.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { execFileSync } = require('node:child_process');
const { test } = require('node:test');

const { openMemory } = require('..');
const { dataDirectory } = require('./data-directory.cjs');
const { message, openedMemory, settled } = require('./opened-memory.cjs');
const { removeTree } = require('./remove-tree.cjs');

const NOT_LINUX = process.platform === 'linux' ? false : 'needs Linux';

/** The error has this code, names the file as `path` and in its message, and says what to do. */
const names = (code, file, remedy) => (error) => {
  assert.equal(error.code, code, error.message);
  assert.equal(error.path, file);
  assert.ok(error.message.includes(file), error.message);
  assert.match(error.message, remedy);
  return true;
};

/** A file system of its own in memory, or undefined where this process may mount none. */
function ownDisk(t, size) {
  const disk = fs.mkdtempSync(path.join(os.tmpdir(), 'claude-mem-native-disk-'));
  const mount = (options, ...others) =>
    execFileSync('mount', ['-t', 'tmpfs', '-o', options, ...others, 'tmpfs', disk], { stdio: 'pipe' });
  try {
    mount(`size=${size}`);
  } catch (error) {
    fs.rmdirSync(disk);
    t.skip(`no file system of its own can be mounted here: ${String(error.stderr ?? error).trim()}`);
    return undefined;
  }
  t.after(() => {
    execFileSync('umount', ['-l', disk]);
    fs.rmdirSync(disk);
  });
  return { disk, remount: (options) => mount(`remount,${options}`) };
}

test('a missing directory is created', async (t) => {
  const { directory } = dataDirectory(t);
  const dataDir = path.join(directory, 'not', 'there', 'yet');
  const memory = await openMemory({ dataDir });
  await memory.store.createSDKSession('claude', 'project', 'ask');
  await memory.dispose();
  assert.ok(fs.existsSync(path.join(dataDir, 'claude-mem.db')));
});

test('a file that is no database', async (t) => {
  const { directory, database } = dataDirectory(t);
  const text = 'Dear diary, this is no database.\n'.repeat(500);
  fs.writeFileSync(database, text);
  await assert.rejects(
    openMemory({ dataDir: directory }),
    names('ERR_CORRUPT', database, /restore .* backup|move it away/),
  );
  assert.equal(fs.readFileSync(database, 'utf8'), text);
  fs.rmSync(database);
  await (await openMemory({ dataDir: directory })).dispose();

  const queue = path.join(directory, 'native', 'queue.db');
  fs.writeFileSync(queue, text);
  await assert.rejects(
    openMemory({ dataDir: directory }),
    names('ERR_CORRUPT', queue, /restore .* backup|move it away/),
  );
  assert.equal(fs.readFileSync(queue, 'utf8'), text);
});

test('a damaged database: the header is fine, its pages are not', async (t) => {
  const { directory, database } = dataDirectory(t);
  let memory = await openMemory({ dataDir: directory });
  await memory.store.createSDKSession('claude', 'project', 'ask');
  for (let number = 1; number <= 200; number += 1)
    await memory.store.saveUserPrompt('claude', number, 'x'.repeat(2_000));
  await memory.dispose();
  const bytes = fs.readFileSync(database);
  // The rows at the end; the schema at the start stays.
  bytes.fill(0xa5, Math.floor(bytes.length / 2 / 4096) * 4096);
  fs.writeFileSync(database, bytes);

  memory = await openMemory({ dataDir: directory });
  t.after(() => memory.dispose());
  const corrupt = names('ERR_CORRUPT', database, /restore the file from a backup/);
  await assert.rejects(memory.store.getAllRecentUserPrompts(1_000), corrupt);
  // Whatever else is asked, it is answered.
  await memory.store.saveUserPrompt('claude', 201, 'x').catch(corrupt);
  const report = await settled(memory.checkIntegrity());
  assert.equal(report.ok, false);
  assert.ok(
    report.findings.some(({ kind, file, remedy }) => kind === 'damaged' && file === database && /restore/.test(remedy)),
  );
  await settled(memory.dispose());
});

test('the directory deleted under a running engine', { skip: NOT_LINUX }, async (t) => {
  const { directory, database, memory, session, put } = await openedMemory(t);
  const id = await session();
  await put(id, 'a');
  // The engine may be making a file there at this very moment.
  removeTree(directory);
  const queue = path.join(directory, 'native', 'queue.db');
  const gone = /deleted or replaced .* nothing was stored: dispose/;
  await assert.rejects(memory.queue.enqueue(id, message('b')), names('ERR_IO', queue, gone));
  await assert.rejects(memory.store.saveUserPrompt('claude', 1, 'x'), names('ERR_IO', database, gone));
  // What was acknowledged can still be read, and so saved.
  assert.equal((await memory.store.getSessionById(id)).project, 'project');
  assert.equal(memory.queue.depth(id), 1);
  await assert.rejects(memory.backup(`${directory}-backup`).result, { code: 'ERR_IO' });
  assert.equal(fs.existsSync(`${directory}-backup`), false);
  await settled(memory.dispose());
  assert.equal(fs.existsSync(directory), false, 'nothing is written into a directory that somebody has deleted');
});

test('one file deleted under a running engine: the other goes on', { skip: NOT_LINUX }, async (t) => {
  const { directory, database, memory, session, reopen } = await openedMemory(t);
  const id = await session();
  const queue = path.join(directory, 'native', 'queue.db');
  for (const suffix of ['', '-wal', '-shm']) fs.rmSync(queue + suffix, { force: true });
  await assert.rejects(memory.queue.enqueue(id, message('a')), names('ERR_IO', queue, /dispose the memory/));
  await memory.store.saveUserPrompt('claude', 1, 'still stored');
  const again = await reopen();
  assert.equal((await again.store.getAllRecentUserPrompts(1))[0].prompt_text, 'still stored');
  await again.queue.enqueue(id, message('b'));
  assert.equal(again.queue.depth(id), 1);
  // Replaced by another file of the same name, as an unwary restore does.
  fs.renameSync(database, `${database}.away`);
  fs.copyFileSync(`${database}.away`, database);
  await assert.rejects(again.store.saveUserPrompt('claude', 2, 'x'), names('ERR_IO', database, /deleted or replaced/));
  await settled(again.dispose());
});

test('a full disk', { skip: NOT_LINUX }, async (t) => {
  const own = ownDisk(t, '4m');
  if (!own) return;
  const dataDir = path.join(own.disk, 'data');
  const queue = path.join(dataDir, 'native', 'queue.db');
  let memory = await openMemory({ dataDir });
  t.after(() => memory.dispose());
  const id = await memory.store.createSDKSession('claude', 'project', 'ask');
  let acknowledged = 0;
  const full = names('ERR_DISK_FULL', queue, /free some space/);
  await assert.rejects(async () => {
    for (; acknowledged < 1_000; acknowledged += 1) {
      await memory.queue.enqueue(id, message(`${acknowledged}`, { tool_response: 'x'.repeat(20_000) }));
    }
  }, full);
  assert.ok(acknowledged > 0);
  assert.equal(memory.queue.depth(id), acknowledged);
  await assert.rejects(memory.backup(path.join(own.disk, 'backup')).result, { code: 'ERR_DISK_FULL' });
  assert.equal(fs.existsSync(path.join(own.disk, 'backup')), false);

  own.remount('size=64m');
  await memory.queue.enqueue(id, message('after'));
  await settled(memory.dispose());
  memory = await openMemory({ dataDir });
  assert.equal(memory.queue.depth(id), acknowledged + 1);
});

test('a disk that may only be read', { skip: NOT_LINUX }, async (t) => {
  const own = ownDisk(t, '32m');
  if (!own) return;
  const dataDir = path.join(own.disk, 'data');
  let memory = await openMemory({ dataDir });
  const id = await memory.store.createSDKSession('claude', 'project', 'ask');
  await memory.queue.enqueue(id, message('a'));
  const backup = await memory.backup(path.join(own.disk, 'backup'));
  assert.equal(backup.files.length, 2);
  await memory.dispose();
  own.remount('ro');
  await assert.rejects(openMemory({ dataDir }), (error) => {
    assert.ok(['ERR_READ_ONLY', 'ERR_IO'].includes(error.code), error.code);
    assert.ok(error.path.startsWith(dataDir) && error.message.includes(error.path), error.message);
    return true;
  });
  await assert.rejects(openMemory({ dataDir: path.join(own.disk, 'new') }), (error) => {
    assert.equal(error.code, 'ERR_READ_ONLY', error.message);
    assert.ok(error.message.includes(own.disk), error.message);
    return true;
  });
  own.remount('rw');
  memory = await openMemory({ dataDir });
  t.after(() => memory.dispose());
  assert.equal(memory.queue.depth(id), 1);
  assert.equal((await memory.checkIntegrity()).ok, true);
});
