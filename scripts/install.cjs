'use strict';
// Installs what package-lock.json names, where it is not installed yet.

const fs = require('node:fs');
const path = require('node:path');
const { ROOT, runStep, say, seconds } = require('./steps.cjs');

function readLock(file) {
  try {
    return JSON.parse(fs.readFileSync(file, 'utf8')).packages;
  } catch {
    return null;
  }
}

/** True where node_modules holds each package of the lock file in its version; npm keeps its own list there. */
function isInstalled() {
  const wanted = readLock(path.join(ROOT, 'package-lock.json'));
  const present = readLock(path.join(ROOT, 'node_modules', '.package-lock.json'));
  if (!wanted || !present) return false;
  return Object.entries(wanted).every(([place, entry]) => {
    if (place === '') return true;
    if (!present[place]) return entry.optional === true; // made for another platform
    return present[place].version === entry.version && present[place].integrity === entry.integrity;
  });
}

/** How to call npm: the one that runs this script where there is one, without a shell. */
function npmCommand(args) {
  const cli = process.env.npm_execpath;
  if (cli && path.basename(cli) === 'npm-cli.js') return [process.execPath, [cli, ...args], {}];
  return ['npm', args, { shell: process.platform === 'win32' }];
}

/** Installs the packages, or does nothing where they are there. */
async function install() {
  if (isInstalled()) return;
  say('installing the packages of package-lock.json (usually under a minute) …');
  const startedAt = performance.now();
  const [command, args, options] = npmCommand(['ci', '--include=dev', '--no-audit', '--no-fund', '--loglevel=error']);
  await runStep('npm ci', command, args, options);
  say(`installed in ${seconds(startedAt)}.`);
}

module.exports = { install, npmCommand };
