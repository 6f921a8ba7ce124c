'use strict';
// Running the tools: one child at a time, its output passed through, its end reported.

const os = require('node:os');
const path = require('node:path');
const { spawn } = require('node:child_process');

const ROOT = path.join(__dirname, '..');

/** A tool that ended with an error, after it has printed why. */
class StepFailed extends Error {
  constructor(title, status) {
    super(`${title} failed (exit code ${status}); its output stands above.`);
    this.name = 'StepFailed';
    this.exitCode = status;
  }
}

function say(sentence) {
  process.stdout.write(`claude-mem-native: ${sentence}\n`);
}

function seconds(startedAt) {
  return `${((performance.now() - startedAt) / 1000).toFixed(1)} s`;
}

/**
 * Runs a command in the repository and resolves with its exit code, 128 + n where signal n ended it.
 * A signal sent to this process goes on to the command, and this process ends after it. With
 * `readOutput` the command's standard output is given to that function line by line, not printed.
 */
function run(command, args, { env = {}, shell = false, readOutput } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: ROOT,
      env: { ...process.env, ...env },
      shell,
      stdio: ['inherit', readOutput ? 'pipe' : 'inherit', 'inherit'],
    });
    let stoppedBy = null;
    const forward = (signal) => {
      stoppedBy = signal;
      child.kill(signal);
    };
    const signals = ['SIGINT', 'SIGTERM', 'SIGHUP'];
    const settle = () => signals.forEach((signal) => process.removeListener(signal, forward));
    signals.forEach((signal) => process.on(signal, forward));
    if (readOutput) {
      require('node:readline').createInterface({ input: child.stdout }).on('line', readOutput);
    }
    child.on('error', (error) => {
      settle();
      reject(error);
    });
    child.on('close', (code, signal) => {
      settle();
      const status = code ?? 128 + (os.constants.signals[signal] ?? 0);
      if (stoppedBy) process.exit(128 + os.constants.signals[stoppedBy]);
      resolve(status);
    });
  });
}

/** The same, but an exit code other than 0 is an error that names the step. */
async function runStep(title, command, args, options) {
  const status = await run(command, args, options);
  if (status !== 0) throw new StepFailed(title, status);
}

/** Runs a JavaScript command-line tool of an installed package, without a shell and without npx. */
function toolPath(packageName, binName = packageName) {
  const manifestPath = require.resolve(`${packageName}/package.json`, { paths: [ROOT] });
  const { bin } = require(manifestPath);
  return path.join(path.dirname(manifestPath), typeof bin === 'string' ? bin : bin[binName]);
}

module.exports = { ROOT, StepFailed, run, runStep, say, seconds, toolPath };
