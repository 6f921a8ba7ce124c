'use strict';
// Runs a script of this folder in a process of its own and tells how it ended.

const path = require('node:path');
const { spawn } = require('node:child_process');

/** Longer than any of them needs on a slow machine: what runs into it hangs. */
const HANGS_AFTER_MS = 120_000;

/**
 * Resolves to {code, signal, stdout, stderr}. A child that hangs is killed and shows `signal: 'SIGKILL'`.
 *
 * @param {string} script file name in this folder
 * @param {{args?: string[], nodeArgs?: string[], env?: object, hangsAfterMs?: number}} [options]
 */
function runChild(script, { args = [], nodeArgs = [], env = {}, hangsAfterMs = HANGS_AFTER_MS } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...nodeArgs, path.join(__dirname, script), ...args], {
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let [stdout, stderr] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text) => (stdout += text));
    child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text));
    const timer = setTimeout(() => child.kill('SIGKILL'), hangsAfterMs);
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      resolve({ code, signal, stdout, stderr });
    });
  });
}

module.exports = { runChild };
