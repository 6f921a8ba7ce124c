'use strict';
// A worker in a process of its own, on a temporary directory, for tests: start, ask, end.

const { spawn } = require('node:child_process');
const { once } = require('node:events');
const fs = require('node:fs');
const http = require('node:http');
const os = require('node:os');
const path = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');

const { removeDirectory } = require('../data-directory.cjs');

const MAIN = path.join(__dirname, '..', '..', 'examples', 'worker', 'main.cjs');

/** A directory that is removed after the test. */
function temporaryDirectory(t) {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'claude-mem-worker-'));
  t.after(() => removeDirectory(directory));
  return directory;
}

/** The environment of a worker: nothing of the machine's own settings. */
function environmentWith(home, more = {}) {
  const clean = Object.entries(process.env).filter(
    ([key]) => !key.startsWith('CLAUDE_MEM_') && key !== 'NODE_TEST_CONTEXT',
  );
  return { ...Object.fromEntries(clean), HOME: home, USERPROFILE: home, ...more };
}

class WorkerUnderTest {
  constructor(t, { dataDir, home, args = [], environment = {} } = {}) {
    this.dataDir = dataDir ?? temporaryDirectory(t);
    this.home = home ?? temporaryDirectory(t);
    this.args = args;
    this.environment = environment;
    this.output = { stdout: '', stderr: '' };
    t.after(() => this.kill());
  }

  spawn() {
    this.child = spawn(process.execPath, [MAIN, '--data-dir', this.dataDir, ...this.args], {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: environmentWith(this.home, this.environment),
    });
    for (const name of ['stdout', 'stderr']) {
      this.child[name].setEncoding('utf8');
      this.child[name].on('data', (text) => {
        this.output[name] += text;
      });
    }
    this.exited = once(this.child, 'close').then(([code, signal]) => ({ code, signal, ...this.output }));
  }

  /** Starts and resolves once the worker listens; rejects with what it said where it ended instead. */
  async start({ port = 0 } = {}) {
    this.args = [...this.args, '--port', String(port)];
    this.spawn();
    const isListening = (async () => {
      for (;;) {
        const found = /http:\/\/127\.0\.0\.1:(\d+)/.exec(this.output.stdout);
        if (found) return Number(found[1]);
        await sleep(10);
      }
    })();
    const ended = this.exited.then(({ code, stderr }) => {
      throw new Error(`the worker ended with exit code ${code}: ${stderr}`);
    });
    ended.catch(() => {});
    this.port = await Promise.race([isListening, ended]);
    return this;
  }

  /** One request; resolves {status, headers, text, json}. */
  request(method, target, { body, headers = {}, raw } = {}) {
    return new Promise((resolve, reject) => {
      const content = raw ?? (body === undefined ? undefined : JSON.stringify(body));
      const request = http.request(
        {
          host: '127.0.0.1',
          port: this.port,
          method,
          path: target,
          agent: false,
          headers: {
            ...(content === undefined
              ? {}
              : { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(content) }),
            ...headers,
          },
        },
        (response) => {
          const chunks = [];
          response.on('data', (chunk) => chunks.push(chunk));
          response.once('end', () => {
            const text = Buffer.concat(chunks).toString('utf8');
            const isJson = /json/.test(response.headers['content-type'] ?? '');
            resolve({
              status: response.statusCode,
              headers: response.headers,
              text,
              json: isJson ? JSON.parse(text) : undefined,
            });
          });
          response.once('error', reject);
        },
      );
      request.once('error', reject);
      request.end(content);
    });
  }

  async get(target) {
    const { status, json, text } = await this.request('GET', target);
    if (status !== 200) throw new Error(`GET ${target} answered ${status}: ${text}`);
    return json;
  }

  async post(target, body = {}) {
    const { status, json, text } = await this.request('POST', target, { body });
    if (status !== 200) throw new Error(`POST ${target} answered ${status}: ${text}`);
    return json;
  }

  /** Opens the event stream; `events` grows as they arrive. */
  async listen() {
    const events = [];
    const response = await new Promise((resolve, reject) => {
      http.get({ host: '127.0.0.1', port: this.port, path: '/stream', agent: false }, resolve).once('error', reject);
    });
    let rest = '';
    response.setEncoding('utf8');
    response.on('data', (text) => {
      const blocks = (rest + text).split('\n\n');
      rest = blocks.pop();
      for (const block of blocks) if (block.startsWith('data: ')) events.push(JSON.parse(block.slice(6)));
    });
    response.on('error', () => {}); // the worker may be killed
    return { events, response };
  }

  /** Asks until `check` gives something true and resolves that. */
  async until(check, what, limitMs = 20_000) {
    const giveUpAt = Date.now() + limitMs;
    for (;;) {
      const result = await check();
      if (result) return result;
      if (Date.now() > giveUpAt) throw new Error(`${what} did not happen within ${limitMs} ms\n${this.output.stderr}`);
      await sleep(20);
    }
  }

  /** Waits until nothing is queued or leased. */
  idle() {
    return this.until(async () => !(await this.get('/api/processing-status')).isProcessing, 'an empty queue');
  }

  /** Ends the worker by a signal; resolves {code, signal, stdout, stderr}. */
  end(signal = 'SIGTERM') {
    this.child.kill(signal);
    return this.exited;
  }

  async kill() {
    if (this.child === undefined || this.child.exitCode !== null || this.child.signalCode !== null) return;
    await this.end('SIGKILL');
  }
}

module.exports = { WorkerUnderTest, temporaryDirectory, environmentWith, MAIN };
