'use strict';
// Page lists on 100,000 observations, of a large project and of one that is small and older than all others.

const { PROJECTS, copyLarge } = require('../data.cjs');
const { observe } = require('../observe.cjs');
const { timeCalls } = require('./reads.cjs');

const call = (label, ...args) => ({ label, target: 'pages', method: 'getObservations', args });
const CALLS = [
  call('the first page of a large project', 0, 20, PROJECTS.large),
  call('its fiftieth page', 1_000, 20, PROJECTS.large),
  call('the first page of a small old project', 0, 20, PROJECTS.small),
  call('the first page of all projects', 0, 20),
];
const WANTED = [{ faster: 15 }, undefined, { faster: 1 }, undefined];

module.exports = {
  title: 'Page lists on 100,000 observations',
  accepts: (driver) => driver.provides.includes('store'),
  peer: 'better-sqlite3',
  variants: [{ title: '' }],
  measures: Object.fromEntries(
    CALLS.map(({ label }, index) => [label, { title: label, unit: 'µs', wanted: WANTED[index] }]),
  ),
  async run(driver, { directory, quick }) {
    await copyLarge(directory, quick);
    const opened = await driver.openStore(directory);
    const { result, process } = await observe(() => timeCalls(opened, CALLS, quick));
    await opened.close();
    return { ...result, process };
  },
};
