'use strict';
// The end of a process or a thread that has a memory open: no crash, no hang, no unhandled rejection, nothing
// acknowledged lost, and files that the next one opens.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { describe, test } = require('node:test');

const { openMemory } = require('..');
const { runChild } = require('./children/run-child.cjs');
const { dataDirectory } = require('./data-directory.cjs');

/** Runs a child that must come to a clean end; returns what it printed. */
async function cleanEnd(script, args, env = {}) {
  const { code, signal, stdout, stderr } = await runChild(script, { args, env, nodeArgs: ['--expose-gc'] });
  assert.deepEqual({ code, signal, stderr }, { code: 0, signal: null, stderr: '' });
  return stdout.trim();
}

/** What the next owner finds. */
async function inspect(directory) {
  const memory = await openMemory({ dataDir: directory, lockWaitMs: 0, maxSessionMessages: 100_000 });
  const found = { depth: memory.queue.depth(), waiting: await memory.queue.discover() };
  await memory.dispose();
  return found;
}

/** What SQLite and the owner lock leave where nobody has tidied up. */
function leftovers(directory) {
  return fs.readdirSync(directory, { recursive: true }).filter((name) => /-wal$|-shm$|owner\.json$/.test(name));
}

describe('a process that has nothing left to do', () => {
  for (const [kind, printed, depth] of [
    ['consumer', '', 0],
    ['ready', '', 0],
    ['kept consumer', 'done true: idle', 0],
    ['write', 'stored true', 1],
    ['dispose', 'disposed', 0],
    ['leased', 'holds 1', 1],
    ['offered', 'offered 1', 1],
    ['disposed', 'told', 0],
    ['ended', 'behind the loops', 0],
    ['garbage', '', 1],
  ]) {
    test(`${kind}: ends by itself and leaves whole files`, async (t) => {
      const { directory } = dataDirectory(t);
      assert.equal(await cleanEnd('exit-natural.cjs', [kind, directory]), printed);
      assert.deepEqual(leftovers(directory), []);
      const found = await inspect(directory);
      assert.equal(found.depth, depth);
      assert.deepEqual(
        found.waiting.map(({ attempts }) => attempts),
        depth ? [0] : [],
      );
    });
  }
});

describe('threads that nobody joins any more close their files before the end', () => {
  for (const kind of ['garbage', 'write', 'leased']) {
    test(`of a process: ${kind}`, async (t) => {
      const { directory } = dataDirectory(t);
      const env = { CLAUDE_MEM_NATIVE_FAULT: 'closing:cm-queue=sleep-300,closing:cm-writer=sleep-200' };
      await cleanEnd('exit-natural.cjs', [kind, directory], env);
      assert.deepEqual(leftovers(directory), []);
    });
  }
  for (const [how, faults] of [
    ['collected', 'closing:cm-queue=sleep-300'],
    ['disposing', 'closing:cm-writer=sleep-300'],
    ['opening', 'openMemory=sleep-300'],
    ['client', 'closing:cm-queue=sleep-300'],
  ]) {
    test(`of a worker_threads thread: ${how}`, async (t) => {
      const { directory } = dataDirectory(t);
      const left = await cleanEnd('exit-detached.cjs', [how, directory], { CLAUDE_MEM_NATIVE_FAULT: faults });
      assert.deepEqual(JSON.parse(left), []);
    });
  }
});

describe('process.exit with thousands in flight', () => {
  for (const when of ['at-once', 'disposing', '0', '5', '30', '100']) {
    test(`${when}${Number.isNaN(Number(when)) ? '' : ' ms'}`, async (t) => {
      const { directory } = dataDirectory(t);
      const acknowledged = Number(await cleanEnd('exit-in-flight.cjs', [directory, when]));
      const { depth } = await inspect(directory);
      t.diagnostic(`${acknowledged} acknowledged, ${depth} stored`);
      assert.ok(depth >= acknowledged, `${acknowledged} were acknowledged, ${depth} are there`);
    });
  }
});

describe('the end of a thread with a busy memory', () => {
  for (const how of ['terminate', 'exit']) {
    test(`20 worker_threads threads: ${how}`, async (t) => {
      const { directory } = dataDirectory(t);
      const printed = await cleanEnd('exit-terminate.cjs', [directory, '20', how]);
      t.diagnostic(printed);
      assert.match(printed, /^20 rounds/);
      assert.deepEqual(leftovers(path.join(directory)), []);
    });
  }
});
