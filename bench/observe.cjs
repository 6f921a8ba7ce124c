'use strict';
// What a piece of work does to its process: how long it takes, how late the event loop is meanwhile, how much heap
// is in use, how many bytes are written.

const fs = require('node:fs');
const v8 = require('node:v8');
const { monitorEventLoopDelay } = require('node:perf_hooks');
const { setTimeout: sleep } = require('node:timers/promises');

const HEAP_SAMPLE_MS = 20;

/**
 * Runs `work` and returns its result, its time in ms, and the event-loop delay (sampled each millisecond) and the
 * largest `heapUsed` meanwhile.
 */
async function observe(work) {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  await sleep(50);
  delay.reset(); // without the sampler's own start
  await sleep(5); // the first sample after that only sets the clock: work that begins before it would not be seen
  let heapPeak = 0;
  const sample = () => (heapPeak = Math.max(heapPeak, v8.getHeapStatistics().used_heap_size));
  sample();
  const sampling = setInterval(sample, HEAP_SAMPLE_MS);
  const startedAt = performance.now();
  const result = await work();
  const ms = performance.now() - startedAt;
  sample();
  clearInterval(sampling);
  await sleep(5); // so that a turn still under way is counted
  delay.disable();
  const inMs = (nanoseconds) => nanoseconds / 1e6;
  return {
    result,
    ms,
    process: {
      delayP50: inMs(delay.percentile(50)),
      delayP99: inMs(delay.percentile(99)),
      delayMax: inMs(delay.max),
      heapPeak,
    },
  };
}

/** Bytes that this process has handed to the file system so far; null where the system does not count them. */
function bytesWritten() {
  try {
    return Number(/^wchar: (\d+)$/m.exec(fs.readFileSync('/proc/self/io', 'utf8'))[1]);
  } catch {
    return null;
  }
}

/**
 * CPU time of the JS thread so far, ms: the scheduler's own count on Linux, elsewhere the time in which the event
 * loop was not waiting.
 */
function mainThreadTime() {
  try {
    return Number(fs.readFileSync(`/proc/self/task/${process.pid}/schedstat`, 'utf8').split(' ')[0]) / 1e6;
  } catch {
    return performance.eventLoopUtilization().active;
  }
}

module.exports = { bytesWritten, mainThreadTime, observe };
