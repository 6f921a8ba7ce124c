'use strict';
// The databases that the trials work on.

const fs = require('node:fs');
const path = require('node:path');
const { openMemory } = require('..');
const { observation } = require('./payload.cjs');

const REFERENCE = path.join(__dirname, '../../shared/fixtures/claude-mem-6.0.2.db');
const LARGE = path.join(__dirname, 'results/observations-100000.db');

/** Why the trials on the reference database cannot run, or null. */
const withoutReference = () => (fs.existsSync(REFERENCE) ? null : `${REFERENCE} is not here`);

/** Puts a copy of the reference database into a directory. */
const copyReference = (directory) => fs.copyFileSync(REFERENCE, path.join(directory, 'claude-mem.db'));

/** A copy of the reference database where there is one, else the empty schema. */
async function prepare(directory) {
  if (!withoutReference()) return copyReference(directory);
  const memory = await openMemory({ dataDir: directory });
  await memory.dispose();
}

/** Projects of the large database: the small one is its oldest. */
const PROJECTS = { small: 'small-and-old', large: 'large' };

/**
 * Makes a database of `count` observations in a directory: 150 of a small project, older than all others, then a
 * large project with two thirds of the rest and forty others between.
 */
async function makeLarge(directory, count) {
  const memory = await openMemory({ dataDir: directory });
  const sessions = new Map();
  for (const project of [PROJECTS.small, PROJECTS.large, ...Array.from({ length: 40 }, (_, index) => `p-${index}`)])
    sessions.set(project, await memory.store.createSDKSession(`session-${project}`, project, 'a prompt'));
  const projectOf = (row) => {
    if (row < 150) return PROJECTS.small;
    return row % 3 === 0 ? `p-${(row / 3) % 40}` : PROJECTS.large;
  };
  const epoch = 1_700_000_000_000;
  let groups = new Map();
  const flush = async () => {
    const answers = [...groups].map(([project, observations]) =>
      memory.store.commitResponse({ sessionDbId: sessions.get(project), observations }),
    );
    groups = new Map();
    await Promise.all(answers);
  };
  for (let row = 0; row < count; row += 1) {
    const project = projectOf(row);
    const rows = groups.get(project) ?? [];
    rows.push({ ...observation(row), createdAtEpoch: epoch + row * 1_000 });
    groups.set(project, rows);
    if (row % 2_000 === 1_999) await flush();
  }
  await flush();
  await memory.dispose();
}

/** Puts a database of 100,000 observations into a directory; it is made once and kept in bench/results. */
async function copyLarge(directory, quick) {
  if (quick) return makeLarge(directory, 1_000);
  if (!fs.existsSync(LARGE)) {
    const making = fs.mkdtempSync(path.join(directory, 'making-'));
    await makeLarge(making, 100_000);
    fs.mkdirSync(path.dirname(LARGE), { recursive: true });
    // Renamed last, so that an interrupted run leaves no half of it.
    fs.copyFileSync(path.join(making, 'claude-mem.db'), `${LARGE}.new`);
    fs.renameSync(`${LARGE}.new`, LARGE);
    fs.rmSync(making, { recursive: true });
  }
  fs.copyFileSync(LARGE, path.join(directory, 'claude-mem.db'));
}

module.exports = { PROJECTS, copyLarge, copyReference, prepare, withoutReference };
