'use strict';
// Faults inside the engine: a panic is an error of its call, never an abort and never a silently dead thread; a process
// that dies at any step of a transaction has lost nothing that it was told is stored.

const assert = require('node:assert/strict');
const { describe, test } = require('node:test');

const { openMemory } = require('..');
const { runChild } = require('./children/run-child.cjs');
const { dataDirectory } = require('./data-directory.cjs');
const foreign = require('./foreign/index.cjs');

/** Runs a scenario with faults armed. Rust writes each panic to stderr: those are expected, and nothing else is. */
async function run(directory, scenario, faults) {
  const env = { CLAUDE_MEM_NATIVE_FAULT: faults, RUST_BACKTRACE: '0' };
  const child = await runChild('fault-scenario.cjs', { args: [scenario, directory], env });
  const seen = child.stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));
  return { ...child, seen };
}

async function seen(t, scenario, faults) {
  const child = await run(dataDirectory(t).directory, scenario, faults);
  assert.deepEqual([child.code, child.signal], [0, null], child.stderr);
  return Object.fromEntries(child.seen.map(([name, ...values]) => [name, values]));
}

describe('a panic', () => {
  test('in a command or a read is an error of that call, and the thread goes on', async (t) => {
    const commands = ['enqueue', 'claim', 'release', 'commit', 'getObservationById', 'storeObservation'];
    const faults = commands.map((name) => `${name}=panic-once`).join();
    assert.deepEqual(await seen(t, 'commands', faults), {
      enqueue: ['ERR_INTERNAL', 'ok'],
      read: ['ERR_INTERNAL', 'ok'],
      write: ['ERR_INTERNAL', 'ok'],
      claim: ['ERR_INTERNAL'],
      release: ['ERR_INTERNAL', 'ok'],
      commit: ['ERR_INTERNAL', 'ok'],
      depth: [0],
      stored: [2],
      status: ['ok'],
      dispose: ['ok', 'ok'],
      'next owner': [0, 2],
    });
  });

  test("of the queue's thread: every later call of it fails, the tables go on", async (t) => {
    assert.deepEqual(await seen(t, 'thread', 'before-commit:enqueue=panic-once'), {
      enqueue: ['ERR_INTERNAL'],
      'enqueue later': ['ERR_INTERNAL'],
      // Nothing is waiting, and the idle timeout is the clock's.
      next: ['ok'],
      write: ['ok'],
      read: ['ok'],
      health: ['critical', true],
      dispose: ['ok', 'ok'],
      'next owner': [0, 1],
    });
  });

  test("of the queue's thread behind its COMMIT: told to have failed, stored once", async (t) => {
    const answers = await seen(t, 'thread', 'after-commit:enqueue=panic-once');
    assert.deepEqual([answers.enqueue, answers['enqueue later']], [['ERR_INTERNAL'], ['ERR_INTERNAL']]);
    assert.deepEqual(
      [answers.health, answers.dispose],
      [
        ['critical', true],
        ['ok', 'ok'],
      ],
    );
    assert.deepEqual(answers['next owner'], [1, 1]);
  });

  test("of the tables' thread: every later write fails, the queue goes on", async (t) => {
    assert.deepEqual(await seen(t, 'thread', 'before-commit:commit=panic-once'), {
      enqueue: ['ok'],
      'enqueue later': ['ok'],
      next: ['ok'],
      commit: ['ERR_INTERNAL'],
      'commit later': ['ERR_INTERNAL'],
      write: ['ERR_INTERNAL'],
      read: ['ok'],
      health: ['critical', true],
      dispose: ['ok', 'ok'],
      'next owner': [2, 0],
    });
  });

  test('of the clock: it goes on, nothing that was due is forgotten, and health says so', async (t) => {
    assert.deepEqual(await seen(t, 'clock', 'clock=panic-once'), {
      idle: [true, 'idle'],
      lease: ['expired'],
      resumed: [true],
      again: [true, 1],
      health: ['warn', true],
      dispose: ['ok', 'ok'],
      'next owner': [0, 0],
    });
  });

  test('in openMemory gives the directory back', async (t) => {
    assert.deepEqual(await seen(t, 'open', 'openMemory=panic-once'), { open: ['ERR_INTERNAL'], 'open again': [1] });
  });

  test('in dispose is answered, and gives the directory back', async (t) => {
    assert.deepEqual(await seen(t, 'dispose', 'dispose=panic-once'), {
      dispose: ['ERR_INTERNAL', 'ok'],
      'next owner': [1, 0],
    });
  });
});

