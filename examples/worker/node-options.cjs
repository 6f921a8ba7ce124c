'use strict';
// NODE_OPTIONS in settings.json: 6.0.2 offers the key and reads it nowhere. Node takes such options only when it
// starts, so the worker starts itself once more with them, and stands in for that process until it ends.
const { spawn } = require('node:child_process');

const MARK = 'CLAUDE_MEM_NODE_OPTIONS_APPLIED';

/** Whether this process still has to be started again for `nodeOptions` to count. */
function needsRestart(nodeOptions, environment = process.env) {
  return Boolean(nodeOptions) && environment.NODE_OPTIONS !== nodeOptions && environment[MARK] === undefined;
}

/** Runs the same program with NODE_OPTIONS set; resolves its exit code. */
function runAgainWith(nodeOptions) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...process.execArgv, ...process.argv.slice(1)], {
      stdio: ['inherit', 'inherit', 'inherit', 'ipc'],
      env: { ...process.env, NODE_OPTIONS: nodeOptions, [MARK]: '1' },
    });
    const pass = (signal) => child.kill(signal);
    process.on('SIGTERM', pass);
    process.on('SIGINT', pass);
    child.once('error', reject);
    child.once('exit', (code, signal) => {
      process.removeListener('SIGTERM', pass);
      process.removeListener('SIGINT', pass);
      resolve(code ?? (signal === null ? 1 : 128));
    });
  });
}

/** In the process that was started again: `stop` is called when the one that started it is gone, however it died. */
function stopWithParent(stop, environment = process.env) {
  if (environment[MARK] === undefined || process.channel === undefined) return;
  process.once('disconnect', stop);
  process.channel.unref();
}

/** Lets go of the process that started this one, so that both can end. */
function leaveParent() {
  if (process.connected) process.disconnect();
}

module.exports = { needsRestart, runAgainWith, stopWithParent, leaveParent };
