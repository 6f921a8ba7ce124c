'use strict';
// Every key that settings.json may hold, with its kind and, where the worker needs a value, its default.
const { wholeNumber, text, folder, oneOf } = require('./value-kinds.cjs');
const { OPEN_OPTIONS, settingOf } = require('./open-options.cjs');

/** The key that says where settings.json itself lies; it counts in the environment only. */
const DATA_DIR_KEY = 'CLAUDE_MEM_DATA_DIR';

/**
 * The key that names a binary to load in place of the package's own. It counts in the environment only: whoever can
 * write the file, as hooks and web pages can, must not be able to have code loaded. loader/ reads it.
 */
const BINARY_KEY = 'CLAUDE_MEM_NATIVE_BINARY';

/** @type {Record<string, {kind: Function, fallback?: unknown, option?: string}>} */
const KEYS = {
  CLAUDE_MEM_MODEL: { kind: text(200), fallback: 'claude-haiku-4-5' },
  CLAUDE_MEM_CONTEXT_OBSERVATIONS: { kind: wholeNumber(1, 200), fallback: 50 },
  CLAUDE_MEM_WORKER_PORT: { kind: wholeNumber(1024, 65535), fallback: 37777 },
  CLAUDE_MEM_MODEL_DIR: { kind: folder },
  CLAUDE_MEM_NATIVE_LOAD_FROM: { kind: oneOf('package', 'data-directory'), fallback: 'package' },
};
for (const [option, kind] of Object.entries(OPEN_OPTIONS)) KEYS[settingOf(option)] = { kind, option };

/** How many signs must be put in, taken out, changed, or swapped with their neighbour, to make `from` into `to`. */
function distance(from, to) {
  const rows = [Array.from({ length: to.length + 1 }, (_, column) => column)];
  for (let i = 1; i <= from.length; i += 1) {
    const row = [i];
    for (let j = 1; j <= to.length; j += 1) {
      const same = from[i - 1] === to[j - 1];
      row[j] = Math.min(rows[i - 1][j] + 1, row[j - 1] + 1, rows[i - 1][j - 1] + (same ? 0 : 1));
      if (i > 1 && j > 1 && from[i - 1] === to[j - 2] && from[i - 2] === to[j - 1]) {
        row[j] = Math.min(row[j], rows[i - 2][j - 2] + 1);
      }
    }
    rows.push(row);
  }
  return rows[from.length][to.length];
}

/** The known key that `key` is a slip of the pen for, or null. */
function nearestKey(key, furthest) {
  const known = [...Object.keys(KEYS), 'NODE_OPTIONS', DATA_DIR_KEY, BINARY_KEY];
  const [nearest] = known
    .map((name) => ({ name, steps: distance(key, name) }))
    .filter(({ steps }) => steps <= furthest)
    .sort((a, b) => a.steps - b.steps);
  return nearest?.name ?? null;
}

module.exports = { KEYS, BINARY_KEY, DATA_DIR_KEY, nearestKey };
