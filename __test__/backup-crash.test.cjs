'use strict';
// A process that dies in a backup or a restore: no folder passes as whole that is not, a repeat gives exactly the
// backup, and what was there before is kept.

const assert = require('node:assert/strict');
const { createHash } = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');

const { openMemory, restore } = require('..');
const { runChild } = require('./children/run-child.cjs');
const { dataDirectory } = require('./data-directory.cjs');
const foreign = require('./foreign/index.cjs');
const { openedMemory } = require('./opened-memory.cjs');

const DIED = process.platform === 'win32' ? 134 : 'SIGABRT';
const PLACES = { 'queue.db': path.join('native', 'queue.db'), 'claude-mem.db': 'claude-mem.db' };

async function dies(command, directory, folder, faults) {
  const env = { CLAUDE_MEM_NATIVE_FAULT: faults, RUST_BACKTRACE: '0' };
  const child = await runChild('backup-crash.cjs', { args: [command, directory, folder], env });
  assert.equal(child.signal ?? child.code, DIED, `${faults} was never passed: ${child.stderr}`);
}

const digest = (file) => createHash('sha256').update(fs.readFileSync(file)).digest('hex');

for (const fault of [
  'backup-snapshot=abort-1',
  'backup-snapshot=abort-2',
  'backup-file=abort-1',
  'backup-file=abort-2',
  'backup-manifest=abort',
]) {
  test(`a backup that dies at ${fault} is none, and can be made again`, async (t) => {
    const { memory, session, put, directory } = await openedMemory(t);
    const id = await session();
    await put(id, 'a', 'b');
    await memory.dispose();
    const { directory: root } = dataDirectory(t);
    const folder = path.join(root, 'backup');
    await dies('backup', directory, folder, fault);
    assert.equal(fs.existsSync(path.join(folder, 'manifest.json')), false);
    await assert.rejects(restore(folder, path.join(root, 'nowhere')).result, { code: 'ERR_NOT_FOUND' });
    assert.equal(fs.existsSync(path.join(root, 'nowhere')), false);

    const again = await openMemory({ dataDir: directory });
    t.after(() => again.dispose());
    assert.equal(again.queue.depth(id), 2);
    let whole = folder;
    if (fault.startsWith('backup-manifest')) {
      // The files have their names already, so they might be anybody's.
      await assert.rejects(again.backup(folder).result, (error) => {
        assert.equal(error.code, 'ERR_INVALID_ARG');
        assert.match(error.message, /give another one/);
        return true;
      });
      whole = path.join(root, 'another');
    }
    await again.backup(whole);
    assert.deepEqual(fs.readdirSync(whole).sort(), ['claude-mem.db', 'manifest.json', 'queue.db']);
    await restore(whole, path.join(root, 'restored'));
  });
}

for (const [fault, exchanged] of [
  ['restore-copied=abort', []],
  ['restore-exchanged=abort-1', ['queue.db']],
  ['restore-exchanged=abort-2', ['queue.db', 'claude-mem.db']],
]) {
  test(`a restore that dies at ${fault} opens as it is, and a repeat completes it`, async (t) => {
    const { memory, session, put, directory } = await openedMemory(t);
    const id = await session();
    await put(id, 'old');
    const { directory: root } = dataDirectory(t);
    const folder = path.join(root, 'backup');
    const manifest = await memory.backup(folder);
    await put(id, 'new');
    await memory.store.storeObservation('claude', 'project', { type: 'change', title: 'later' });
    await memory.dispose();

    await dies('restore', directory, folder, fault);
    for (const { name, sha256 } of manifest.files) {
      assert.equal(digest(path.join(directory, PLACES[name])) === sha256, exchanged.includes(name), name);
    }
    // A copy is opened in this state: the repeat is to find what the dead process left.
    const between = path.join(root, 'between');
    fs.cpSync(directory, between, { recursive: true });
    const opened = await openMemory({ dataDir: between });
    t.after(() => opened.dispose());
    const there = exchanged.includes('queue.db') ? 1 : 2;
    assert.equal(opened.queue.depth(id), there);
    await opened.queue.enqueue(id, { type: 'observation' });
    assert.equal(opened.queue.depth(id), there + 1);
    assert.equal((await opened.checkIntegrity()).ok, true);

    const { files } = await restore(folder, directory, { overwrite: true });
    assert.deepEqual(
      files.filter(({ keptAs }) => keptAs === null).map(({ name }) => name),
      exchanged,
    );
    for (const { name, sha256 } of manifest.files) {
      assert.equal(digest(path.join(directory, PLACES[name])), sha256, name);
    }
    assert.deepEqual(
      [directory, path.join(directory, 'native')].flatMap((place) =>
        fs.readdirSync(place).filter((name) => name.endsWith('.restoring')),
      ),
      [],
    );
    const kept = (name) => path.join(directory, `${PLACES[name]}.before-restore`);
    assert.deepEqual(await foreign.query(kept('queue.db'), 'SELECT count(*) AS n FROM messages'), [{ n: 2 }]);
    assert.deepEqual(await foreign.query(kept('claude-mem.db'), 'SELECT title FROM observations'), [
      { title: 'later' },
    ]);
  });
}
