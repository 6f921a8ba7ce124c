'use strict';
// A process that dies before or after the COMMIT of every command there is: nothing acknowledged is lost, no row is
// stored twice, a finished batch counts no attempt. Between two neighbours in the life of a message (enqueue, claim,
// commit, lease cleared, purge; release, dead letter) lies the one's "after" and the other's "before".

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { before, describe, test } = require('node:test');

const { openMemory } = require('..');
const { OPTIONS, observation } = require('./children/crash-options.cjs');
const { runChild } = require('./children/run-child.cjs');
const { dataDirectory } = require('./data-directory.cjs');
const foreign = require('./foreign/index.cjs');
const { until } = require('./opened-memory.cjs');

/** Each command, and at which of its runs the process dies. */
const COMMANDS = {
  enqueue: [1, 6, 11],
  claim: [1, 4, 9],
  release: [1, 2, 4],
  commit: [1, 2, 4],
  'finish-batch': [1, 3],
  deadLetter: [1],
  pause: [1],
  resume: [1],
  purge: [1],
  'bury-strangers': [1],
  purgeDeadLetters: [1],
  retryDeadLetter: [1],
  'raise-id-floor': [1],
  'sync-acknowledgements': [1],
  'purge-acknowledged': [1],
  'reclaim-pages': [1],
  'void-leases': [1],
  recover: [1],
};

const DIED = process.platform === 'win32' ? 134 : 'SIGABRT';

async function dies(directory, faults) {
  const env = { CLAUDE_MEM_NATIVE_FAULT: faults, RUST_BACKTRACE: '0' };
  const child = await runChild('crash-traffic.cjs', { args: [directory], env });
  assert.equal(child.signal ?? child.code, DIED, `${faults} was never passed: ${child.stderr}`);
  const seen = child.stdout
    .split('\n')
    .filter(Boolean)
    .map((line) => JSON.parse(line));
  return (what) => seen.filter(([word]) => word === what).map(([, marker]) => marker);
}

/** Opens what the dead process left, commits everything, and tells what was found where. */
async function drain(directory) {
  const memory = await openMemory({ dataDir: directory, ...OPTIONS, maxAttempts: 100 });
  const given = [];
  for (const { sessionDbId, paused } of await memory.queue.discover()) {
    if (paused) await memory.queue.resume(sessionDbId);
    const consumer = memory.queue.consume(sessionDbId, { keepAlive: true });
    const isEmpty = () => memory.queue.depth(sessionDbId) === 0;
    while (!isEmpty()) {
      // What belongs to no session becomes a dead letter, and its consumer waits on.
      const batch = await Promise.race([consumer.next().then(({ value }) => value), until(isEmpty)]);
      if (!batch) break;
      given.push(...batch.messages.map(({ marker, attempts }) => ({ marker, attempts })));
      await batch.commit({ observations: batch.messages.map(({ marker }) => observation(marker)) });
    }
    consumer.dispose();
  }
  const letters = await memory.queue.deadLetters();
  const dead = await Promise.all(letters.map(async ({ id }) => (await memory.queue.getDeadLetter(id)).message.marker));
  assert.equal(memory.queue.depth(), 0);
  await memory.dispose();
  const rows = await foreign.query(path.join(directory, 'claude-mem.db'), 'SELECT title FROM observations ORDER BY id');
  return { given, dead, stored: rows.map(({ title }) => title) };
}

