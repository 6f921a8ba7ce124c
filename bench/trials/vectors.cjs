'use strict';
// Nearest neighbours among vectors of the caller's own: how fast they are taken in, found and loaded again, how many
// of the exact ones are found, and what they cost in memory. Searches are timed once the graph is there.

const { build } = require('../vectors/build.cjs');
const { installChroma } = require('../vectors/chroma.cjs');
const { queries } = require('../vectors/data.cjs');
const { neighbours, recall } = require('../vectors/exact.cjs');
const { openIndex } = require('../vectors/opened.cjs');
const { observe } = require('../observe.cjs');
const { median } = require('../statistics.cjs');

const ROUNDS = 3;
// Each may take seconds where the vectors are no longer in memory.
const AFTER_WRITE = 10;
// A million vectors: taken in, and a graph of them built.
const CELL_MS = 3 * 3_600_000;

/** What a driver finds, and how fast, with each of its other expansions. */
async function otherExpansions(driver, directory, count, exact) {
  const others = [];
  for (const expansion of driver.expansions ?? []) {
    const index = await openIndex(driver, directory, count, { expansion });
    await index.settled();
    const { found } = await index.ask(queries());
    const { times } = await index.ask(queries(), { rounds: ROUNDS });
    await index.close();
    const measures = { recall: recall(found, exact), latency: median(times) };
    others.push({ setting: `expansion ${expansion}`, measures });
  }
  return others;
}

module.exports = {
  title: 'Vectors: 384 dimensions, ten nearest',
  peer: 'hnswlib-node',
  install: installChroma,
  accepts: (driver) => driver.provides.includes('vectors'),
  cellMs: CELL_MS,
  repetitions: 3,
  variants: [
    { title: '20,000', count: 20_000, quick: 1_000 },
    // Building that many takes minutes with each driver.
    { title: '200,000', count: 200_000, quick: 2_000, named: true, repetitions: 1 },
    { title: '1,000,000', count: 1_000_000, quick: 1_000, named: true, repetitions: 1, ownOnly: true },
    {
      title: '1,000,000, vectorMemoryBudget 2 GiB',
      count: 1_000_000,
      quick: 1_000,
      named: true,
      repetitions: 1,
      ownOnly: true,
      options: { memory: { vectorMemoryBudget: 2 * 1_024 ** 3 } },
    },
  ],
  measures: {
    recall: { title: 'recall@10', unit: '', better: 'more', wanted: { atLeast: 0.98 } },
    latency: { title: 'one search', unit: 'µs', amongEqual: 'recall', wanted: { faster: 1 } },
    bytes: { title: 'resident memory a vector', unit: 'bytes', wanted: { atMost: 1_229 } },
    held: { title: 'memory a vector by its own account', unit: 'bytes', wanted: { atMost: 1_229 } },
    written: { title: 'one search after one more write', unit: 'µs' },
    build: { title: 'taken in', unit: 'vectors/s', better: 'more' },
    ready: { title: 'taken in, with the graph', unit: 'vectors/s', better: 'more' },
    load: { title: 'opened and searched once', unit: 'ms' },
    graph: { title: 'after that, until the graph is there', unit: 'ms' },
  },
  async run(driver, { directory, variant, quick }) {
    if (variant.ownOnly && driver.id !== 'native') return null;
    const count = quick ? variant.quick : variant.count;
    const [exact] = neighbours(count);
    const building = await build(driver, directory, count);
    const index = await openIndex(driver, directory, count, variant.options);
    const graph = await index.settled();
    const { found } = await index.ask(queries());
    const bytes = await index.bytes();
    // As often as it is timed: JavaScript on the way is compiled by then, as it is for the other expansions below.
    await index.ask(queries(), { rounds: ROUNDS });
    const { times } = await index.ask(queries(), { rounds: ROUNDS });
    // The observer wakes the event loop each millisecond, which only a search on another thread would be slowed by.
    const { process } = await observe(() => index.ask(queries()));
    // What it holds is told after a write, and whether it still holds it.
    const held = await index.held();
    const written = held === undefined ? undefined : median((await index.ask(queries().slice(0, AFTER_WRITE))).times);
    await index.close();
    const measures = {
      recall: recall(found, exact),
      latency: median(times),
      bytes: bytes && bytes / count,
      // None is no merit: the collection is then read from its file for each search.
      held: held ? held / count : undefined,
      written,
      build: count / (building / 1_000),
      // Where the graph is built after opening. The peers build it while they take vectors in.
      ready: count / ((building + (graph ?? 0)) / 1_000),
      load: index.load,
      graph,
    };
    // With a million each would be minutes.
    const others = variant.ownOnly ? [] : await otherExpansions(driver, directory, count, exact);
    return { measures, process, others };
  },
};
