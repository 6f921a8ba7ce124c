'use strict';
// How things are shown: colours on a terminal only, tables, sizes, times.

/** Whether a stream shows colours: a terminal that is not dumb, where NO_COLOR (any text) is not set. */
const hasColours = (stream) => Boolean(stream.isTTY) && !process.env.NO_COLOR && process.env.TERM !== 'dumb';

const CODES = { bold: [1, 22], dim: [2, 22], red: [31, 39], green: [32, 39], yellow: [33, 39] };

/** Text in a colour, where the stream shows colours. */
function paint(colour, text, stream = process.stdout) {
  if (!hasColours(stream)) return text;
  const [on, off] = CODES[colour];
  return `\u001b[${on}m${text}\u001b[${off}m`;
}

/** Text of a row on one line, without control characters: what was stored must not move somebody's cursor. */
const plain = (text) =>
  String(text ?? '')
    .replace(/[\u0000-\u001f\u007f-\u009f]+/g, ' ')
    .trim();

function shortened(text, length) {
  const one = Array.from(plain(text));
  return one.length <= length ? one.join('') : `${one.slice(0, length - 1).join('')}…`;
}

const print = (text = '') => process.stdout.write(`${text}\n`);
const printJson = (value) => print(JSON.stringify(value, null, 2));

/** Rows of texts below a heading, in columns. */
function printTable(heading, rows) {
  const texts = [heading, ...rows.map((row) => row.map(plain))];
  const widths = heading.map((_, column) => Math.max(...texts.map((row) => row[column].length)));
  texts.forEach((row, index) => {
    const line = row.map((text, column) => text.padEnd(widths[column])).join('  ');
    print(index === 0 ? paint('bold', line.trimEnd()) : line.trimEnd());
  });
}

/** Bytes as people read them: `1.5 MB` is 1,500,000 bytes. */
function bytes(count) {
  const units = ['B', 'kB', 'MB', 'GB', 'TB'];
  let [value, unit] = [count, 0];
  while (value >= 1_000 && unit < units.length - 1) [value, unit] = [value / 1_000, unit + 1];
  return `${unit === 0 ? value : value.toFixed(1)} ${units[unit]}`;
}

/** A duration in ms, in its largest unit. */
function duration(ms) {
  for (const [name, length] of [
    ['d', 86_400_000],
    ['h', 3_600_000],
    ['min', 60_000],
    ['s', 1_000],
  ]) {
    if (ms >= length) return `${Math.floor(ms / length)} ${name}`;
  }
  return `${Math.max(0, Math.round(ms))} ms`;
}

const number = (count) => count.toLocaleString('en-US');
const counted = (count, one, many = `${one}s`) => `${number(count)} ${count === 1 ? one : many}`;
const percent = (share) => `${Math.round(share * 100)} %`;
const time = (epoch) => new Date(epoch).toISOString();

module.exports = {
  bytes,
  counted,
  duration,
  number,
  paint,
  percent,
  plain,
  print,
  printJson,
  printTable,
  shortened,
  time,
};
