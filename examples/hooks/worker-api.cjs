'use strict';
// The worker as a hook sees it: asked within a few milliseconds or not at all, and never the reason for an error.

const fs = require('node:fs');
const http = require('node:http');
const os = require('node:os');
const path = require('node:path');

const DEFAULT_PORT = 37777;
/** What has no work to do answers at once; on a slow machine CLAUDE_MEM_HOOK_HEALTH_MS gives it longer. */
const QUICK_MS = Number(process.env.CLAUDE_MEM_HOOK_HEALTH_MS || 100);
/** After so many milliseconds the worker counts as dead. */
const TIMEOUTS_MS = { health: QUICK_MS, poke: QUICK_MS, init: 5_000, observations: 2_000, summarize: 2_000 };

/** The worker's port: `settings.json` of the data directory wins over the environment. */
function port() {
  const directory = process.env.CLAUDE_MEM_DATA_DIR || path.join(os.homedir(), '.claude-mem');
  let settings = {};
  try {
    settings = JSON.parse(fs.readFileSync(path.join(directory, 'settings.json'), 'utf8')).env ?? {};
  } catch {
    // There are none, or they cannot be read: the worker says so when it starts.
  }
  return Number(settings.CLAUDE_MEM_WORKER_PORT ?? process.env.CLAUDE_MEM_WORKER_PORT ?? DEFAULT_PORT);
}

class WorkerApi {
  #port = port();

  /** Whether a request was answered with 200 in time. */
  #ask(method, target, timeoutMs, body) {
    return new Promise((resolve) => {
      const content = body === undefined ? undefined : JSON.stringify(body);
      const headers =
        content === undefined
          ? {}
          : { 'Content-Type': 'application/json', 'Content-Length': Buffer.byteLength(content) };
      const request = http.request(
        { host: '127.0.0.1', port: this.#port, method, path: target, headers, agent: false },
        (response) => {
          response.resume();
          response.once('end', () => resolve(response.statusCode === 200));
          response.once('error', () => resolve(false));
        },
      );
      // Of the whole exchange, not of a pause in it.
      const timer = setTimeout(() => request.destroy(new Error('too late')), timeoutMs);
      request.once('close', () => clearTimeout(timer));
      request.once('error', () => resolve(false));
      request.end(content);
    });
  }

  isUp() {
    return this.#ask('GET', '/health', TIMEOUTS_MS.health);
  }

  init(sessionDbId, body) {
    return this.#ask('POST', `/sessions/${sessionDbId}/init`, TIMEOUTS_MS.init, body);
  }

  /** Hands a message in; false where it has to be enqueued otherwise. */
  send(sessionDbId, { type, ...body }, key) {
    const route = type === 'summarize' ? 'summarize' : 'observations';
    return this.#ask('POST', `/sessions/${sessionDbId}/${route}`, TIMEOUTS_MS[route], { ...body, dedupe_key: key });
  }

  /** Tells the worker that its queue's file has a new message. */
  poke(sessionDbId) {
    return this.#ask('POST', `/sessions/${sessionDbId}/poke`, TIMEOUTS_MS.poke);
  }
}

module.exports = { WorkerApi };
