'use strict';
// The part of README.md between two markers.

const fs = require('node:fs');

const BEGIN = '<!-- bench: written by "npm run bench" -->';
const END = '<!-- /bench -->';

/** Replaces what stands between the markers of `file`. */
function writeSection(file, text) {
  const before = fs.readFileSync(file, 'utf8');
  const [start, end] = [before.indexOf(BEGIN), before.indexOf(END)];
  if (start < 0 || end < start) throw new Error(`${file} has no markers for the table of figures: ${BEGIN} … ${END}`);
  fs.writeFileSync(file, `${before.slice(0, start + BEGIN.length)}\n\n${text}\n${before.slice(end)}`);
}

module.exports = { writeSection };
