'use strict';
// The peers: packages of bench/peers, installed there on the first run. better-sqlite3 and hnswlib-node are compiled
// here, against the headers that lie beside this Node. What cannot be had is named, and the run goes on without it.

const fs = require('node:fs');
const path = require('node:path');
const { spawnSync } = require('node:child_process');

const FOLDER = path.join(__dirname, 'peers');
const MODULES = path.join(FOLDER, 'node_modules');
// LanceDB's binaries for other platforms are not in every registry, so that a lock file that names them installs
// nowhere; its packages have a folder and exact versions, and no lock file.
const LANCE = { folder: path.join(FOLDER, 'lancedb'), packages: ['@lancedb/lancedb@0.37.1', 'apache-arrow@18.1.0'] };
const HOMES = [MODULES, path.join(LANCE.folder, 'node_modules')];

/** A package of the peers, or null where it is not there or does not load. */
function requirePeer(name) {
  for (const home of HOMES) {
    const place = path.join(home, name);
    if (!fs.existsSync(place)) continue;
    try {
      return require(place);
    } catch {
      return null;
    }
  }
  return null;
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

/** hnswlib-node, or null. Its binary is loaded by the first index. */
function hnswlib() {
  const library = requirePeer('hnswlib-node');
  try {
    new library.L2Space(1);
    return library;
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

/** Compiles a package of the peers; why it could not, or null. */
function compile(name, npm) {
  const missing = process.platform === 'win32' ? [] : missingTools();
  if (missing.length > 0)
    return `it is compiled from source, and ${missing.join(', ')} cannot be run (Debian and Ubuntu: "apt-get install build-essential python3")`;
  const gyp = path.join(path.dirname(npm), '../node_modules/node-gyp/bin/node-gyp.js');
  if (!fs.existsSync(gyp)) return `it is compiled with npm's node-gyp, which is not at ${gyp}`;
  // Without headers beside this Node node-gyp looks for them itself.
  const prefix = path.dirname(path.dirname(fs.realpathSync(process.execPath)));
  const headers = fs.existsSync(path.join(prefix, 'include/node/node.h')) ? { npm_config_nodedir: prefix } : {};
  const args = [gyp, 'rebuild', '--release', '-C', path.join(MODULES, name)];
  return run(`compiling ${name} (up to two minutes, once)`, args, headers);
}

/** Installs and compiles what is missing. Returns a sentence for each peer that cannot take part. */
function installPeers() {
  const present = { 'better-sqlite3': betterSqlite3, 'hnswlib-node': hnswlib };
  const plain = ['plainjob', 'sqlite-vec', 'usearch'];
  const there = () => plain.every(requirePeer) && Object.keys(present).every((name) => present[name]());
  if (there() && requirePeer('@lancedb/lancedb')) return [];
  const npm = npmCli();
  if (!npm) return ['npm was not found beside this Node; start the benchmarks with "npm run bench"'];
  const without = [];
  if (!there()) {
    const failed = run('installing the peers', [npm, 'ci', '--ignore-scripts', '--no-audit', '--no-fund']);
    if (failed) return [failed];
    for (const [name, load] of Object.entries(present)) {
      const failure = compile(name, npm) ?? (load() ? null : 'it was compiled but does not load');
      if (failure) without.push(`${name}: ${failure}`);
    }
    for (const name of plain) if (!requirePeer(name)) without.push(`${name}: it was installed but does not load`);
  }
  if (!requirePeer('@lancedb/lancedb')) {
    const quiet = ['--no-save', '--no-package-lock', '--ignore-scripts', '--no-audit', '--no-fund'];
    const failed = run('installing LanceDB', [npm, 'install', '--prefix', LANCE.folder, ...quiet, ...LANCE.packages]);
    if (failed) without.push(failed);
  }
  return without;
}

module.exports = { betterSqlite3, hnswlib, installPeers, requirePeer };
