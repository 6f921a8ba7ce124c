'use strict';
// Waits for a job and shows how far it is: a bar on a terminal, else a line now and then. On stderr, so that what a
// command answers can be piped.

const { SingleBar, Presets } = require('cli-progress');
const { Interrupted } = require('./faults.cjs');
const { duration, number } = require('./output.cjs');

/** Between two lines where there is no terminal. */
const LINE_EVERY_MS = 10_000;

function bar(title, format) {
  const single = new SingleBar(
    {
      format: `${title} {bar} {percentage} % {shown}`,
      stream: process.stderr,
      hideCursor: true,
      clearOnComplete: true,
      formatValue: (value) => String(value),
    },
    Presets.shades_classic,
  );
  single.start(1, 0, { shown: '' });
  return {
    show({ done, total }) {
      single.setTotal(Math.max(total, done, 1));
      single.update(done, { shown: `${format(done)} of ${format(total)}` });
    },
    end: () => single.stop(),
  };
}

function lines(title, format) {
  let last = performance.now();
  return {
    show({ done, total }) {
      if (performance.now() - last < LINE_EVERY_MS) return;
      last = performance.now();
      process.stderr.write(`${title}: ${format(done)} of ${format(total)}\n`);
    },
    end() {},
  };
}

/**
 * The result of a job, with its progress shown meanwhile. Ctrl+C disposes the job, which removes what it had half
 * written, and throws `Interrupted`.
 */
async function follow(title, job, { format = number } = {}) {
  const shown = (process.stderr.isTTY ? bar : lines)(title, format);
  let interrupted = false;
  const interrupt = () => {
    interrupted = true;
    // What comes of it is seen at `job.result`.
    job.dispose().catch(() => {});
  };
  process.once('SIGINT', interrupt);
  try {
    for await (const progress of job) shown.show(progress);
    return await job.result;
  } catch (error) {
    if (interrupted) throw new Interrupted(`${title}: interrupted; running it again goes on or begins anew`);
    throw error;
  } finally {
    process.removeListener('SIGINT', interrupt);
    shown.end();
  }
}

/**
 * What `promise` resolves with, of work of `memory` that tells nothing of its progress: on a terminal the seconds are
 * shown. Ctrl+C disposes the memory, which ends the work, and throws `Interrupted`.
 */
async function waiting(title, memory, promise) {
  const since = performance.now();
  let interrupted = false;
  const interrupt = () => {
    interrupted = true;
    // What comes of it is seen at `promise`.
    memory.dispose().catch(() => {});
  };
  process.once('SIGINT', interrupt);
  const clear = () => process.stderr.write('\r\u001b[K');
  const shown = process.stderr.isTTY
    ? setInterval(() => {
        clear();
        process.stderr.write(`${title}: ${duration(performance.now() - since)} …`);
      }, 1_000)
    : null;
  try {
    return await promise;
  } catch (error) {
    if (interrupted) throw new Interrupted(`${title}: interrupted; nothing was changed`);
    throw error;
  } finally {
    process.removeListener('SIGINT', interrupt);
    if (shown !== null) {
      clearInterval(shown);
      clear();
    }
  }
}

module.exports = { follow, waiting };
