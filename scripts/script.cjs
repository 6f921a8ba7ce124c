'use strict';
// How a script of this folder begins and ends. Built-ins and plain syntax only, as in requirements.cjs.

const { Missing, requireNode } = require('./requirements.cjs');

const PARENT_CHECK_MS = 250;

/**
 * Ends this process as SIGTERM would once npm is gone. npm hands a signal to the shell between it and us, and
 * that shell dies of it without telling us; a worker or a build would stay behind.
 */
function endWithNpm() {
  if (!process.env.npm_lifecycle_event || process.platform === 'win32') return;
  const parent = process.ppid;
  const watch = setInterval(() => {
    if (process.ppid === parent) return;
    clearInterval(watch);
    process.kill(process.pid, 'SIGTERM');
  }, PARENT_CHECK_MS);
  watch.unref();
}

/**
 * Runs a script's `main` on a Node that is new enough. A missing requirement or a failed step ends the process
 * with one sentence and its exit code.
 */
function runScript(main) {
  endWithNpm();
  Promise.resolve()
    .then(() => requireNode())
    .then(main)
    .catch((error) => {
      const expected = error instanceof Missing || error.name === 'StepFailed';
      process.stderr.write('claude-mem-native: ' + (expected ? error.message : error.stack) + '\n');
      process.exitCode = error.exitCode || 1;
    });
}

module.exports = { runScript };
