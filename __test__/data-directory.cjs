'use strict';
// Data directories of their own for the tests, and the reference databases that may lie beside the repository.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const { removeTree } = require('./remove-tree.cjs');

const FIXTURES = path.join(__dirname, '../../shared/fixtures');

/** A new data directory, removed after the test `t`; with a copy of the reference database where one is named. */
function dataDirectory(t, fixture) {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'claude-mem-native-test-'));
  t.after(() => removeDirectory(directory));
  const database = path.join(directory, 'claude-mem.db');
  if (fixture) fs.writeFileSync(database, fs.readFileSync(path.join(FIXTURES, fixture)));
  return { directory, database };
}

/** Directories in which somebody was still making a file: a memory that is disposed only after this. */
const left = new Set();
process.once('exit', () => {
  for (const directory of left) removeTree(directory);
});

/** Removes a directory; where somebody is still making files in it, once this process ends. Never in the way of other clean-up. */
function removeDirectory(directory) {
  try {
    removeTree(directory);
  } catch (error) {
    if (error.code !== 'ENOTEMPTY') throw error;
    left.add(directory);
  }
}

/** What `test` takes as its `skip` option: why, where one of the reference databases is absent. */
function withoutFixtures(...names) {
  const missing = names.find((name) => !fs.existsSync(path.join(FIXTURES, name)));
  return missing ? `${path.join(FIXTURES, missing)} is not here` : false;
}

/** Every file and directory below a directory, with its content. */
function contents(directory) {
  const entries = fs.readdirSync(directory, { recursive: true, withFileTypes: true }).map((entry) => {
    const place = path.join(entry.parentPath ?? entry.path, entry.name);
    return [path.relative(directory, place), entry.isFile() ? fs.readFileSync(place, 'base64') : null];
  });
  return Object.fromEntries(entries.sort());
}

module.exports = { contents, dataDirectory, removeDirectory, withoutFixtures };