describe('a process that dies', () => {
  for (const point of [
    'before-commit:enqueue=abort-1',
    'before-commit:enqueue=abort-9',
    'after-commit:enqueue=abort-9',
    'before-commit:claim=abort-1',
    'after-commit:claim=abort-3',
    'before-commit:release=abort-1',
    'after-commit:release=abort-1',
    'before-commit:commit=abort-1',
    'after-commit:commit=abort-1',
    'before-commit:commit=abort-4',
    'after-commit:commit=abort-4',
    'before-commit:finish-batch=abort-2',
    'after-commit:finish-batch=abort-2',
    'before-commit:deadLetter=abort-1',
    'after-commit:deadLetter=abort-1',
    'before-commit:raise-id-floor=abort-1',
    'before-commit:sync-acknowledgements=abort-1',
    'before-commit:purge-acknowledged=abort-1',
    'after-commit:purge-acknowledged=abort-1',
    'before-commit:void-leases=abort-1',
  ]) {
    test(`at ${point.split('=')[0]}, pass ${point.split('-').at(-1)}`, async (t) => {
      const { directory, database } = dataDirectory(t);
      const child = await run(directory, 'traffic', point);
      assert.equal(child.signal ?? child.code, process.platform === 'win32' ? 134 : 'SIGABRT', child.stderr);
      const told = (what) => child.seen.filter(([word]) => word === what).map(([, marker]) => marker);

      const memory = await openMemory({
        dataDir: directory,
        maxAttempts: 100,
        backoffBaseMs: 1,
        backoffMaxMs: 2,
        lockWaitMs: 0,
      });
      const [session] = await foreign.query(database, 'SELECT id FROM sdk_sessions');
      const drained = [];
      const consumer = memory.queue.consume(session.id, { keepAlive: true });
      while (memory.queue.depth(session.id) > 0) {
        const { value: batch } = await consumer.next();
        const markers = batch.messages.map(({ marker }) => marker);
        drained.push(...markers);
        await batch.commit({
          observations: markers.map((title) => ({ type: 'discovery', title, facts: [], concepts: [] })),
        });
      }
      const dead = await memory.queue.deadLetters();
      const deadMarkers = await Promise.all(
        dead.map(async ({ id }) => (await memory.queue.getDeadLetter(id)).message.marker),
      );
      await memory.dispose();

      const stored = (await foreign.query(database, 'SELECT title FROM observations ORDER BY id')).map(
        ({ title }) => title,
      );
      assert.deepEqual([...new Set(stored)], stored, 'stored twice');
      for (const marker of told('C')) {
        assert.ok(stored.includes(marker) && !drained.includes(marker), `${marker} was committed, and came again`);
      }
      for (const marker of told('D')) assert.ok(deadMarkers.includes(marker), `${marker} was a dead letter`);
      const kept = [...stored, ...deadMarkers];
      assert.deepEqual(
        told('E').filter((marker) => !kept.includes(marker)),
        [],
        'acknowledged and lost',
      );
      assert.deepEqual([...new Set(kept)], kept, 'both stored and dead');
      const number = (marker) => Number(marker.slice(1));
      assert.deepEqual(
        stored,
        [...stored].sort((a, b) => number(a) - number(b)),
        'out of order',
      );
      for (const file of ['claude-mem.db', 'native/queue.db']) {
        assert.deepEqual(await foreign.query(`${directory}/${file}`, 'PRAGMA integrity_check'), [
          { integrity_check: 'ok' },
        ]);
      }
    });
  }
});
