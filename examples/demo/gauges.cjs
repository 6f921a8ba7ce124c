'use strict';
// Watches /health while the demonstration runs: peaks over both lives of the worker.
const { requestJson } = require('./http-client.cjs');

const EVERY_MS = 150;

class Gauges {
  constructor(getPort) {
    this.getPort = getPort;
    this.start = null; // heap used by the first worker before anything was sent, in bytes
    this.peak = { heapUsed: 0, rss: 0, native: 0, depth: 0, usedOfLimit: 0 };
    this.delay = { p50: 0, p99: 0, max: 0 };
    this.waitMs = null;
    this.timer = null;
  }

  watch() {
    this.timer = setTimeout(async () => {
      await this.read();
      if (this.timer !== null) this.watch();
    }, EVERY_MS);
  }

  stop() {
    clearTimeout(this.timer);
    this.timer = null;
  }

  async read() {
    const port = this.getPort();
    if (port === null) return;
    let health;
    try {
      health = await requestJson(port, 'GET', '/health');
    } catch {
      return; // killed in this moment; the next reading finds the new one
    }
    const { heap, queue, rssBytes, native, eventLoopDelayMs: delay } = health;
    this.start ??= { heapUsed: heap.usedBytes, rss: rssBytes };
    const raise = (name, value) => {
      this.peak[name] = Math.max(this.peak[name], value ?? 0);
    };
    raise('heapUsed', heap.usedBytes);
    raise('usedOfLimit', heap.usedOfLimit);
    raise('rss', rssBytes);
    raise('native', native.totalBytes);
    raise('depth', queue.depth);
    // Each worker reports percentiles of its own life; the worse of the two is shown.
    for (const name of ['p50', 'p99', 'max']) this.delay[name] = Math.max(this.delay[name], delay[name]);
    if (queue.waitMs?.p50 !== null && queue.waitMs?.p50 !== undefined) this.waitMs = queue.waitMs;
  }
}

module.exports = { Gauges };