describe('a process that dies', { concurrency: 2 }, () => {
  let template;

  // A session whose row is gone and whose message is still there: the one thing that a worker cannot make by itself.
  before(async () => {
    template = dataDirectory({ after: (clean) => process.on('exit', clean) });
    const memory = await openMemory({ dataDir: template.directory, ...OPTIONS });
    const gone = await memory.store.createSDKSession('gone', 'project', 'prompt');
    await memory.queue.enqueue(gone, { type: 'observation', marker: 'stranger' });
    await memory.dispose();
    await foreign.execute(template.database, `DELETE FROM sdk_sessions WHERE id = ${gone}`);
  });

  function copied(t) {
    const { directory } = dataDirectory(t);
    fs.cpSync(template.directory, directory, { recursive: true });
    return directory;
  }

  for (const [command, runs] of Object.entries(COMMANDS)) {
    for (const stage of ['before', 'after']) {
      for (const run of runs) {
        test(`${stage} the COMMIT of ${command}, the ${run}. time`, async (t) => {
          const directory = copied(t);
          const told = await dies(directory, `${stage}-commit:${command}=abort-${run}`);
          const { given, dead, stored } = await drain(directory);

          const mayBeGone = new Set(told('purging'));
          const kept = [...stored, ...dead];
          assert.deepEqual([...new Set(kept)].length, kept.length, `stored twice, or stored and dead: ${kept}`);
          const lost = told('enqueued').filter((marker) => !kept.includes(marker) && !mayBeGone.has(marker));
          assert.deepEqual(lost, [], 'acknowledged and lost');
          const again = given.filter(({ marker }) => told('committed').includes(marker));
          assert.deepEqual(again, [], 'committed, and came again');
          for (const marker of told('committed')) assert.ok(stored.includes(marker), `${marker} was not stored`);
          const retried = new Set(told('retrying'));
          for (const marker of told('dead')) {
            const isThere = dead.includes(marker) || retried.has(marker) || mayBeGone.has(marker);
            assert.ok(isThere, `${marker} was a dead letter`);
          }
          for (const { marker, attempts } of given) {
            // Each time that it was given, and once where a claim was written that nobody could report any more. What
            // is retried starts anew.
            const times = told('given').filter((other) => other === marker).length;
            assert.ok(attempts <= times + 1, `${marker} was given ${times} times and shows ${attempts} attempts`);
          }
          // A finished batch counts nothing, so nothing but the heads that waited could have an attempt; all are done.
          const queue = path.join(directory, 'native', 'queue.db');
          assert.deepEqual(
            await foreign.query(queue, 'SELECT (SELECT count(*) FROM leases) + (SELECT count(*) FROM attempts) AS n'),
            [{ n: 0 }],
          );
          const inOrder = stored.filter((marker) => /^m\d/.test(marker) && !retried.has(marker));
          assert.deepEqual(
            inOrder,
            [...inOrder].sort((a, b) => Number(a.slice(1)) - Number(b.slice(1))),
            'out of order',
          );
          for (const file of [queue, path.join(directory, 'claude-mem.db')]) {
            assert.deepEqual(await foreign.query(file, 'PRAGMA integrity_check'), [{ integrity_check: 'ok' }]);
          }
        });
      }
    }
  }

  test('with a batch in its hands, and again in every recovery: one attempt a hand-out, and no more', async (t) => {
    const directory = copied(t);
    const told = await dies(directory, 'after-commit:claim=abort-1');
    for (let n = 0; n < 3; n += 1) await dies(directory, 'before-commit:recover=abort-1');
    for (let n = 0; n < 3; n += 1) await dies(directory, 'after-commit:recover=abort-1');
    const { given, stored } = await drain(directory);
    assert.deepEqual(
      given.filter(({ marker }) => marker !== 'stranger').map(({ attempts }) => attempts),
      [1, 1, 0, 0, 0, 0, 0, 0, 0, 0],
    );
    assert.deepEqual(stored, told('enqueued'));
  });

  test('after its commit and before it was told: the finished batch counts no attempt and does not come again', async (t) => {
    const directory = copied(t);
    // The first batch of two was released, so it is the head alone that is committed.
    const told = await dies(directory, 'after-commit:commit=abort-1');
    assert.deepEqual(told('committed'), []);
    const { given, stored } = await drain(directory);
    assert.equal(stored[0], 'm0');
    assert.deepEqual(
      given.map(({ marker, attempts }) => `${marker}:${attempts}`),
      ['m1:1', ...Array.from({ length: 8 }, (_, n) => `m${n + 2}:0`)],
    );
  });
});
