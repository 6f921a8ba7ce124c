'use strict';
// From the text of a query to ranked rows, on the reference database with a vector for every document.

const path = require('node:path');
const { openMemory } = require('../..');
const groups = require('../../eval/queries.cjs');
const { modelFile } = require('../embedding/model.cjs');
const { copyIndexed, variants, whyNot } = require('../indexed.cjs');
const { observe } = require('../observe.cjs');
const { median } = require('../statistics.cjs');

const LIMIT = 20;
// Indexing all of it takes minutes, on a busy machine many.
const CELL_MS = 3_600_000;

/** Times of the queries, ms: asked for the first time, once more, and for the first time with a vector at hand. */
async function ask(memory, queries) {
  const times = { first: [], repeated: [], rest: [] };
  const timed = async (into, query) => {
    const startedAt = performance.now();
    const { mode, reason } = await memory.search.all(query, { limit: LIMIT });
    into.push(performance.now() - startedAt);
    if (mode !== 'hybrid') throw new Error(`"${query}" was answered by ${mode}: ${reason}`);
  };
  for (const [index, query] of queries.entries()) {
    if (index % 2 === 0) {
      await timed(times.first, query);
      await timed(times.repeated, query);
    } else {
      // Its vector is remembered after this, and nothing else of it.
      await memory.vectors.search({ text: query, k: 1 });
      await timed(times.rest, query);
    }
  }
  return times;
}

module.exports = {
  title: `Text query to ${LIMIT} ranked rows on the reference database, every document with its vector`,
  accepts: ({ id }) => id === 'native',
  unavailable: whyNot,
  cellMs: CELL_MS,
  repetitions: 3,
  variants: variants(),
  measures: {
    first: { title: 'first time', unit: 'ms', wanted: { atMost: 10 } },
    rest: { title: 'first time, without embedding the query', unit: 'ms', wanted: { atMost: 1.5 } },
    repeated: { title: 'repeated', unit: 'ms', wanted: { atMost: 2 } },
    documents: { title: 'documents', unit: '' },
  },
  async run(driver, { directory, variant, quick }) {
    const documents = await copyIndexed(directory, variant.observations, quick);
    const memory = await openMemory({ dataDir: directory, modelDir: path.dirname(modelFile()) });
    const queries = Object.values(groups).flatMap((group) => group.map(([query]) => query));
    const [warming, ...asked] = [...new Set(queries)].slice(0, quick ? 5 : Infinity);
    await memory.search.all(warming, { limit: LIMIT }); // loads the model and the vectors
    const { result, process } = await observe(() => ask(memory, asked));
    await memory.dispose();
    const { first, rest, repeated } = result;
    const measures = { first: median(first), rest: median(rest), repeated: median(repeated), documents };
    return { measures, process };
  },
};
