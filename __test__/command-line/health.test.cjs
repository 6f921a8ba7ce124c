'use strict';
// `health`: what the worker says, and what scripts make of it.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { describe, test } = require('node:test');

const { dataDirectory } = require('../data-directory.cjs');
const { NOBODY, filled, owned, run, succeeds, worker } = require('./running.cjs');

describe('health', () => {
  const well = { status: 'ok', reasons: [], version: '1', heap: { usedBytes: 1, limitBytes: 100, usedOfLimit: 0.5 } };
  const queue = { depth: 2, bytes: 1_000, dead: 0, oldestAgeMs: 5 };

  test('exit 0, 1 and 2 by what the worker says, by the heap and by the queue', async (t) => {
    const { directory } = dataDirectory(t);
    for (const [answer, args, code, said] of [
      [well, [], 0, /^ok\n/],
      [{ status: 'warn', reasons: ['the log is long'] }, [], 1, /^warn\n {2}the log is long\n/],
      [{ status: 'critical', reasons: ['the queue is full'] }, [], 2, /the queue is full/],
      [{ status: 'ok', heap: { ...well.heap, usedOfLimit: 0.8 } }, [], 1, /the heap is at 80 %/],
      [{ status: 'ok', heap: { ...well.heap, usedOfLimit: 0.9 } }, [], 2, /the heap is at 90 %/],
      [{ ...well, queue, queueLimits: { maxQueueBytes: 1_250 } }, [], 1, /the queues are at 80 %/],
      [{ ...well, queue, queueLimits: { maxQueueBytes: 1_100 } }, [], 2, /the queues are at 91 %/],
      [{ ...well, queue, queueLimits: { maxQueueBytes: 1_100 } }, ['--max-queue-bytes', '10000'], 0, /^ok\n/],
      [
        { ...well, queue: { ...queue, dead: 9 }, queueLimits: { maxDeadLetters: 10 } },
        [],
        2,
        /dead letters are at 90 %/,
      ],
      [{ ...well, queue }, ['--max-queue-bytes', '1250'], 1, /the queues are at 80 %/],
      [{ ...well, queue }, ['--max-queue-bytes', '1250', '--warn', '85'], 0, /^ok\n/],
      [{ status: 'on fire' }, [], 2, /the worker says "on fire"/],
      ['<html>', [], 2, /something answers there that is no worker/],
    ]) {
      const ended = await run(directory, ['health', '--url', await worker(t, answer), ...args]);
      assert.equal(ended.code, code, ended.stdout);
      assert.match(ended.stdout, said);
      assert.equal(ended.stderr, '');
    }
  });

  test('nobody answers: exit 2, also as JSON', async (t) => {
    const { directory } = dataDirectory(t);
    const { code, stdout } = await run(directory, ['health', '--json', ...NOBODY]);
    assert.equal(code, 2);
    assert.deepEqual([JSON.parse(stdout).status, JSON.parse(stdout).health], ['critical', null]);
  });

  test('--watch looks again, a line each; the port is that of settings.json', async (t) => {
    const { directory } = dataDirectory(t);
    const { port } = new URL(await worker(t, well));
    fs.writeFileSync(path.join(directory, 'settings.json'), JSON.stringify({ env: { CLAUDE_MEM_WORKER_PORT: port } }));
    const lines = await succeeds(directory, ['health', '--watch', '--interval', '1', '--count', '2']);
    assert.match(lines, /^(\S+Z ok\n){2}$/);
  });

  test("the worker's real answer is understood", async (t) => {
    const { directory } = await filled(t);
    const memory = await owned(t, directory);
    const url = await worker(t, await memory.health());
    const { stdout, code } = await run(directory, ['health', '--url', url]);
    assert.ok(code <= 2);
    assert.match(stdout, /^ {2}queue +1 message, \d+ B of 1\.1 GB, /m);
    assert.match(stdout, /^ {2}dead letters +2 of 10,000$/m);
  });
});
