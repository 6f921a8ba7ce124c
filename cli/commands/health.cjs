'use strict';
// health: asks the worker how it does. Exit 0: well; 1: something is above 80 % of its limit; 2: above 90 %, or nobody
// answers.

const { setTimeout: sleep } = require('node:timers/promises');
const { EXIT } = require('../faults.cjs');
const { bytes, counted, duration, number, paint, percent, plain, print, printJson } = require('../output.cjs');
const { wholeNumber } = require('../arguments.cjs');
const { askHealth } = require('../worker-address.cjs');

const LEVELS = ['ok', 'warn', 'critical'];
const COLOURS = { ok: 'green', warn: 'yellow', critical: 'red' };
/** Also those of workers that say it in other words. */
const NAMED = { ok: 'ok', healthy: 'ok', warn: 'warn', warning: 'warn', degraded: 'warn' };

const worse = (one, other) => LEVELS[Math.max(LEVELS.indexOf(one), LEVELS.indexOf(other))];
const levelOf = (share, { warn, critical }) =>
  share * 100 >= critical ? 'critical' : share * 100 >= warn ? 'warn' : 'ok';

/** Of a limit that the worker tells; an older one tells none. */
const shareOf = (used, limit) => (typeof used === 'number' && limit > 0 ? used / limit : null);

/**
 * `{status, reasons}`: the worse of what the worker says of itself (its engine weighs heap, queues, logs and index at 80
 * and 90 % of their limits) and of the heap and the queue at the thresholds of this call.
 */
function judge(health, { warn, critical, maxQueueBytes }) {
  let status = NAMED[health.status] ?? 'critical';
  const reasons = Array.isArray(health.reasons) ? health.reasons.map(plain) : [];
  if (status !== 'ok' && reasons.length === 0) reasons.push(`the worker says "${plain(health.status)}"`);
  const limits = health.queueLimits ?? {};
  for (const [name, share] of [
    ['the heap is at', health.heap?.usedOfLimit],
    ['the queues are at', shareOf(health.queue?.bytes, maxQueueBytes ?? limits.maxQueueBytes)],
    ['the dead letters are at', shareOf(health.queue?.dead, limits.maxDeadLetters)],
  ]) {
    if (!Number.isFinite(share)) continue;
    const level = levelOf(share, { warn, critical });
    if (LEVELS.indexOf(level) > LEVELS.indexOf(status)) reasons.push(`${name} ${percent(share)} of the limit`);
    status = worse(status, level);
  }
  return { status, reasons };
}

function figures({ heap, queue, queueLimits, database, queueDatabase, index, uptimeMs, version, rssBytes }) {
  const lines = [];
  if (version) lines.push(['engine', `${version}${uptimeMs ? `, up ${duration(uptimeMs)}` : ''}`]);
  if (heap) {
    const limit = heap.limitBytes ? ` of ${bytes(heap.limitBytes)} (${percent(heap.usedOfLimit)})` : '';
    lines.push(['heap', `${bytes(heap.usedBytes)}${limit}${rssBytes ? `, ${bytes(rssBytes)} resident` : ''}`]);
  }
  if (queue) {
    const oldest = queue.oldestAgeMs === null ? '' : `, the oldest for ${duration(queue.oldestAgeMs)}`;
    const most = queueLimits?.maxQueueBytes ? ` of ${bytes(queueLimits.maxQueueBytes)}` : '';
    lines.push(['queue', `${counted(queue.depth, 'message')}, ${bytes(queue.bytes)}${most}${oldest}`]);
    const kept = queueLimits?.maxDeadLetters ? ` of ${number(queueLimits.maxDeadLetters)}` : '';
    lines.push(['dead letters', `${number(queue.dead)}${kept}`]);
  }
  for (const [name, file] of [
    ['database', database],
    ['queue file', queueDatabase],
  ]) {
    if (file) lines.push([name, `${bytes(file.bytes)}, log ${bytes(file.walBytes)}`]);
  }
  if (index) lines.push(['vectors', `${number(index.embedded)} of ${number(index.documents)}, ${plain(index.state)}`]);
  return lines;
}

/** One look: `{status, reasons, health}`, also where nobody answers. */
async function look(options) {
  try {
    const health = await askHealth(options);
    return { ...judge(health, options), health };
  } catch (error) {
    if (error.exitCode === EXIT.usage || error.name !== 'Fault') throw error;
    return { status: 'critical', reasons: [error.message], health: null };
  }
}

function show({ status, reasons, health }) {
  print(paint(COLOURS[status], status));
  for (const reason of reasons) print(`  ${reason}`);
  if (health) for (const [name, text] of figures(health)) print(`  ${name.padEnd(13)} ${text}`);
}

async function health(options) {
  const once = !options.watch;
  let seen;
  let going = true;
  const pause = new AbortController();
  const stop = () => {
    going = false;
    pause.abort();
  };
  process.on('SIGINT', stop);
  try {
    for (let count = 1; going; count += 1) {
      seen = await look(options);
      if (options.json) print(JSON.stringify(seen, null, once ? 2 : 0));
      else if (once || process.stdout.isTTY) {
        if (!once) process.stdout.write('\u001b[2J\u001b[H');
        show(seen);
      } else {
        print([new Date().toISOString(), seen.status, ...seen.reasons].join(' '));
      }
      if (once || count === options.count || !going) break;
      await sleep(options.interval * 1_000, undefined, { signal: pause.signal }).catch(() => {});
    }
  } finally {
    process.removeListener('SIGINT', stop);
  }
  process.exitCode = { ok: EXIT.ok, warn: EXIT.warning, critical: EXIT.critical }[seen.status];
}

function register(program) {
  program
    .command('health')
    .description('ask the worker how it does (exit 0: well, 1: warning, 2: critical or no answer)')
    .option('--url <url>', 'address of the worker (default: 127.0.0.1 and the port of settings.json)')
    .option('--watch', 'again and again, until Ctrl+C; the exit code is that of the last answer')
    .option('--interval <seconds>', 'between two looks', wholeNumber(1, 86_400), 2)
    .option('--count <n>', 'with --watch: end after so many looks', wholeNumber(1, 1e9))
    .option('--warn <percent>', 'of heap, queues and dead letters: warn from here', wholeNumber(1, 100), 80)
    .option('--critical <percent>', 'of heap, queues and dead letters: critical from here', wholeNumber(1, 100), 90)
    .option(
      '--max-queue-bytes <n>',
      'the limit of the queues, where it is not what the worker says',
      wholeNumber(1_024, 1e15),
    )
    .option('--json', 'the whole answer as JSON; with --watch one line each')
    .action((_options, command) => health(command.optsWithGlobals()));
}

module.exports = { judge, register };
