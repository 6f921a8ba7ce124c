'use strict';
// Where the worker answers, by the settings; and its /health.

const http = require('node:http');
const { Fault, usage } = require('./faults.cjs');
const { settingsOf } = require('./opening.cjs');

/** Longer than a worker takes that is alive; its health waits for no disk. */
const TIMEOUT_MS = 5_000;
/** A health report is some 4 kB; what is longer is something else. */
const MAX_BYTES = 4 * 1_024 * 1_024;

/** The worker's address: `--url`, else 127.0.0.1 and its port. */
function workerUrl(options) {
  if (!options.url) return new URL(`http://127.0.0.1:${settingsOf(options).values.CLAUDE_MEM_WORKER_PORT}`);
  let url;
  try {
    url = new URL(options.url);
  } catch {
    throw usage(`"${options.url}" is no URL; one such as http://127.0.0.1:37777 is wanted`);
  }
  if (url.protocol !== 'http:') throw usage(`"${options.url}": the worker speaks http`);
  return url;
}

/** What the worker answers to GET /health, as an object. Rejects with a `Fault`. */
function askHealth(options) {
  const url = new URL('/health', workerUrl(options));
  return new Promise((resolve, reject) => {
    const fail = (why) => reject(new Fault(`the worker does not answer at ${url}: ${why}`));
    const request = http.get(url, { agent: false, headers: { accept: 'application/json' } }, (response) => {
      const pieces = [];
      let size = 0;
      response.on('data', (piece) => {
        size += piece.length;
        if (size > MAX_BYTES) request.destroy(new Error('its answer does not end'));
        else pieces.push(piece);
      });
      response.on('error', (error) => fail(error.message));
      response.on('end', () => {
        if (response.statusCode !== 200) return fail(`it says status ${response.statusCode}`);
        let health;
        try {
          health = JSON.parse(Buffer.concat(pieces).toString('utf8'));
        } catch {
          health = null;
        }
        if (health === null || typeof health !== 'object' || Array.isArray(health))
          return fail('something answers there that is no worker');
        resolve(health);
      });
    });
    // Of the whole request, not of a silence: a server that sends a byte a second must not hold a script.
    const timer = setTimeout(() => request.destroy(new Error(`nothing came within ${TIMEOUT_MS} ms`)), TIMEOUT_MS);
    request.on('close', () => clearTimeout(timer));
    request.on('error', (error) => fail(error.code === 'ECONNREFUSED' ? 'nobody listens there' : error.message));
  });
}

module.exports = { askHealth, workerUrl };
