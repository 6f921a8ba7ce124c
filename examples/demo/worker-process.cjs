'use strict';
// The worker as a process of its own, which can be killed at any moment and started again on the same directory.
const { spawn } = require('node:child_process');
const { once } = require('node:events');
const path = require('node:path');

const MAIN = path.join(__dirname, '..', 'worker', 'main.cjs');
const AGENT = path.join(__dirname, 'demo-agent.cjs');
const START_MS = 30_000;

class WorkerProcess {
  constructor(dataDir) {
    this.dataDir = dataDir;
    this.child = null;
    this.port = null;
  }

  /** Starts the worker on any free port; resolves once it answers. */
  async start() {
    const child = spawn(process.execPath, [MAIN, '--port', '0', '--data-dir', this.dataDir, '--agent', AGENT], {
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.child = child;
    let complaint = '';
    child.stderr.setEncoding('utf8');
    child.stderr.on('data', (text) => {
      complaint = (complaint + text).slice(-4_000);
    });
    child.stdout.setEncoding('utf8');
    let said = '';
    this.port = await new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => reject(new Error(`The worker did not start within ${START_MS} ms. ${complaint}`)),
        START_MS,
      );
      child.stdout.on('data', (text) => {
        said += text;
        const found = /http:\/\/127\.0\.0\.1:(\d+)/.exec(said);
        if (found === null) return;
        clearTimeout(timer);
        resolve(Number(found[1]));
      });
      child.once('error', reject);
      child.once('exit', (code) => {
        clearTimeout(timer);
        reject(new Error(`The worker ended with exit code ${code}. ${complaint}`));
      });
    });
  }

  /** Ends the worker by a signal and waits until it is gone; resolves its exit code (null after SIGKILL). */
  async end(signal) {
    const { child } = this;
    this.port = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return child?.exitCode ?? null;
    const gone = once(child, 'exit');
    child.kill(signal);
    const [code] = await gone;
    return code;
  }
}

module.exports = { WorkerProcess };
