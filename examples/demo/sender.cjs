'use strict';
// Sends messages as hooks do: one after the other within a session, many sessions at a time. A message without an
// answer is sent again with the same key until the worker answers: the key keeps it from being queued twice.
const { setTimeout: sleep } = require('node:timers/promises');
const { requestJson } = require('./http-client.cjs');

const SESSIONS_AT_A_TIME = 8;
const RETRY_MS = 50;
const GIVE_UP_MS = 60_000;

class Sender {
  /** @param {() => number|null} getPort the worker's port, null while it is down */
  constructor(getPort) {
    this.getPort = getPort;
    this.sent = 0;
    this.sentAgain = 0;
    this.acknowledged = new Set();
    this.answerMs = [];
    this.bytes = 0;
  }

  /** Sends all plans: {path, body, number}[] a session. Calls `onProgress` after each acknowledgement. */
  async send(sessions, onProgress) {
    const waiting = [...sessions];
    const lane = async () => {
      for (let session = waiting.shift(); session !== undefined; session = waiting.shift()) {
        for (const message of session) {
          await this.deliver(message);
          onProgress(this.acknowledged.size);
        }
      }
    };
    await Promise.all(Array.from({ length: SESSIONS_AT_A_TIME }, lane));
  }

  async deliver({ path, body, number }) {
    const giveUpAt = Date.now() + GIVE_UP_MS;
    if (number !== null) {
      this.sent += 1;
      this.bytes += Buffer.byteLength(JSON.stringify(body));
    }
    for (;;) {
      const startedAt = performance.now();
      const port = this.getPort();
      try {
        if (port === null) throw new Error('the worker is down');
        await requestJson(port, 'POST', path, body);
        if (number !== null) {
          this.acknowledged.add(number);
          this.answerMs.push(performance.now() - startedAt);
        }
        return;
      } catch (error) {
        const isRefused = error.status !== undefined && error.status !== 429 && error.status !== 503;
        if (isRefused || Date.now() > giveUpAt) throw error;
        if (port !== null && number !== null) this.sentAgain += 1;
        await sleep(RETRY_MS);
      }
    }
  }
}

module.exports = { Sender };
