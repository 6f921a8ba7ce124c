'use strict';
// An index that was built, opened again: what the trials measure of it.

const { NEIGHBOURS, queries } = require('./data.cjs');
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

/**
 * Opens what was built and searches once: `{load, ask, settled, bytes, close}`. `load`: how long that took, ms;
 * `settled()` waits for what goes on in the background and resolves how long, ms (undefined where nothing does);
 * `bytes()`: resident memory above that before; `held()`: what the driver itself says it holds, undefined where it does
 * not. A driver whose index is in another process measures there.
 */
async function openIndex(driver, directory, count, options = {}) {
  if (driver.openElsewhere) return driver.openElsewhere(directory, count, options);
  const [first] = queries();
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
