'use strict';
// What doctor finds without opening anything: Node, the binary, the directory, its permissions, settings, free space.

const fs = require('node:fs');
const path = require('node:path');
const { findNative } = require('../../loader/index.cjs');
const { firstLine } = require('../faults.cjs');
const { databaseOf, settingsOf } = require('../opening.cjs');
const { bytes } = require('../output.cjs');
const { engines, version } = require('../../package.json');
const { finding } = require('./finding.cjs');

/** Below this SQLite is about to fail; below the second somebody should look. */
const NO_SPACE = 100_000_000;
const LITTLE_SPACE = 1_000_000_000;

const statOf = (place) => fs.statSync(place, { throwIfNoEntry: false });

function ofNode() {
  const [major, minor] = /(\d+)\.(\d+)/.exec(engines.node).slice(1).map(Number);
  const [hereMajor, hereMinor] = process.versions.node.split('.').map(Number);
  const old = hereMajor < major || (hereMajor === major && hereMinor < minor);
  const here = process.versions.bun ? `Bun ${process.versions.bun}` : `Node ${process.versions.node}`;
  return old
    ? finding('runtime', 'error', `${here} is too old`, `install Node ${major}.${minor} or newer`)
    : finding('runtime', 'ok', `${here}, ${process.platform} ${process.arch}`);
}

function ofBinary() {
  const { path: file, copyOf, tried, error } = findNative();
  const places = tried.map(({ path: place, reason }) => `${place} ${reason}`).join('; ');
  if (error) return finding('binary', 'error', `${firstLine(error)}. Tried: ${places}`, error.remedy);
  const message = `${file}${copyOf ? `, a copy of ${copyOf}` : ''}, version ${version}`;
  const refused = tried.filter(({ source }) => source === 'copy');
  return refused.length > 0
    ? finding(
        'binary',
        'warning',
        `${message}; not the copy in the data directory that the settings ask for: ${refused[0].reason}`,
        `make ${refused[0].path} writable for you, or remove CLAUDE_MEM_NATIVE_LOAD_FROM from the settings`,
      )
    : finding('binary', 'ok', message);
}

function ofDirectory(directory) {
  const stat = statOf(directory);
  if (!stat)
    return [
      finding(
        'directory',
        'warning',
        `${directory} is not there`,
        'start the worker, which makes it, or run "claude-mem-native setup"; name another with --data-dir',
      ),
    ];
  if (!stat.isDirectory())
    return [finding('directory', 'error', `${directory} is no directory`, 'name the right one with --data-dir')];
  return [finding('directory', 'ok', directory)];
}

function ofPermissions(directory) {
  if (!statOf(directory)?.isDirectory()) return null;
  const places = [directory, path.join(directory, 'native'), databaseOf(directory)];
  for (const name of ['queue.db', 'index.db', 'collections.db', 'owner.lock'])
    places.push(path.join(directory, 'native', name));
  for (const place of places.filter((each) => statOf(each))) {
    const wanted = statOf(place).isDirectory() ? fs.constants.X_OK : 0;
    try {
      fs.accessSync(place, fs.constants.R_OK | fs.constants.W_OK | wanted);
    } catch (error) {
      return finding(
        'permissions',
        'error',
        `${place} cannot be read and written (${error.code})`,
        `make it yours: chown -R and chmod -R u+rwX ${directory}`,
      );
    }
  }
  const open = process.platform !== 'win32' && statOf(directory).mode & 0o077;
  return open
    ? finding('permissions', 'info', 'others on this machine may look into the directory', `chmod 700 ${directory}`)
    : finding('permissions', 'ok', 'all files can be read and written');
}

/** A finding for each setting that does not count. */
function ofSettings(options) {
  const { file, rejected, values } = settingsOf(options);
  if (rejected.length === 0) {
    const where = statOf(file) ? file : 'none in the data directory; the environment and the defaults count';
    return [finding('settings', 'ok', `${where}; the worker's port is ${values.CLAUDE_MEM_WORKER_PORT}`)];
  }
  return rejected.map(({ source, key, message }) =>
    finding('settings', 'warning', message, key === null ? `mend ${file}, or remove it` : remedyOf(source, key, file)),
  );
}

function remedyOf(source, key, file) {
  if (source === 'environment') return `correct ${key} in the environment of the worker, or unset it`;
  return `correct ${key} in ${source === 'legacy' ? '~/.claude/settings.json' : file}, or remove it`;
}

/** The nearest directory above a place that is there. */
function nearest(place) {
  while (!statOf(place) && path.dirname(place) !== place) place = path.dirname(place);
  return place;
}

/** Bytes that may be written at a place. */
function freeBytes(place) {
  const { bavail, bsize } = fs.statfsSync(nearest(place));
  return bavail * bsize;
}

function ofDisk(directory) {
  let free;
  try {
    free = freeBytes(directory);
  } catch (error) {
    return finding('disk space', 'info', `cannot be told: ${error.message}`);
  }
  const remedy = 'make room; messages are refused with ERR_DISK_FULL when there is none, and none is lost';
  if (free < NO_SPACE) return finding('disk space', 'error', `only ${bytes(free)} are free`, remedy);
  if (free < LITTLE_SPACE) return finding('disk space', 'warning', `only ${bytes(free)} are free`, remedy);
  return finding('disk space', 'ok', `${bytes(free)} are free`);
}

module.exports = { freeBytes, ofBinary, ofDirectory, ofDisk, ofNode, ofPermissions, ofSettings };
