'use strict';
// The benchmarks run, with tiny sizes and without the peers that must be installed. No figure fails a test.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { execFile } = require('node:child_process');
const { describe, test } = require('node:test');
const { promisify } = require('node:util');
const { dataDirectory } = require('./data-directory.cjs');
const { writeSection } = require('../bench/readme.cjs');
const { rowsOf } = require('../bench/report.cjs');
const { summary } = require('../bench/statistics.cjs');

const MAIN = path.join(__dirname, '../bench/main.cjs');
const TRIALS = fs.readdirSync(path.join(__dirname, '../bench/trials')).map((file) => path.basename(file, '.cjs'));

test('every trial runs and its figures are well-formed', async (t) => {
  const { directory } = dataDirectory(t);
  const readme = fs.readFileSync(path.join(__dirname, '../README.md'));
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [MAIN, '--quick', '--no-peers', '--results', directory],
    { timeout: 300_000, maxBuffer: 2 ** 26 },
  );
  assert.doesNotMatch(stdout, /ended: (?!heap out of memory)/);
  const [file] = fs.readdirSync(directory);
  const { machine, quick, trials, cells } = JSON.parse(fs.readFileSync(path.join(directory, file), 'utf8'));
  assert.equal(machine.node, process.version);
  assert.equal(quick, true);
  for (const { trial, driver, figures, failure } of cells) {
    assert.equal(failure, undefined, `${trial} with ${driver}`);
    for (const [measure, value] of Object.entries(figures.measures))
      assert.ok(Number.isFinite(value), `${trial}, ${driver}: ${measure} is ${value}`);
  }
  for (const { id, title } of trials) {
    assert.ok(TRIALS.includes(id));
    const rows = trials.find((trial) => trial.id === id).rows;
    assert.ok(rows.length > 0, title);
    for (const row of rows) assert.ok(row.minimum <= row.median && row.spread >= 0, JSON.stringify(row));
    assert.ok(rows.some(({ driverId }) => driverId === 'native'));
  }
  const left = [...stdout.matchAll(/left out: (.*)/g)];
  for (const [sentence] of left) t.diagnostic(sentence);
  assert.equal(trials.length + left.length, TRIALS.length);
  assert.deepEqual(
    fs.readFileSync(path.join(__dirname, '../README.md')),
    readme,
    'a quick run leaves the README alone',
  );
});

test('a wrong name lists the right ones', async () => {
  await assert.rejects(promisify(execFile)(process.execPath, [MAIN, 'no-such-trial']), (error) => {
    assert.match(error.stderr, /Trials: .*cycle.*Drivers: native/);
    return true;
  });
});

describe('figures', () => {
  test('minimum, median and spread', () => {
    assert.deepEqual(summary([4, 2, 3]), { minimum: 2, median: 3, spread: 2 / 3 });
    assert.deepEqual(summary([4, 2]), { minimum: 2, median: 3, spread: 2 / 3 });
  });

  const process = { delayP50: 1, delayP99: 1, delayMax: 1, heapPeak: 1e6 };
  const cell = (driver, repetition, value) => ({
    variant: '',
    driver,
    repetition,
    figures: { measures: { m: value }, process },
  });
  const drivers = [
    { id: 'native', title: 'mine' },
    { id: 'peer', title: 'peer' },
  ];
  const trial = (measure) => ({
    id: 't',
    peer: 'peer',
    variants: [{ title: '' }],
    measures: { m: { title: 'm', ...measure } },
  });

  test('ratios are of pairs, whatever direction is the better one', () => {
    const cells = [cell('native', 0, 10), cell('peer', 0, 20), cell('native', 1, 30), cell('peer', 1, 90)];
    const [less] = rowsOf(trial({ unit: 'µs', wanted: { faster: 2 } }), drivers, cells);
    assert.equal(less.ratio, 2.5);
    assert.equal(less.met, true);
    const [more] = rowsOf(trial({ unit: 'messages/s', better: 'more', wanted: { faster: 2 } }), drivers, cells);
    assert.ok(more.ratio < 0.5);
    assert.equal(more.met, false);
    assert.match(more.wanted, /not met/);
  });

  test('what is wanted of a peer that did not run is not known', () => {
    const [row] = rowsOf(trial({ unit: 'µs', wanted: { above: 25 } }), drivers, [cell('native', 0, 10)]);
    assert.equal(row.met, null);
    assert.match(row.wanted, /not known/);
  });

  test('the best peer is the quickest of those that find as much', () => {
    const found = (driver, recall, latency) => ({
      variant: '',
      driver,
      repetition: 0,
      figures: { measures: { recall, latency }, process },
    });
    const tried = { id: 'native, expansion 32', of: 'native', title: 'mine, expansion 32' };
    const four = [...drivers, tried, { id: 'other', title: 'other' }];
    const measures = {
      recall: { title: 'recall', unit: '', better: 'more' },
      latency: { title: 'one search', unit: 'µs', amongEqual: 'recall', wanted: { faster: 1 } },
    };
    const row = (cells) => {
      const rows = rowsOf({ id: 't', variants: [{ title: '' }], measures }, four, cells);
      return rows.find(({ what, driverId }) => what === 'one search' && driverId === 'native');
    };
    const own = found('native', 0.99, 100);
    const beside = row([own, found(tried.id, 1, 20), found('peer', 0.9, 10), found('other', 0.99, 150)]);
    assert.equal(beside.ratio, 1.5);
    assert.equal(beside.wanted, '≥ 1 × of other, met');
    assert.equal(row([own, found('peer', 0.995, 50), found('other', 0.99, 150)]).met, false);
    assert.equal(row([own, found('peer', 0.9, 10)]).met, null);
  });

  test('a measure can be judged beside another one of the same cell', () => {
    const measures = {
      exact: { title: 'exact', unit: 'µs' },
      filtered: { title: 'filtered', unit: 'µs', beside: 'exact', wanted: { faster: 1 } },
    };
    const filtered = (exact, value) => ({
      variant: '',
      driver: 'native',
      repetition: 0,
      figures: { measures: { exact, filtered: value }, process },
    });
    const row = (cell) =>
      rowsOf({ id: 't', variants: [{ title: '' }], measures }, drivers, [cell]).find(({ what }) => what === 'filtered');
    assert.equal(row(filtered(300, 100)).ratio, 3);
    assert.equal(row(filtered(300, 100)).wanted, '≥ 1 × of exact, met');
    assert.equal(row(filtered(300, 400)).met, false);
    assert.equal(row(filtered(undefined, 400)).met, null);
  });

  test('a driver that ends shows why', () => {
    const failed = { variant: '', driver: 'peer', repetition: 0, failure: 'ended: heap out of memory' };
    const rows = rowsOf(trial({ unit: 'µs' }), drivers, [cell('native', 0, 1), failed]);
    assert.equal(rows[1].failure, 'ended: heap out of memory');
  });

  test('the table stands between its markers', (t) => {
    const { directory } = dataDirectory(t);
    const file = path.join(directory, 'README.md');
    const [begin, end] = ['<!-- bench: written by "npm run bench" -->', '<!-- /bench -->'];
    fs.writeFileSync(file, `before\n${begin}\nold\n${end}\nafter\n`);
    writeSection(file, 'new');
    assert.equal(fs.readFileSync(file, 'utf8'), `before\n${begin}\n\nnew\n${end}\nafter\n`);
    fs.writeFileSync(file, 'nothing');
    assert.throws(() => writeSection(file, 'new'), /no markers/);
  });
});
