'use strict';
// Opening the reference database, ready to read and write.

const { copyReference, withoutReference } = require('../data.cjs');
const { observe } = require('../observe.cjs');
const { median } = require('../statistics.cjs');

module.exports = {
  title: 'Open the reference database',
  accepts: (driver) => driver.provides.includes('open'),
  unavailable: withoutReference,
  variants: [{ title: '' }],
  measures: {
    first: { title: 'for the first time', unit: 'ms', wanted: { atMost: 30 } },
    again: { title: 'again, with one read', unit: 'ms', wanted: { atMost: 30 } },
  },
  async run(driver, { directory, quick }) {
    copyReference(directory);
    const times = [];
    const { process } = await observe(async () => {
      for (let run = 0; run < (quick ? 2 : 8); run += 1) {
        const startedAt = performance.now();
        const opened = await driver.openStore(directory, { whole: true });
        if (run === 0) times.push(performance.now() - startedAt);
        await opened.store.getObservationById(1);
        if (run > 0) times.push(performance.now() - startedAt);
        await opened.close();
      }
    });
    return { measures: { first: times[0], again: median(times.slice(1)) }, process };
  },
};
