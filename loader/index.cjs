'use strict';
// `claude-mem-native/loader`: says what would be loaded and why not, and loads what is named. Needs no binary.
const { load, loadUsual } = require('./load.cjs');
const { NativeBindingError } = require('./native-binding-error.cjs');
const { describePlatform } = require('./platform.cjs');

const OPTIONS = ['binary', 'copyTo'];

function check(options) {
  for (const [name, value] of Object.entries(options)) {
    if (!OPTIONS.includes(name)) throw new TypeError(`unknown option '${name}'; known are ${OPTIONS.join(', ')}`);
    if (value !== undefined && (typeof value !== 'string' || value === ''))
      throw new TypeError(`option '${name}' must be a path`);
  }
  return options;
}

/** See index.d.ts. */
function findNative(options = {}) {
  const { binary, copyTo } = check(options);
  const { binding, path, source, copyOf, tried, error } = binary || copyTo ? load({ binary, copyTo }) : loadUsual();
  let native = null;
  if (binding) {
    const { lookForModelsIn: _, ...exported } = binding;
    native = exported;
  }
  const attempts = tried.map(({ path: place, source: kind, reason }) => ({ path: place, source: kind, reason }));
  return { native, path, source, copyOf, tried: attempts, error };
}

/** See index.d.ts. */
function loadNative(options) {
  const { native, error } = findNative(options);
  if (error) throw error;
  return native;
}

module.exports = { describePlatform, findNative, loadNative, NativeBindingError };
