'use strict';
// What a read costs: time of the JS thread for 100 rows of 15 columns, and the awaited latency of a single row.

const { setImmediate: nextTurn } = require('node:timers/promises');
const { copyReference, withoutReference } = require('../data.cjs');
const { mainThreadTime, observe } = require('../observe.cjs');
const { sampleOf } = require('../reads.cjs');
const { microseconds } = require('../timing.cjs');

const ROWS_RUNS = 2_000;

module.exports = {
  title: 'Rows: 100 × 15 columns, and one',
  accepts: (driver) => driver.provides.includes('store'),
  unavailable: withoutReference,
  peer: 'better-sqlite3',
  variants: [{ title: '' }],
  measures: {
    mainThread: { title: '100 rows × 15 columns, time of the JS thread', unit: 'µs', wanted: { faster: 2.5 } },
    latency: { title: '100 rows × 15 columns, until the answer', unit: 'µs' },
    single: { title: 'one row, until the answer', unit: 'µs', wanted: { above: 25 } },
  },
  async run(driver, { directory, quick }) {
    copyReference(directory);
    const opened = await driver.openStore(directory);
    const { ids, observation } = await sampleOf(opened, 'claude-mem', 'rust-queue');
    const many = () => opened.store.getObservationsByIds(ids);
    const one = () => opened.store.getObservationById(observation);
    const { result, process } = await observe(async () => {
      const runs = quick ? 3 : ROWS_RUNS;
      for (let warming = 0; warming < runs / 10; warming += 1) await many();
      const before = mainThreadTime();
      for (let run = 0; run < runs; run += 1) {
        if (run % 32 === 0) await nextTurn(); // what answers at once would hold the event loop to the end
        const answer = many();
        if (typeof answer.then === 'function') await answer;
      }
      const mainThread = ((mainThreadTime() - before) * 1_000) / runs;
      const budget = quick ? { least: 1, budgetMs: 0 } : { least: 500, budgetMs: 500 };
      return { mainThread, latency: await microseconds(many, budget), single: await microseconds(one, budget) };
    });
    await opened.close();
    return { measures: result, process };
  },
};
