'use strict';
// Timing of short calls.

const { setImmediate: nextTurn } = require('node:timers/promises');
const { median } = require('./statistics.cjs');

/**
 * The median time of `call` in µs, awaited where it answers a promise; at least `least` runs and as many as fit
 * into `budgetMs`. What answers at once is not awaited: that would cost it a turn that it does not need. Each call has a turn of the event loop of its own.
 */
async function microseconds(call, { least = 5, budgetMs = 60 } = {}) {
  const times = [];
  const run = async () => {
    await nextTurn();
    const startedAt = performance.now();
    const answer = call();
    if (typeof answer?.then === 'function') await answer;
    times.push((performance.now() - startedAt) * 1_000);
  };
  for (let warming = 0; warming < 2; warming += 1) await run();
  times.length = 0;
  const end = performance.now() + budgetMs;
  while (times.length < least || performance.now() < end) await run();
  return median(times);
}

module.exports = { microseconds };
