'use strict';
// How late the event loop serves its timers: what a hook that waits for an answer would notice.
const { monitorEventLoopDelay } = require('node:perf_hooks');

const RESOLUTION_MS = 10;

/** Measures the delay of the event loop from now on. */
class EventLoopDelay {
  constructor() {
    this.histogram = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
    this.histogram.enable();
  }

  /** Delay in ms since the worker started: {p50, p99, max}. The histogram holds whole intervals; the timer's own is taken off. */
  read() {
    const late = (nanoseconds) => {
      const ms = nanoseconds / 1e6 - RESOLUTION_MS;
      return Number.isFinite(ms) && ms > 0 ? Math.round(ms * 100) / 100 : 0;
    };
    const { histogram } = this;
    if (histogram.count === 0) return { p50: 0, p99: 0, max: 0 };
    return { p50: late(histogram.percentile(50)), p99: late(histogram.percentile(99)), max: late(histogram.max) };
  }

  stop() {
    this.histogram.disable();
  }
}

module.exports = { EventLoopDelay };
