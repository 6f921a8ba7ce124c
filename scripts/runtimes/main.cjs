'use strict';
// Runs the test files on the runtimes, says how each went, and prints the matrix.

const crypto = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { moduleFile } = require('../native.cjs');
const { ROOT, StepFailed, say } = require('../steps.cjs');
const { CACHE, NotAvailable, installedRuntime } = require('./install.cjs');
const { cellOf, markdown, plain, total } = require('./matrix.cjs');
const { endAll, runFile } = require('./run-file.cjs');
const { notAboutTheRuntime } = require('./selection.cjs');
const { RUNTIMES, titleOf } = require('./versions.cjs');

const README = path.join(ROOT, 'README.md');
const BEGIN = '<!-- runtimes: written by "npm run runtimes -- --readme" -->';
const END = '<!-- /runtimes -->';
const RESULTS = path.join(CACHE, 'results');
/** So much of a failed file's output is printed; all of it is kept. */
const TAIL_LINES = 150;

/**
 * What is known of a runtime with the module as it is built now: a run of some files adds to what the runs before
 * found with the same binary. A file each, so that runs of several runtimes may go on side by side.
 */
function readResult(binary, { id }) {
  try {
    const kept = JSON.parse(fs.readFileSync(path.join(RESULTS, `${id}.json`), 'utf8'));
    return kept.binary === binary ? kept.result : undefined;
  } catch {
    return undefined;
  }
}

function writeResult(binary, { id }, result) {
  fs.mkdirSync(RESULTS, { recursive: true });
  const file = path.join(RESULTS, `${id}.json`);
  fs.writeFileSync(`${file}.new`, JSON.stringify({ binary, result }));
  fs.renameSync(`${file}.new`, file);
}

function testFiles({ words, onlyRuntime }) {
  const all = fs
    .readdirSync(path.join(ROOT, '__test__'))
    .filter((name) => /\.test\.[cm]js$/.test(name))
    .filter((name) => words.length === 0 || words.some((word) => name.includes(word)));
  if (!onlyRuntime) return all.sort();
  for (const name of all.filter(notAboutTheRuntime)) say(`${name} is left out: ${notAboutTheRuntime(name)}.`);
  return all.filter((name) => !notAboutTheRuntime(name)).sort();
}

/** Tells of one file, and of what failed in it. */
function tell(runtime, name, { tests, output }, cell) {
  const { passed, failed, skipped, seconds } = cell;
  const counts = `${passed} passed${skipped ? `, ${skipped} skipped` : ''}${failed ? `, ${failed} FAILED` : ''}`;
  process.stdout.write(`  ${titleOf(runtime)}  ${name}  ${counts} (${seconds.toFixed(1)} s)\n`);
  for (const test of tests.filter(({ outcome }) => outcome === 'failed')) {
    const within = (test.within ?? []).filter(({ outcome }) => outcome === 'failed');
    for (const { name: failedName, reason } of [test, ...within]) {
      process.stdout.write(`    FAILED ${failedName}: ${`${reason}`.split('\n').slice(0, 30).join('\n      ')}\n`);
    }
  }
  for (const test of tests.filter(({ outcome, reason }) => outcome === 'skipped' && reason)) {
    process.stdout.write(`    skipped ${test.name}: ${test.reason}\n`);
  }
  const logs = path.join(CACHE, 'logs', runtime.id);
  fs.mkdirSync(logs, { recursive: true });
  fs.writeFileSync(path.join(logs, `${name}.log`), output);
  if (failed > 0) process.stdout.write(`${output.split('\n').slice(-TAIL_LINES).join('\n')}\n`);
}

/** What failed, once more behind the matrix: what stands in the middle of a long log is easily cut off. */
function tellFailures(failures) {
  for (const { runtime, name, seconds, tests } of failures) {
    process.stdout.write(`  ${titleOf(runtime)}  ${name} (${seconds.toFixed(1)} s)\n`);
    for (const test of tests) {
      const reason = `${test.reason}`.split('\n').slice(0, 8).join('\n      ');
      process.stdout.write(`    FAILED ${test.name}: ${reason}\n`);
    }
  }
}

/** Runs `work` on each item, `jobs` at a time. */
async function eachOf(items, jobs, work) {
  const waiting = [...items];
  const worker = async () => {
    for (let item = waiting.shift(); item !== undefined; item = waiting.shift()) await work(item);
  };
  await Promise.all(Array.from({ length: jobs }, worker));
}

function writeReadme(results, binary) {
  const before = fs.readFileSync(README, 'utf8');
  const [start, end] = [before.indexOf(BEGIN), before.indexOf(END)];
  if (start < 0 || end < start) throw new Error(`${README} has no markers for the matrix: ${BEGIN} … ${END}`);
  const machine = `${os.type()} ${os.arch()}, ${os.availableParallelism()} cores`;
  const text = markdown(results, { binary, machine });
  fs.writeFileSync(README, `${before.slice(0, start + BEGIN.length)}\n\n${text}\n\n${before.slice(end)}`);
}

/**
 * Runs the files that contain one of `words` (all, where there is none) on `runtimes`. Throws where a test failed.
 * A runtime that cannot be installed is told, and counts as not run.
 */
async function runMatrix({ runtimes, words, onlyRuntime, readme, jobs }) {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.once(signal, () => {
      endAll();
      process.exit(128 + os.constants.signals[signal]);
    });
  }
  const names = testFiles({ words, onlyRuntime });
  if (names.length === 0) throw new Error(`no test file in __test__ matches ${words.join(' or ')}`);
  const binary = crypto.createHash('sha256').update(fs.readFileSync(moduleFile())).digest('hex').slice(0, 12);
  const results = {};
  const failures = [];
  for (const runtime of runtimes) {
    let program;
    try {
      program = await installedRuntime(runtime);
    } catch (error) {
      if (!(error instanceof NotAvailable)) throw error;
      say(`${titleOf(runtime)} is NOT run: ${error.message}`);
      results[runtime.id] = { notRun: error.message };
      continue;
    }
    say(`${names.length} test files on ${titleOf(runtime)} …`);
    const files = {};
    results[runtime.id] = { files };
    await eachOf(names, jobs, async (name) => {
      const ran = await runFile(runtime, program, path.join('__test__', name));
      files[name] = cellOf(ran);
      tell(runtime, name, ran, files[name]);
      const tests = ran.tests.filter(({ outcome }) => outcome === 'failed');
      if (tests.length > 0) failures.push({ runtime, name, seconds: ran.seconds, tests });
      writeResult(binary, runtime, { files: { ...readResult(binary, runtime)?.files, [name]: files[name] } });
    });
  }

  say('results, as passed, failed, skipped and time:');
  process.stdout.write(`${plain(results)}\n`);
  tellFailures(failures);
  for (const runtime of runtimes) {
    const { notRun } = results[runtime.id];
    if (notRun) say(`${titleOf(runtime)} was NOT run: ${notRun}`);
  }
  if (readme) {
    const known = RUNTIMES.map((runtime) => [runtime.id, readResult(binary, runtime) ?? results[runtime.id]]);
    writeReadme(Object.fromEntries(known.filter(([, result]) => result)), binary);
    say('the matrix in README.md is written.');
  }
  const { failed } = total(Object.values(results).flatMap(({ files }) => Object.values(files ?? {})));
  if (failed > 0) throw new StepFailed(`the matrix of runtimes has ${failed} failed tests; it`, 1);
}

module.exports = { runMatrix };
