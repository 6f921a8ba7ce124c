'use strict';
// Loads the binary: tries each place, takes the first that is ours and of our version, and keeps what was tried and why
// it was not taken.
const fs = require('node:fs');
const { version } = require('../package.json');
const { BINARY_VARIABLE, candidates } = require('./candidates.cjs');
const { copyInto } = require('./data-directory-copy.cjs');
const { missingBytes } = require('./elf.cjs');
const { modelFolders } = require('./model-packages.cjs');
const { NativeBindingError } = require('./native-binding-error.cjs');
const { describePlatform } = require('./platform.cjs');

/** Why a place is not taken. */
class Unfit extends Error {}

/** The binding in a file. Throws where it cannot be loaded, or is not ours, or not of our version. */
function bindingOf(file) {
  if (!file.endsWith('.node')) throw new Unfit('is no binary: its name must end in .node');
  const missing = missingBytes(file);
  if (missing > 0) throw new Unfit(`is damaged: ${missing} bytes are missing at its end`);
  const binding = require(file);
  if (typeof binding?.openMemory !== 'function') throw new Unfit('can be loaded, but is no binary of this package');
  if (binding.version !== version)
    throw new Unfit(`is of version ${binding.version ?? 'unknown'}, and this package of ${version}`);
  return binding;
}

/** One line of whatever was thrown. */
function reasonOf(error) {
  const text = String(error?.message ?? error)
    .split('\n', 1)[0]
    .trim();
  return error instanceof Unfit ? text : `cannot be loaded: ${text}`;
}

/**
 * Loads what the options name, or else the usual. Never throws: `{binding, path, source, copyOf, tried, error}`, where
 * either `binding` or `error` is null.
 */
function load({ binary, copyTo, root } = {}) {
  const platform = describePlatform();
  const tried = [];
  const note = (source, path, reason, missing = false) => tried.push({ source, path, reason, missing });
  const attempt = (source, path, copyOf) => {
    try {
      const binding = bindingOf(path);
      binding.lookForModelsIn(modelFolders(root));
      return { binding, path, source, copyOf, tried, error: null };
    } catch (error) {
      note(source, path, reasonOf(error));
      return null;
    }
  };
  for (const { source, path, name } of candidates({ targets: platform.targets, binary, root })) {
    if (path === null || !fs.existsSync(path)) {
      note(source, path ?? `package ${name}`, path === null ? 'is not installed' : 'is not there', true);
      continue;
    }
    if (copyTo) {
      let copy;
      try {
        copy = copyInto(copyTo, path, version);
      } catch (error) {
        note('copy', copyTo, `cannot take a copy: ${error.message}`);
      }
      const loaded = copy && attempt('copy', copy, path);
      if (loaded) return loaded;
    }
    const loaded = attempt(source, path, null);
    if (loaded) return loaded;
  }
  const error = new NativeBindingError({ version, platform, tried, explicit: Boolean(binary) });
  return { binding: null, path: null, source: null, copyOf: null, tried, error };
}

/** The data directory where the settings say that the binary is to be loaded from there. */
function copyFolderOfSettings() {
  let settings;
  try {
    settings = require('../settings/index.cjs').readSettings();
  } catch {
    return undefined; // a package that was copied in part: what is there still works
  }
  return settings.values.CLAUDE_MEM_NATIVE_LOAD_FROM === 'data-directory' ? settings.dataDir : undefined;
}

let usual = null;

/** What `require('claude-mem-native')` loads, once. */
function loadUsual() {
  usual ??= load({ binary: process.env[BINARY_VARIABLE] || undefined, copyTo: copyFolderOfSettings() });
  return usual;
}

module.exports = { load, loadUsual };
