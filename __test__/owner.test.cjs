'use strict';
// A data directory has one owner at a time, and the next one takes over however the last one ended.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { spawn } = require('node:child_process');
const { once } = require('node:events');
const { test } = require('node:test');
const { setTimeout: sleep } = require('node:timers/promises');

const { openMemory } = require('..');
const { dataDirectory } = require('./data-directory.cjs');

/** Another process with a memory on the directory; resolves once it is open. */
async function owner(t, directory) {
  const code = `require(${JSON.stringify(path.join(__dirname, '..'))})
    .openMemory({ dataDir: ${JSON.stringify(directory)} })
    .then(() => process.stdout.write('open'));
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--eval', code], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => child.kill('SIGKILL'));
  const ended = once(child, 'close');
  await once(child.stdout, 'data');
  return {
    pid: child.pid,
    async kill() {
      child.kill('SIGKILL');
      await ended;
    },
  };
}

test('a second process is refused and told who holds the directory', async (t) => {
  const { directory } = dataDirectory(t);
  const { pid } = await owner(t, directory);
  await assert.rejects(openMemory({ dataDir: directory, lockWaitMs: 0 }), (error) => {
    assert.equal(error.code, 'ERR_LOCKED');
    assert.equal(error.pid, pid);
    assert.ok(error.startedAtEpoch <= Date.now());
    assert.ok(error.message.includes(directory) && error.message.includes(`process ${pid}`), error.message);
    return true;
  });
});

test('after the owner was killed the next takes over', async (t) => {
  const { directory } = dataDirectory(t);
  const first = await owner(t, directory);
  await first.kill();
  assert.ok(fs.existsSync(path.join(directory, 'native', 'owner.json')), 'it had no time to tidy up');
  const memory = await openMemory({ dataDir: directory, lockWaitMs: 0 });
  await memory.dispose();
  assert.ok(!fs.existsSync(path.join(directory, 'native', 'owner.json')));
});

test('an owner that goes within lockWaitMs is waited for', async (t) => {
  const { directory } = dataDirectory(t);
  const first = await owner(t, directory);
  const opening = openMemory({ dataDir: directory, lockWaitMs: 60_000 });
  await sleep(200);
  await first.kill();
  await (await opening).dispose();
});

test('a second handle of the same process is refused until the first is disposed', async (t) => {
  const { directory } = dataDirectory(t);
  const memory = await openMemory({ dataDir: directory });
  await assert.rejects(openMemory({ dataDir: directory, lockWaitMs: 0 }), { code: 'ERR_LOCKED', pid: process.pid });
  // The refused one has disturbed nothing.
  await memory.store.createSDKSession('claude', 'project', 'prompt');
  await memory.dispose();
  const next = await openMemory({ dataDir: directory, lockWaitMs: 0 });
  assert.equal((await next.store.getStats()).sessions, 1);
  await next.dispose();
});

test('what is ours is closed to other users', { skip: process.platform === 'win32' && 'no modes here' }, async (t) => {
  const { directory } = dataDirectory(t);
  const memory = await openMemory({ dataDir: directory });
  t.after(() => memory.dispose());
  const native = path.join(directory, 'native');
  assert.equal(fs.statSync(native).mode & 0o777, 0o700);
  const open = fs.readdirSync(native).filter((name) => (fs.statSync(path.join(native, name)).mode & 0o077) !== 0);
  assert.deepEqual(open, []);
});
