'use strict';
// Where settings files lie. Apart from what reads them, so that somebody who only asks whether there is anything to read
// need not load it.
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

/** The key that says where settings.json itself lies; it counts in the environment only. */
const DATA_DIR_KEY = 'CLAUDE_MEM_DATA_DIR';

/** The directory of settings.json, its path, and that of the file in which claude-mem 6.0.2 kept some of its keys. */
function settingsPlaces({ dataDir, home = os.homedir(), environment = process.env } = {}) {
  const directory = path.resolve(dataDir || environment[DATA_DIR_KEY] || path.join(home, '.claude-mem'));
  return {
    directory,
    file: path.join(directory, 'settings.json'),
    legacy: path.join(home, '.claude', 'settings.json'),
  };
}

/** Whether the environment or a settings file has a key, valid or not: where none has, there is nothing to read. */
function isMentioned(key) {
  if (process.env[key]) return true;
  const { file, legacy } = settingsPlaces();
  return [file, legacy].some((place) => {
    try {
      return fs.readFileSync(place, 'utf8').includes(key);
    } catch {
      return false; // no file, or none that could be read later
    }
  });
}

module.exports = { DATA_DIR_KEY, isMentioned, settingsPlaces };
