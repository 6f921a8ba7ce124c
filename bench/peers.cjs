'use strict';
// The peers: packages of bench/peers, installed there on the first run. better-sqlite3 is compiled here, against the
// headers that lie beside this Node. What cannot be had is named, and the run goes on without it.

const fs = require('node:fs');
const path = require('node:path');
const { spawnSync } = require('node:child_process');

const FOLDER = path.join(__dirname, 'peers');
const MODULES = path.join(FOLDER, 'node_modules');

/** A package of bench/peers, or null where it is not there or does not load. */
function requirePeer(name) {
  try {
    const place = require.resolve(name, { paths: [FOLDER] });
    return place.startsWith(MODULES) ? require(place) : null;
  } catch {
    return null;
  }
}

/** better-sqlite3's class, or null. Its binary is loaded by the first open, so one is opened. */
function betterSqlite3() {
  const Database = requirePeer('better-sqlite3');
  try {
    new Database(':memory:').close();
    return Database;
  } catch {
    return null;
  }
}

function npmCli() {
  const running = process.env.npm_execpath;
  if (running && path.basename(running) === 'npm-cli.js') return running;
  const beside = path.join(path.dirname(fs.realpathSync(process.execPath)), '../lib/node_modules/npm/bin/npm-cli.js');
  return fs.existsSync(beside) ? beside : null;
}

function run(title, args, env) {
  process.stdout.write(`bench: ${title} …\n`);
  const child = spawnSync(process.execPath, args, {
    cwd: FOLDER,
    encoding: 'utf8',
    env: { ...process.env, ...env },
    maxBuffer: 2 ** 26,
  });
  if (child.status === 0) return null;
  const said = `${child.stdout}\n${child.stderr}`.trim().split('\n').slice(-12).join('\n  ');
  return `${title} failed:\n  ${said}`;
}

function missingTools() {
  const runs = (command) => spawnSync(command, ['--version'], { stdio: 'ignore' }).status === 0;
  return ['make', 'c++', 'python3'].filter((command) => !runs(command));
}

/** Installs and compiles what is missing. Returns why better-sqlite3 and plainjob cannot take part, or null. */
function installPeers() {
  if (betterSqlite3() && requirePeer('plainjob')) return null;
  const npm = npmCli();
  if (!npm) return 'npm was not found beside this Node; start the benchmarks with "npm run bench"';
  const failed = run('installing the peers', [npm, 'ci', '--ignore-scripts', '--no-audit', '--no-fund']);
  if (failed) return failed;
  const missing = process.platform === 'win32' ? [] : missingTools();
  if (missing.length > 0)
    return `better-sqlite3 is compiled from source, and ${missing.join(', ')} cannot be run (Debian and Ubuntu: "apt-get install build-essential python3")`;
  const gyp = path.join(path.dirname(npm), '../node_modules/node-gyp/bin/node-gyp.js');
  if (!fs.existsSync(gyp)) return `better-sqlite3 is compiled with npm's node-gyp, which is not at ${gyp}`;
  // Without headers beside this Node node-gyp looks for them itself.
  const prefix = path.dirname(path.dirname(fs.realpathSync(process.execPath)));
  const headers = fs.existsSync(path.join(prefix, 'include/node/node.h')) ? { npm_config_nodedir: prefix } : {};
  const compile = [gyp, 'rebuild', '--release', '-C', path.join(MODULES, 'better-sqlite3')];
  const notCompiled = run('compiling better-sqlite3 (some two minutes, once)', compile, headers);
  if (notCompiled) return notCompiled;
  return betterSqlite3() ? null : 'better-sqlite3 was compiled but does not load';
}

module.exports = { betterSqlite3, installPeers, requirePeer };
