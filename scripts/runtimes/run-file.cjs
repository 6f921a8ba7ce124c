'use strict';
// Runs one test file on one runtime, in a process of its own, and reads what became of each of its tests.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { spawn } = require('node:child_process');
const { ROOT } = require('../steps.cjs');
const { testsOf } = require('./junit.cjs');

/** Longer than any test takes on a slow machine, and up to Node 22 than any file. */
const TEST_MS = 1_140_000;
/** A file that is not through by then hangs. */
const HANGS_AFTER_MS = 1_200_000;

const running = new Set();

/** Ends a test file with all the processes that it has started. */
function end(child) {
  try {
    if (process.platform === 'win32') child.kill('SIGKILL');
    else process.kill(-child.pid, 'SIGKILL');
  } catch (error) {
    if (error.code !== 'ESRCH') throw error;
  }
}

/** Ends whatever runs. */
function endAll() {
  for (const child of running) end(child);
}

/**
 * What each kind of runtime is started with: `command` gives the arguments, `read` makes tests of what came.
 * `env` is for the test file and all that it starts.
 */
const KINDS = {
  node: {
    env: {},
    command: (file) => [
      '--test',
      `--test-timeout=${TEST_MS}`,
      `--test-reporter=./${path.relative(ROOT, path.join(__dirname, 'node-reporter.cjs')).replaceAll(path.sep, '/')}`,
      file,
    ],
    read(stdout) {
      const lines = stdout.split('\n').flatMap((line) => {
        try {
          return [JSON.parse(line)];
        } catch {
          return line ? [{ printed: `${line}\n` }] : [];
        }
      });
      return {
        tests: lines.flatMap(({ test }) => test ?? []),
        printed: lines.map(({ printed }) => printed ?? '').join(''),
      };
    },
  },
  bun: {
    // Bun keeps compiled sources in the home directory, which is a test's own here, and fetches what is not installed.
    env: { BUN_RUNTIME_TRANSPILER_CACHE_PATH: '0', BUN_OPTIONS: '--no-install' },
    command: (file, report) => [
      'test',
      `--timeout=${TEST_MS}`,
      '--reporter=junit',
      `--reporter-outfile=${report}`,
      `./${file}`,
    ],
    read(stdout, report) {
      const xml = fs.existsSync(report) ? fs.readFileSync(report, 'utf8') : '';
      return { tests: testsOf(xml), printed: stdout };
    },
  },
};

/**
 * Resolves to `{tests, seconds, output}`; each test has `name`, `outcome` ('passed', 'failed' or 'skipped') and
 * `reason`. A file that ends with an error although no test failed, that hangs or that has no test counts as one
 * failed test.
 */
function runFile({ kind }, program, file) {
  const { command, env, read } = KINDS[kind];
  const scratch = fs.mkdtempSync(path.join(os.tmpdir(), 'cmn-runtimes-'));
  const report = path.join(scratch, 'report.xml');
  const startedAt = performance.now();
  return new Promise((resolve, reject) => {
    const child = spawn(program, command(file.replaceAll(path.sep, '/'), report), {
      cwd: ROOT,
      env: environment(program, env),
      stdio: ['ignore', 'pipe', 'pipe'],
      detached: process.platform !== 'win32',
    });
    running.add(child);
    let [stdout, stderr] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text));
    let hangs = false;
    const timer = setTimeout(() => {
      hangs = true;
      end(child);
    }, HANGS_AFTER_MS);
    const settle = () => {
      clearTimeout(timer);
      running.delete(child);
      fs.rmSync(scratch, { recursive: true, force: true });
    };
    child.on('error', (error) => {
      settle();
      reject(error);
    });
    child.on('close', (code, signal) => {
      const { tests, printed } = read(stdout, report);
      settle();
      const fail = (reason) => tests.push({ name: '(the file)', outcome: 'failed', reason });
      if (hangs) fail(`was not through after ${HANGS_AFTER_MS / 1000} s`);
      else if (code !== 0 && !tests.some(({ outcome }) => outcome === 'failed')) {
        fail(`ended with ${signal ?? `exit code ${code}`}`);
      } else if (tests.length === 0) fail('has no test');
      resolve({ tests, seconds: (performance.now() - startedAt) / 1000, output: `${printed}${stderr}` });
    });
  });
}

/** What the test file finds: the runtime is the first on the path, and nothing of the one that runs this. */
function environment(program, more) {
  const { NODE_OPTIONS, NODE_TEST_CONTEXT, ...others } = process.env;
  const name = Object.keys(others).find((key) => key.toUpperCase() === 'PATH') ?? 'PATH';
  return { ...others, ...more, [name]: [path.dirname(program), others[name]].filter(Boolean).join(path.delimiter) };
}

module.exports = { endAll, runFile };
