'use strict';
// How late the event loop is, sampled each millisecond.

const { monitorEventLoopDelay } = require('node:perf_hooks');
const { setTimeout: sleep } = require('node:timers/promises');

/** Runs `work` and returns its result and the delay meanwhile, in milliseconds. */
async function withEventLoopDelay(work) {
  const delay = monitorEventLoopDelay({ resolution: 1 });
  delay.enable();
  await sleep(50);
  delay.reset(); // without the sampler's own start
  const result = await work();
  await sleep(5); // so that a turn still under way is counted
  delay.disable();
  const ms = (nanoseconds) => nanoseconds / 1e6;
  return { result, delay: { p50: ms(delay.percentile(50)), p99: ms(delay.percentile(99)), max: ms(delay.max) } };
}

module.exports = { withEventLoopDelay };
