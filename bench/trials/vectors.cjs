'use strict';
// Nearest neighbours among vectors of the caller's own: how fast they are taken in, found and loaded again, how many
// of the exact ones are found, and what they cost in memory.

const path = require('node:path');
const { promisify } = require('node:util');
const execFile = promisify(require('node:child_process').execFile);
const { neighbours, NEIGHBOURS, queries, recall } = require('../vectors/data.cjs');
const { residentBytes } = require('../vectors/memory.cjs');
const { observe } = require('../observe.cjs');
const { median } = require('../statistics.cjs');

const ROUNDS = 3;

/** Has a process of its own take the vectors in; how long it took, ms. */
async function build(driver, directory, count) {
  const script = path.join(__dirname, '../vectors/build.cjs');
  const { stdout } = await execFile(process.execPath, [script, driver.id, directory, String(count)]);
  return JSON.parse(stdout.trim().split('\n').at(-1)).building;
}

module.exports = {
  title: 'Vectors: 384 dimensions, ten nearest',
  peer: 'hnswlib-node',
  accepts: (driver) => driver.provides.includes('vectors'),
  repetitions: 3,
  variants: [
    { title: '20,000', count: 20_000, quick: 1_000 },
    // Building that many takes minutes with each driver.
    { title: '200,000', count: 200_000, quick: 2_000, named: true },
  ],
  measures: {
    recall: { title: 'recall@10', unit: '', better: 'more', wanted: { atLeast: 0.98 } },
    latency: { title: 'one search', unit: 'µs', wanted: { faster: 1 } },
    bytes: { title: 'resident memory a vector', unit: 'bytes', wanted: { atMost: 1_229 } },
    build: { title: 'taken in', unit: 'vectors/s', better: 'more' },
    load: { title: 'opened and searched once', unit: 'ms' },
  },
  async run(driver, { directory, variant, quick }) {
    const count = quick ? variant.quick : variant.count;
    const exact = neighbours(count, path.join(__dirname, '../results/neighbours'));
    const wanted = queries();
    const building = await build(driver, directory, count);
    const before = residentBytes();
    const openedAt = performance.now();
    const vectors = await driver.openVectors(directory, count);
    await vectors.search(wanted[0], NEIGHBOURS);
    const load = performance.now() - openedAt;
    const found = [];
    for (const query of wanted) found.push(await vectors.search(query, NEIGHBOURS));
    const bytes = (residentBytes() - before) / count;
    const times = [];
    const { process } = await observe(async () => {
      for (let round = 0; round < ROUNDS; round += 1) {
        for (const query of wanted) {
          const askedAt = performance.now();
          await vectors.search(query, NEIGHBOURS);
          times.push((performance.now() - askedAt) * 1_000);
        }
      }
    });
    await vectors.close();
    const measures = {
      recall: recall(found, exact),
      latency: median(times),
      bytes,
      build: count / (building / 1_000),
      load,
    };
    return { measures, process };
  },
};
