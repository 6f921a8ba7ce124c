'use strict';
// The last hour of the figures that the page draws, so that a page opened now shows what happened before. One typed
// array of a fixed size: it lies outside the V8 heap and never grows.

const FIELDS = ['epoch', 'heapUsed', 'heapAllocated', 'heapLimit', 'native', 'rss', 'depth', 'oldestAgeMs'];
const SAMPLE_EVERY_MS = 5_000;
const SAMPLES = 720;

/** A ring of samples taken from `memory.health()`. */
class MetricsHistory {
  constructor(memory, { everyMs = SAMPLE_EVERY_MS, samples = SAMPLES } = {}) {
    this.memory = memory;
    this.samples = samples;
    this.values = new Float64Array(samples * FIELDS.length);
    this.count = 0;
    this.timer = setInterval(() => this.sample(), everyMs);
    this.timer.unref();
    this.sample();
  }

  async sample() {
    let health;
    try {
      health = await this.memory.health();
    } catch {
      return; // the memory is being disposed; a gap in the chart is the right picture
    }
    const row = [
      health.timestamp,
      health.heap?.usedBytes,
      health.heap?.allocatedBytes,
      health.heap?.limitBytes,
      health.native.totalBytes,
      health.rssBytes,
      health.queue.depth,
      health.queue.oldestAgeMs,
    ];
    const start = (this.count % this.samples) * FIELDS.length;
    row.forEach((value, index) => {
      this.values[start + index] = value ?? NaN;
    });
    this.count += 1;
  }

  /** {fields, samples: [[…], …]}, oldest first; a value that is not known is null. */
  read() {
    const kept = Math.min(this.count, this.samples);
    const samples = [];
    for (let place = this.count - kept; place < this.count; place += 1) {
      const start = (place % this.samples) * FIELDS.length;
      const row = Array.from(this.values.subarray(start, start + FIELDS.length));
      samples.push(row.map((value) => (Number.isNaN(value) ? null : value)));
    }
    return { fields: FIELDS, samples };
  }

  stop() {
    clearInterval(this.timer);
  }
}

module.exports = { MetricsHistory };
