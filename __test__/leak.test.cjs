'use strict';
// Thousands of handles leave nothing behind: descriptors, threads, resident memory, heap. And handles that nobody
// disposes are released when they are garbage-collected.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { describe, test } = require('node:test');

const { runChild } = require('./children/run-child.cjs');
const { dataDirectory } = require('./data-directory.cjs');
const { removeTree } = require('./remove-tree.cjs');
const { BUN, ONE_ARENA } = require('./runtime.cjs');

const MEGABYTE = 1 << 20;
/** 10,000 leaked objects of 50 bytes each. */
const HEAP_SLACK = MEGABYTE / 2;
/** 10,000 leaked connections of SQLite would be gigabytes; the allocator's own moods are some megabytes, Bun's are more. */
const RSS_SLACK = (BUN ? 128 : 48) * MEGABYTE;
/** A directory in memory, where an fsync costs nothing. Elsewhere ten thousand opens take many minutes. */
const MEMORY_DISK = '/dev/shm';

function memoryDirectory(t) {
  try {
    const directory = fs.mkdtempSync(path.join(MEMORY_DISK, 'claude-mem-native-test-'));
    t.after(() => removeTree(directory));
    return directory;
  } catch {
    return null;
  }
}

describe('nothing is left of', () => {
  for (const [kind, onMemoryDisk, elsewhere] of [
    ['memories', 10_000, 300],
    ['memories with open handles', 1_000, 100],
    ['consumers', 10_000, 10_000],
    ['batches', 10_000, 10_000],
    ['iterators of ready sessions', 10_000, 10_000],
  ]) {
    test(`${kind} that were opened, used and disposed`, { timeout: 580_000 }, async (t) => {
      const inMemory = memoryDirectory(t);
      if (!inMemory) t.diagnostic(`${MEMORY_DISK} cannot be used: ${elsewhere} rounds in ${os.tmpdir()}`);
      // 3,000 leaked memories would be gigabytes, too.
      const rounds = inMemory ? Math.min(onMemoryDisk, BUN ? 3_000 : Infinity) : elsewhere;
      const args = [kind, String(rounds), inMemory ?? dataDirectory(t).directory];
      const child = await runChild('leak-handles.cjs', {
        args,
        env: ONE_ARENA,
        nodeArgs: ['--expose-gc'],
        hangsAfterMs: 570_000,
      });
      assert.deepEqual([child.code, child.signal, child.stderr], [0, null, '']);
      const { before, after, handles, seconds } = JSON.parse(child.stdout);
      const grown = (what) => after[what] - before[what];
      t.diagnostic(
        `${rounds} rounds in ${seconds.toFixed(1)} s (${((seconds / rounds) * 1e3).toFixed(2)} ms each): ` +
          `heap ${(grown('heapUsed') / 1024).toFixed(0)} KiB, rss ${(grown('rss') / MEGABYTE).toFixed(1)} MiB, ` +
          `descriptors ${before.descriptors} → ${after.descriptors}, threads ${before.threads} → ${after.threads}`,
      );
      assert.equal(after.descriptors, before.descriptors, 'descriptors');
      assert.equal(after.threads, before.threads, 'threads');
      assert.ok(grown('heapUsed') < HEAP_SLACK, `heapUsed grew by ${grown('heapUsed')} bytes`);
      if (process.platform === 'linux') assert.ok(grown('rss') < RSS_SLACK, `rss grew by ${grown('rss')} bytes`);
      assert.deepEqual(handles, { memories: 1, consumers: 0, batches: 0, ready: 0, jobs: 0 });
    });
  }
});

describe('a handle that is only garbage-collected is released', () => {
  for (const [kind, printed] of [
    ['memory', 'depth 1, memories 1'],
    ['consumer', 'consumer false'],
    ['batch', 'again kept, attempts 0'],
    ['ready', 'released'],
    ['awaited', 'messages 1, offered true'],
  ]) {
    test(kind, async (t) => {
      const { directory } = dataDirectory(t);
      const child = await runChild('leak-garbage.cjs', { args: [kind, directory], nodeArgs: ['--expose-gc'] });
      const { code, signal, stdout, stderr } = child;
      assert.deepEqual(
        { code, signal, stdout: stdout.trim(), stderr },
        { code: 0, signal: null, stdout: printed, stderr: '' },
      );
    });
  }
});
