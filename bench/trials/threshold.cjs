'use strict';
// From how many vectors on a graph finds them sooner than comparing each: one search both ways, in collections of
// several sizes. One below 10,000 has no graph.

const { build } = require('../vectors/build.cjs');
const { queries } = require('../vectors/data.cjs');
const { openIndex } = require('../vectors/opened.cjs');
const { observe } = require('../observe.cjs');
const { median } = require('../statistics.cjs');

const SIZES = [2_500, 5_000, 9_999, 10_000, 20_000, 40_000, 80_000];
const CELL_MS = 3_600_000;

module.exports = {
  title: 'Vectors: one search by comparing all and by the graph',
  accepts: ({ id }) => id === 'native',
  cellMs: CELL_MS,
  repetitions: 3,
  variants: SIZES.map((count) => ({ title: count.toLocaleString('en'), count, named: count > 20_000 })),
  measures: {
    exact: { title: 'every vector compared', unit: 'µs' },
    graph: { title: 'by the graph', unit: 'µs' },
    building: { title: 'until the graph is there', unit: 'ms' },
  },
  async run(driver, { directory, variant, quick }) {
    const count = quick ? Math.floor(variant.count / 20) : variant.count;
    const asked = queries();
    await build(driver, directory, count);
    const index = await openIndex(driver, directory, count);
    const exactly = async () => {
      await index.ask(asked.slice(0, 20));
      const { times } = await index.ask(asked);
      return index.isExact() ? median(times) : undefined;
    };
    const { result: exact, process } = await observe(exactly);
    const hasGraph = count >= 10_000;
    const building = hasGraph ? await index.settled() : undefined;
    const graph = hasGraph ? median((await index.ask(asked, { rounds: 2 })).times) : undefined;
    await index.close();
    return { measures: { exact, graph, building }, process };
  },
};
