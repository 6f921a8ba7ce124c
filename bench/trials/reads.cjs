'use strict';
// Every reading method, and the searches, on the reference database: the time until the answer is there.

const { copyReference, withoutReference } = require('../data.cjs');
const { observe } = require('../observe.cjs');
const { reads, sampleOf, searches, size } = require('../reads.cjs');
const { microseconds } = require('../timing.cjs');

const NAMES = { project: 'claude-mem', small: 'rust-queue' };

/** Times each of `calls` on an opened `{store, pages}`. */
async function timeCalls(opened, calls, quick) {
  const [measures, sizes] = [{}, {}];
  for (const { label, target, method, args } of calls) {
    const call = () => opened[target][method](...args);
    sizes[label] = size(await call());
    measures[label] = await microseconds(call, quick ? { least: 1, budgetMs: 0 } : {});
  }
  return { measures, sizes };
}

const PLACEHOLDER = { session: {}, ids: [], summaries: [], prompts: [], ...NAMES };

module.exports = {
  title: 'Reads and searches on the reference database',
  accepts: (driver) => driver.provides.includes('store'),
  unavailable: withoutReference,
  peer: 'better-sqlite3',
  variants: [
    { title: 'reads', calls: reads },
    { title: 'searches', calls: searches },
  ],
  measures: Object.fromEntries(
    [...reads(PLACEHOLDER), ...searches(PLACEHOLDER)].map(({ label }) => [
      label,
      {
        title: label,
        unit: 'µs',
        ...(/^get(Observations), a large/.test(label) ? { wanted: { faster: 15 } } : {}),
        ...(/a small project$/.test(label) ? { wanted: { faster: 1 } } : {}),
      },
    ]),
  ),
  async run(driver, { directory, variant, quick }) {
    copyReference(directory);
    const opened = await driver.openStore(directory);
    const calls = variant.calls(await sampleOf(opened, NAMES.project, NAMES.small));
    const { result, process } = await observe(() => timeCalls(opened, calls, quick));
    await opened.close();
    return { ...result, process };
  },
  timeCalls,
};
