'use strict';
// A Chromium that is installed on this machine; nothing is downloaded.

const fs = require('node:fs');
const path = require('node:path');

const NAMES = ['chromium', 'chromium-browser', 'google-chrome', 'google-chrome-stable'];
const PLACES = [
  '/Applications/Chromium.app/Contents/MacOS/Chromium',
  '/Applications/Google Chrome.app/Contents/MacOS/Google Chrome',
  ...[process.env.PROGRAMFILES, process.env['PROGRAMFILES(X86)'], process.env.LOCALAPPDATA]
    .filter(Boolean)
    .map((base) => path.join(base, 'Google', 'Chrome', 'Application', 'chrome.exe')),
];

/** The path of an installed Chromium or Chrome, or null. `CHROMIUM_PATH` wins. */
function findChromium() {
  if (process.env.CHROMIUM_PATH) return process.env.CHROMIUM_PATH;
  const onPath = (process.env.PATH ?? '')
    .split(path.delimiter)
    .flatMap((directory) => NAMES.map((name) => path.join(directory, name)));
  return [...onPath, ...PLACES].find((candidate) => fs.existsSync(candidate)) ?? null;
}

module.exports = { findChromium };
