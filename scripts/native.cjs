'use strict';
// Builds the native module and, for the tests, the same module with its injection points.
//
// One profile for all: `napi build --release`, `cargo test --release` and the fault-injection build share
// target/<triple>/release and ask for the same features, so that every dependency (SQLite's C sources among
// them) is compiled once. `.cargo/config.toml` makes cargo's target the one that napi names. This crate itself is
// compiled for each: napi tells its macros through the environment where to write types, and cargo sees that.

const fs = require('node:fs');
const path = require('node:path');
const { describePlatform } = require('../loader/platform.cjs');
const { writeEntry } = require('./entry.cjs');
const { Missing, requireCargo, requireCompilers } = require('./requirements.cjs');
const { ROOT, StepFailed, run, runStep, say, seconds, toolPath } = require('./steps.cjs');

const SOURCES = ['Cargo.toml', 'Cargo.lock', 'build.rs', 'package.json', '.cargo/config.toml', 'src'];
const FAULT_MODULE = path.join(ROOT, '__test__', 'fault', 'claude-mem-native-fault.node');

/** The newest change below a path; a directory counts too, so that a removed file is seen. */
function newestChange(place) {
  const status = fs.statSync(place, { throwIfNoEntry: false });
  if (!status) return 0;
  if (!status.isDirectory()) return status.mtimeMs;
  return fs
    .readdirSync(place)
    .reduce((newest, name) => Math.max(newest, newestChange(path.join(place, name))), status.mtimeMs);
}

function isOlderThanSources(file, extraSources = []) {
  const built = fs.statSync(file, { throwIfNoEntry: false });
  if (!built) return true;
  return [...SOURCES, ...extraSources].some((source) => newestChange(path.join(ROOT, source)) > built.mtimeMs);
}

/** The file that a build makes for this machine. */
function moduleFile() {
  const [target] = describePlatform().targets;
  if (!target) throw new Missing(`claude-mem-native is not built for ${process.platform} ${process.arch}.`);
  return path.join(ROOT, `claude-mem-native.${target}.node`);
}

/** Checks the toolchain and returns what cargo's environment needs for all builds to share their results. */
function cargoEnvironment() {
  requireCargo();
  requireCompilers();
  // napi adds this flag on musl; without it here as well, the tests would compile everything again.
  // Cargo takes flags from the environment instead of those in .cargo/config.toml, so that one is repeated.
  const inlining = process.arch === 'x64' ? ' -C llvm-args=-inline-threshold=1000' : '';
  const flag = `-C target-feature=-crt-static${inlining}`;
  const given = process.env.RUSTFLAGS ?? '';
  return moduleFile().includes('-musl') && !given.includes('crt-static')
    ? { RUSTFLAGS: `${given} ${flag}`.trim() }
    : {};
}

function expectedTime() {
  const target = path.join(ROOT, 'target');
  return fs.existsSync(target)
    ? 'the dependencies are compiled already: about a minute'
    : 'the first build compiles SQLite and all dependencies: 1 to 3 minutes on two cores';
}

/** Builds the module and generates index.js and index.d.ts. */
async function buildModule() {
  const env = cargoEnvironment();
  say(`building the native module (${expectedTime()}) …`);
  const startedAt = performance.now();
  const napi = toolPath('@napi-rs/cli', 'napi');
  const args = ['build', '--release', '--platform', '--no-js', '--no-const-enum'];
  await runStep('napi build', process.execPath, [napi, ...args], { env });
  writeEntry();
  say(`built in ${seconds(startedAt)}.`);
}

/** Builds the module where it is missing or older than its sources. */
async function ensureModule() {
  const complete = ['index.js', 'index.d.ts'].every((file) => fs.existsSync(path.join(ROOT, file)));
  if (!complete || isOlderThanSources(moduleFile())) await buildModule();
}

/** Builds `__test__/fault/claude-mem-native-fault.node` where it is missing or older than its sources. */
async function ensureFaultModule() {
  if (!isOlderThanSources(FAULT_MODULE, ['__test__/fault/Cargo.toml'])) return;
  const env = cargoEnvironment();
  say('building the module with injection points, for the tests (about a minute) …');
  const startedAt = performance.now();
  let library = null;
  const args = [
    'build',
    '--release',
    '--package',
    'claude-mem-native-fault',
    '--message-format=json-render-diagnostics',
  ];
  const status = await run('cargo', args, {
    env,
    readOutput(line) {
      const message = JSON.parse(line);
      if (message.reason !== 'compiler-artifact' || message.target.name !== 'claude_mem_native_fault') return;
      library = message.filenames.find((file) => /\.(so|dylib|dll)$/.test(file)) ?? library;
    },
  });
  if (status !== 0 || !library) throw new StepFailed('the fault-injection build', status || 1);
  // A rename, as a process that still runs the old file must keep it.
  const fresh = `${FAULT_MODULE}.${process.pid}`;
  fs.copyFileSync(library, fresh);
  fs.renameSync(fresh, FAULT_MODULE);
  say(`built in ${seconds(startedAt)}.`);
}

module.exports = { buildModule, cargoEnvironment, ensureFaultModule, ensureModule, moduleFile };
