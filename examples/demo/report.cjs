'use strict';
// The table at the end.

const MB = 1024 * 1024;

const megabytes = (bytes) => `${(bytes / MB).toFixed(1)} MB`;
const milliseconds = (ms) => (ms === null || ms === undefined ? '–' : `${ms < 10 ? ms.toFixed(2) : Math.round(ms)} ms`);
const number = (value) => value.toLocaleString('en-US');

/** The value below which `share` of the values lie. */
function percentile(values, share) {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))];
}

/** Rows of two columns as text. */
function table(rows) {
  const width = Math.max(...rows.map(([label]) => label.length));
  return rows.map(([label, value]) => `  ${label.padEnd(width)}  ${value}`).join('\n');
}

/** The whole report. */
function report({ sender, gauges, audit, kill, sessions, seconds }) {
  return table([
    ['sessions', `${number(sessions.all)} (${sessions.abandoned} abandoned, ${sessions.stalled} with a stalled agent)`],
    ['messages sent', `${number(sender.sent)} (${megabytes(sender.bytes)})`],
    ['acknowledged', number(sender.acknowledged.size)],
    ['sent again, no answer', number(sender.sentAgain)],
    [
      'SIGKILL',
      `after ${number(kill.acknowledged)} acknowledged, ${number(kill.waiting)} waiting; answering again after ${milliseconds(kill.restartMs)}`,
    ],
    ['stored', number(audit.stored)],
    ['lost', number(audit.lost.length)],
    ['duplicated', number(audit.duplicated.length)],
    [
      'heap used',
      `${megabytes(gauges.start.heapUsed)} at the start, ${megabytes(gauges.peak.heapUsed)} at the peak (${(gauges.peak.usedOfLimit * 100).toFixed(1)} % of the limit)`,
    ],
    ['native memory', `${megabytes(gauges.peak.native)} at the peak`],
    ['RSS', `${megabytes(gauges.start.rss)} at the start, ${megabytes(gauges.peak.rss)} at the peak`],
    [
      'event-loop delay',
      `p50 ${milliseconds(gauges.delay.p50)}, p99 ${milliseconds(gauges.delay.p99)}, max ${milliseconds(gauges.delay.max)}`,
    ],
    [
      'answer to a message',
      `p50 ${milliseconds(percentile(sender.answerMs, 0.5))}, p99 ${milliseconds(percentile(sender.answerMs, 0.99))}`,
    ],
    [
      'wait in the queue',
      `p50 ${milliseconds(gauges.waitMs?.p50)}, p99 ${milliseconds(gauges.waitMs?.p99)}; deepest ${number(gauges.peak.depth)}`,
    ],
    ['time', `${seconds.toFixed(1)} s`],
  ]);
}

module.exports = { report };
