'use strict';
// From cells to rows: a row a measure and driver, with minimum, median and spread over the repetitions, the ratio to
// the trial's peer, and what was wanted.

const { markdownTable, plainTable } = require('./table.cjs');
const { median, summary } = require('./statistics.cjs');

const HEADINGS = [
  'what',
  'driver',
  'unit',
  'minimum',
  'median',
  'spread',
  'ratio',
  'wanted',
  'loop p50 / p99 / max ms',
  'heap MB',
];
const LABELS = 3;

/** A figure to three significant digits, large ones in full. */
function show(value) {
  if (value === undefined || value === null) return '';
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString('en');
  return String(Number(value.toPrecision(3)));
}

/** Pairs of this driver's values and of what they are compared with, repetition by repetition. */
function pairs(mine, theirs, key, otherKey) {
  return mine.flatMap((cell) => {
    const other = theirs.find(({ repetition }) => repetition === cell.repetition);
    const [a, b] = [cell.figures.measures[key], other?.figures.measures[otherKey]];
    return a === undefined || b === undefined ? [] : [[a, b]];
  });
}

/**
 * The driver that a measure with `amongEqual` is compared with: the quickest of the others that are not below `native` in
 * that other measure. One that finds less is no match for what it takes.
 */
function bestOf(drivers, done, key, amongEqual) {
  const middle = (id, of) => {
    const values = done(id).map(({ figures }) => figures.measures[of]);
    return values.length > 0 && !values.includes(undefined) ? median(values) : null;
  };
  const own = middle('native', amongEqual);
  const equal = drivers
    .filter(({ id, of }) => id !== 'native' && of !== 'native')
    .map(({ id, title }) => ({ id, title, least: middle(id, amongEqual), value: middle(id, key) }))
    .filter(({ least, value }) => own !== null && least !== null && value !== null && least >= own);
  return equal.sort((a, b) => a.value - b.value)[0];
}

/** How `native` did: the sentence of what was wanted, and whether it was met. */
function judge(wanted, { middle, ratio, above, rival }, unit) {
  if (wanted.faster) {
    const of = rival ? ` of ${rival}` : '';
    return { sentence: `≥ ${wanted.faster} ×${of}`, met: ratio >= wanted.faster, known: ratio !== null };
  }
  if (wanted.above !== undefined) {
    const known = above !== null;
    const by = known ? `; is ${show(above)} ${unit}` : '';
    return { sentence: `≤ ${wanted.above} ${unit} above${by}`, met: known && above <= wanted.above, known };
  }
  if (wanted.atLeast) return { sentence: `≥ ${show(wanted.atLeast)}`, met: middle >= wanted.atLeast, known: true };
  return { sentence: `≤ ${wanted.atMost} ${unit}`, met: middle <= wanted.atMost, known: true };
}

/** What `native` is compared with, where that is not simply the trial's peer. */
function rivalOf(trial, measure, best) {
  if (measure.beside) return trial.measures[measure.beside].title;
  return best?.title;
}

/** The rows of a trial: `cells` are its cells, `drivers` those that took part. */
function rowsOf(trial, drivers, cells) {
  const rows = [];
  for (const variant of trial.variants) {
    const here = cells.filter((cell) => cell.variant === variant.title);
    const done = (id) => here.filter((cell) => cell.driver === id && cell.figures);
    for (const [key, measure] of Object.entries(trial.measures)) {
      for (const driver of drivers) {
        const what = [variant.title, measure.title].filter(Boolean).join(': ');
        const mine = done(driver.id).filter(({ figures }) => figures.measures[key] !== undefined);
        const row = { trial: trial.id, what, driver: driver.title, driverId: driver.id, unit: measure.unit };
        const failed = here.find((cell) => cell.driver === driver.id && cell.failure);
        if (mine.length === 0) {
          // Said once, at the first measure.
          if (failed && key === Object.keys(trial.measures)[0]) rows.push({ ...row, failure: failed.failure });
          continue;
        }
        const figures = summary(mine.map((cell) => cell.figures.measures[key]));
        const wanted = { ...measure.wanted, ...variant.wanted?.[key] };
        const best = measure.amongEqual && bestOf(drivers, done, key, measure.amongEqual);
        const peer = measure.amongEqual ? best?.id : (wanted.peer ?? measure.peer ?? trial.peer);
        let [ratio, above] = [null, null];
        // Beside another measure of the same cell, or beside the peer.
        const other = measure.beside ? [mine, measure.beside] : peer && peer !== driver.id && [done(peer), key];
        if (other) {
          const both = pairs(mine, other[0], key, other[1]);
          const times = both.map(([a, b]) => (measure.better === 'more' ? a / b : b / a)).filter(Number.isFinite);
          if (times.length > 0 && peer !== 'idle') ratio = median(times);
          if (both.length > 0) above = median(both.map(([a, b]) => a - b));
        }
        const judged =
          driver.id === 'native' && Object.keys(wanted).length > 0
            ? judge(
                wanted,
                { middle: figures.median, ratio, above, rival: rivalOf(trial, measure, best) },
                measure.unit,
              )
            : null;
        const processes = mine.map((cell) => cell.figures.process);
        const middle = (of) => median(processes.map((one) => one[of]));
        rows.push({
          ...row,
          ...figures,
          ratio,
          wanted:
            judged && `${judged.sentence}${judged.known ? (judged.met ? ', met' : ', **not met**') : ', not known'}`,
          met: judged?.known ? judged.met : null,
          delayP50: middle('delayP50'),
          delayP99: middle('delayP99'),
          delayMax: middle('delayMax'),
          heapPeak: middle('heapPeak'),
        });
      }
    }
  }
  return rows;
}

const texts = (row) =>
  row.failure
    ? [row.what, row.driver, row.failure, '', '', '', '', '', '', '']
    : [
        row.what,
        row.driver,
        row.unit,
        show(row.minimum),
        show(row.median),
        `${Math.round(row.spread * 100)} %`,
        row.ratio === null ? '' : `${show(row.ratio)} ×`,
        row.wanted ?? '',
        [row.delayP50, row.delayP99, row.delayMax].map((ms) => ms.toFixed(1)).join(' / '),
        (row.heapPeak / 1e6).toFixed(1),
      ];

/** A trial's rows for the terminal. */
const plain = (rows) =>
  plainTable(
    HEADINGS,
    rows.map((row) => texts(row).map((text) => text.replaceAll('**', ''))),
    LABELS,
  );

/** The section of the README: what was wanted first, then everything. */
function markdown(host, trials) {
  const { node, platform, cpu, cores, memoryGiB, loadAverage } = host;
  const wanted = trials.flatMap(({ title, rows }) =>
    rows
      .filter((row) => row.wanted)
      .map((row) => [
        title,
        row.what,
        show(row.median),
        row.unit,
        row.ratio === null ? '' : `${show(row.ratio)} ×`,
        row.wanted,
      ]),
  );
  const everything = trials
    .map(({ title, rows }) => `\n**${title}**\n\n${markdownTable(HEADINGS, rows.map(texts), LABELS)}`)
    .join('');
  return `Node ${node} on ${platform}, ${cores} × ${cpu}, ${memoryGiB} GiB, load ${loadAverage} at the start.

${markdownTable(['trial', 'what', 'median', 'unit', 'times as fast', 'wanted'], wanted, 2)}
<details>
<summary>Every figure of that run, of every driver</summary>
${everything}
</details>
`;
}

module.exports = { markdown, plain, rowsOf };
