'use strict';
// An index that was built, opened again: what the trials measure of it.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { NEIGHBOURS, blocks, queries } = require('./data.cjs');
const { residentBytes } = require('./memory.cjs');

/** Asks each query, `rounds` times: what the first round found, and how long each took, µs. */
async function ask(vectors, asked, { rounds = 1, filter } = {}) {
  const [found, times] = [[], []];
  for (let round = 0; round < rounds; round += 1) {
    for (const query of asked) {
      const startedAt = performance.now();
      const ids = await vectors.search(query, NEIGHBOURS, filter);
      times.push((performance.now() - startedAt) * 1_000);
      if (round === 0) found.push(ids);
    }
  }
  return { found, times };
}

// LanceDB's index needs 256 at least.
const FEW = 1_000;

/** Uses a small index once: a library's code and what it sets up for its first use belong to no vector. */
async function useOnce(driver) {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'bench-first-use-'));
  const vectors = await driver.openVectors(directory, FEW);
  for (const block of blocks(FEW)) await vectors.add(block.first, block.vectors);
  await vectors.built();
  await vectors.search(queries()[0], NEIGHBOURS);
  await vectors.close();
  fs.rmSync(directory, { recursive: true, force: true });
}

/**
 * Opens what was built and searches once: `{load, ask, settled, bytes, close}`. `load`: how long that took, ms;
 * `settled()` waits for what goes on in the background and resolves how long, ms (undefined where nothing does);
 * `bytes()`: resident memory above that before; `held()`: what the driver itself says it holds, undefined where it does
 * not. A driver whose index is in another process measures there.
 */
async function openIndex(driver, directory, count, options = {}) {
  if (driver.openElsewhere) return driver.openElsewhere(directory, count, options);
  const [first] = queries();
  await useOnce(driver);
  const before = residentBytes();
  const startedAt = performance.now();
  const vectors = await driver.openVectors(directory, count, options);
  await vectors.search(first, NEIGHBOURS);
  const load = performance.now() - startedAt;
  return {
    load,
    ask: (asked, how) => ask(vectors, asked, how),
    isExact: () => vectors.isExact?.() ?? false,
    settled: async () => {
      if (!vectors.settled) return undefined;
      await vectors.settled();
      return performance.now() - startedAt - load;
    },
    bytes: async () => residentBytes() - before,
    held: async () => vectors.held?.(),
    close: () => vectors.close(),
  };
}

module.exports = { openIndex };
