'use strict';
// Nearest neighbours among the vectors that a filter on metadata lets through: never slower than comparing every vector
// without a filter. That is measured in this module's own index while its graph is being built, when it has no other way
// (the builder then gives way, and has the other core); a collection that is smaller has none at all.

const { build } = require('../vectors/build.cjs');
const { installChroma } = require('../vectors/chroma.cjs');
const { queries } = require('../vectors/data.cjs');
const { neighbours, recall } = require('../vectors/exact.cjs');
const { SHARES, filters } = require('../vectors/metadata.cjs');
const { openIndex } = require('../vectors/opened.cjs');
const { observe } = require('../observe.cjs');
const { median } = require('../statistics.cjs');

const WARMING = 20;
const CELL_MS = 3_600_000;
const SHARE = SHARES.map(({ share }) => share);
// Of some number: which filters there are does not depend on it.
const KINDS = filters(1_000);

const latencies = KINDS.map(({ id, title }) => [
  `latency ${id}`,
  { title, unit: 'µs', beside: 'exact', wanted: { faster: 1 } },
]);
const recalls = KINDS.map(({ id, title }) => [
  `recall ${id}`,
  { title: `recall@10, ${title}`, unit: '', better: 'more', wanted: { atLeast: 0.98 } },
]);

/** Times of searches that compare every vector; undefined where it cannot be said that they did. */
async function exactly(index, asked) {
  if (!index.isExact()) return undefined;
  await index.ask(asked.slice(0, WARMING));
  const { times } = await index.ask(asked);
  return index.isExact() ? median(times) : undefined;
}

/** Latency and recall with each filter. */
async function filtered(index, asked, count) {
  const exact = neighbours(count, SHARE);
  const measures = {};
  for (const filter of filters(count)) {
    await index.ask(asked.slice(0, WARMING), { filter });
    const { found, times } = await index.ask(asked, { filter });
    measures[`latency ${filter.id}`] = median(times);
    measures[`recall ${filter.id}`] = recall(found, exact[SHARE.indexOf(filter.share)]);
  }
  return measures;
}

module.exports = {
  title: 'Vectors with metadata: one search, ten nearest of those that a filter lets through',
  install: installChroma,
  accepts: (driver) => driver.provides.includes('filters'),
  cellMs: CELL_MS,
  repetitions: 3,
  variants: [
    { title: '20,000', count: 20_000, quick: 1_000 },
    { title: '200,000', count: 200_000, quick: 2_000, named: true, repetitions: 1 },
  ],
  measures: {
    exact: { title: 'exact, no filter', unit: 'µs' },
    all: { title: 'no filter', unit: 'µs' },
    ...Object.fromEntries([...latencies, ...recalls]),
  },
  async run(driver, { directory, variant, quick }) {
    const count = quick ? variant.quick : variant.count;
    const asked = queries();
    await build(driver, directory, count, { withMetadata: true });
    const index = await openIndex(driver, directory, count, { withMetadata: true });
    const exact = await exactly(index, asked);
    await index.settled();
    const all = median((await index.ask(asked)).times);
    const { result, process } = await observe(() => filtered(index, asked, count));
    await index.close();
    return { measures: { exact, all, ...result }, process };
  },
};
