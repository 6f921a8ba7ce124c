'use strict';
// Counts what was stored, by reading every row through the worker's own lists: which message each row names.
const { requestJson } = require('./http-client.cjs');
const { markedNumber } = require('./input.cjs');

const PAGE = 100;

async function* rowsOf(port, list) {
  for (let offset = 0; ; offset += PAGE) {
    const { items, hasMore } = await requestJson(port, 'GET', `/api/${list}?offset=${offset}&limit=${PAGE}`);
    yield* items;
    if (!hasMore) return;
  }
}

/** @returns {Promise<Map<number, number>>} message number → rows that name it */
async function countStored(port) {
  const rows = new Map();
  const count = (number) => {
    if (number !== null) rows.set(number, (rows.get(number) ?? 0) + 1);
  };
  // The agent adds the mark as the last fact; facts before it quote files, which may hold anything.
  for await (const { facts } of rowsOf(port, 'observations')) count(markedNumber(JSON.parse(facts ?? '[]').at(-1)));
  for await (const { next_steps: nextSteps } of rowsOf(port, 'summaries')) count(markedNumber(nextSteps));
  return rows;
}

/** Compares what was acknowledged with what is stored. */
function compare(acknowledged, stored) {
  return {
    stored: stored.size,
    lost: [...acknowledged].filter((number) => !stored.has(number)),
    duplicated: [...stored].filter(([, count]) => count > 1).map(([number]) => number),
  };
}

module.exports = { countStored, compare };
