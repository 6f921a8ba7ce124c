'use strict';
// Runs each trial with each driver that can take part, every cell in a Node process of its own, and prints a table.
// The drivers take turns (A B A B …), so that a busy moment of the machine meets all of them; ratios are of pairs.
//
//   npm run bench                              everything; writes the table into README.md
//   npm run bench -- cycle claim               the trials named, with those of their variants that take long
//   npm run bench -- cycle --driver native     the drivers named
//   npm run bench -- vectors --variant 200,000   the variants whose titles begin so
//   --repetitions 3    how often each cell is run, long trials less often    --quick    tiny sizes, once: whether it runs, not how fast
//   --no-peers         without packages of others, and without installing them
//   --observations 500 how many of the reference database are used by the trials that index it
//   --results <dir>    where the JSON is written, in place of bench/results
//
// Nothing here fails on a figure: the table says what was wanted, the reader judges.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { parseArgs } = require('node:util');
const { spawnSync } = require('node:child_process');
const { installPeers } = require('./peers.cjs');
const { writeSection } = require('./readme.cjs');
const { markdown, plain, rowsOf } = require('./report.cjs');

const REPETITIONS = 5;
// A variant that takes longer than this is not repeated so often, but three times at least.
const VARIANT_MS = 20_000;
const LONG_REPETITIONS = 3;
// A cell that takes longer is ended, and says so.
const CELL_MS = 600_000;
const PEERLESS = ['native', 'event-emitter', 'idle', 'node-sqlite'];

/** The modules of a folder, by file name; this module's driver first. */
function load(folder) {
  const modules = fs
    .readdirSync(path.join(__dirname, folder))
    .filter((file) => file.endsWith('.cjs'))
    .map((file) => ({ ...require(path.join(__dirname, folder, file)), id: path.basename(file, '.cjs') }));
  return modules.sort((a, b) => (b.id === 'native') - (a.id === 'native') || a.id.localeCompare(b.id));
}

function readArguments() {
  const { values, positionals } = parseArgs({
    allowPositionals: true,
    options: {
      driver: { type: 'string', multiple: true, default: [] },
      variant: { type: 'string', multiple: true, default: [] },
      repetitions: { type: 'string' },
      observations: { type: 'string' },
      results: { type: 'string', default: path.join(__dirname, 'results') },
      quick: { type: 'boolean', default: false },
      'no-peers': { type: 'boolean', default: false },
    },
  });
  return { ...values, trials: positionals };
}

function machine() {
  const cpus = os.cpus();
  return {
    node: process.version,
    platform: `${process.platform} ${process.arch}`,
    cpu: cpus[0]?.model.trim() ?? 'unknown',
    cores: cpus.length,
    memoryGiB: Math.round(os.totalmem() / 2 ** 30),
    loadAverage: Number(os.loadavg()[0].toFixed(2)),
  };
}

/** Runs one cell and returns its figures, or why it has none; null where the driver has no part in the variant. */
function runCell(trial, driver, variant, repetition, quick) {
  const cellArguments = [trial.id, driver.id, String(trial.variants.indexOf(variant)), quick ? 'quick' : ''];
  const child = spawnSync(
    process.execPath,
    ['--expose-gc', ...(variant.nodeFlags ?? []), path.join(__dirname, 'cell.cjs'), ...cellArguments],
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 2 ** 26, timeout: trial.cellMs ?? CELL_MS },
  );
  const cell = { trial: trial.id, variant: variant.title, driver: driver.id, repetition };
  if (child.status === 0) {
    const figures = JSON.parse(child.stdout);
    return figures && { ...cell, figures };
  }
  const outOfMemory = child.stderr.includes('heap out of memory');
  const failure = outOfMemory ? 'ended: heap out of memory' : `ended: ${child.stderr.trim() || child.signal}`;
  return { ...cell, failure };
}

/** The cells that one process gave figures of: a driver's own, and those of other settings that it tried. */
function cellsOf(cell) {
  const { others = [], ...figures } = cell.figures;
  const tried = others.map(({ setting, measures }) => ({
    ...cell,
    driver: `${cell.driver}, ${setting}`,
    setting,
    of: cell.driver,
    figures: { measures, process: figures.process },
  }));
  return [{ ...cell, figures }, ...tried];
}

/** The drivers, each followed by itself with the other settings that were tried. */
function withSettings(drivers, cells) {
  return drivers.flatMap((driver) => {
    const tried = new Map(cells.filter(({ of }) => of === driver.id).map((cell) => [cell.driver, cell.setting]));
    return [
      driver,
      ...[...tried].map(([id, setting]) => ({ id, of: driver.id, title: `${driver.title}, ${setting}` })),
    ];
  });
}

/** All cells of a trial. A cell that failed is not run again. */
function runTrial(trial, drivers, { quick, repetitions, trials, variant: titles }) {
  const cells = [];
  const isWanted = ({ title, named }) =>
    titles.length > 0 ? titles.some((text) => title.startsWith(text)) : !named || trials.includes(trial.id);
  for (const variant of trial.variants.filter(isWanted)) {
    // One that says how often is a long one.
    const most = variant.repetitions ?? trial.repetitions ?? Infinity;
    const times = quick ? 1 : Math.min(Number(repetitions ?? REPETITIONS), most);
    const out = new Set();
    const startedAt = performance.now();
    for (let repetition = 0; repetition < times; repetition += 1) {
      // A number that was asked for is kept to.
      const long = !repetitions && performance.now() - startedAt > VARIANT_MS;
      if (long && repetition >= LONG_REPETITIONS) break;
      for (const driver of drivers.filter(({ id }) => !out.has(id))) {
        const cell = runCell(trial, driver, variant, repetition, quick);
        if (!cell?.figures) out.add(driver.id);
        if (cell) cells.push(...(cell.figures ? cellsOf(cell) : [cell]));
      }
    }
  }
  return cells;
}

/** A sentence for each call to which two drivers gave answers of another length. */
function disagreements(cells) {
  const first = new Map();
  const sentences = new Set();
  for (const { driver, figures } of cells) {
    for (const [label, size] of Object.entries(figures?.sizes ?? {})) {
      const known = first.get(label) ?? { driver, size };
      first.set(label, known);
      if (known.size !== size)
        sentences.add(`${label}: ${known.driver} answers ${known.size} rows, ${driver} ${size}; not comparable.`);
    }
  }
  return sentences;
}

function main() {
  const wanted = readArguments();
  // The variants of a trial are made of it, here and in the process of each cell.
  if (wanted.observations) process.env.CLAUDE_MEM_BENCH_OBSERVATIONS = wanted.observations;
  // For trials that ask a peer in turns with this module, in one process.
  if (wanted['no-peers']) process.env.CLAUDE_MEM_BENCH_NO_PEERS = '1';
  const chosen = (list, ids) => list.filter(({ id }) => ids.length === 0 || ids.includes(id));
  const trials = chosen(load('trials'), wanted.trials);
  const drivers = chosen(load('drivers'), wanted.driver).filter(
    ({ id }) => !wanted['no-peers'] || PEERLESS.includes(id),
  );
  if (trials.length === 0 || drivers.length === 0) {
    const names = (folder) => load(folder).map(({ id }) => id);
    process.stderr.write(
      `Nothing to run. Trials: ${names('trials').join(', ')}. Drivers: ${names('drivers').join(', ')}.\n`,
    );
    process.exitCode = 1;
    return;
  }

  if (!wanted['no-peers']) {
    const more = trials.flatMap((trial) => trial.install?.() ?? []);
    for (const sentence of [...installPeers(), ...more]) process.stdout.write(`Without a peer: ${sentence}\n`);
  }
  const present = drivers.filter((driver) => {
    const reason = driver.unavailable();
    if (reason) process.stdout.write(`Without ${driver.title}: ${reason}.\n`);
    return !reason;
  });

  const host = machine();
  const { node, platform, cpu, cores, memoryGiB, loadAverage } = host;
  process.stdout.write(`Node ${node} on ${platform}, ${cores} × ${cpu}, ${memoryGiB} GiB, load ${loadAverage}\n`);
  if (loadAverage > cores / 2)
    process.stdout.write('The machine is busy: delays and rates are worse than they would be.\n');

  const startedAt = new Date().toISOString();
  const [cells, reports] = [[], []];
  for (const trial of trials) {
    process.stdout.write(`\n${trial.title} (${trial.id})\n`);
    const reason = trial.unavailable?.() ?? null;
    if (reason) {
      process.stdout.write(`left out: ${reason}\n`);
      continue;
    }
    const taking = present.filter((driver) => trial.accepts(driver));
    const mine = runTrial(trial, taking, wanted);
    const rows = rowsOf(trial, withSettings(taking, mine), mine);
    cells.push(...mine);
    reports.push({ id: trial.id, title: trial.title, rows });
    process.stdout.write(plain(rows));
    for (const sentence of disagreements(mine)) process.stdout.write(`${sentence}\n`);
  }

  fs.mkdirSync(wanted.results, { recursive: true });
  const file = path.join(wanted.results, `${startedAt.replaceAll(':', '-')}.json`);
  const run = { startedAt, machine: host, quick: wanted.quick, trials: reports, cells };
  fs.writeFileSync(file, `${JSON.stringify(run, null, 2)}\n`);
  process.stdout.write(`\nWritten to ${path.relative(process.cwd(), file)}\n`);
  const missed = reports.flatMap(({ rows }) => rows.filter(({ met }) => met === false));
  for (const { what, driver, wanted: sentence } of missed)
    process.stdout.write(`not reached: ${what} (${driver}): ${sentence.replaceAll('**', '')}\n`);

  // A part of the trials or drivers would leave a table in which the rest is missing.
  const isPart = [wanted.trials, wanted.driver, wanted.variant].some((named) => named.length > 0);
  const whole = !isPart && !wanted['no-peers'] && !wanted.quick;
  if (whole) {
    writeSection(path.join(__dirname, '../README.md'), markdown(host, reports));
    process.stdout.write('The table in README.md is of this run.\n');
  }
}

main();
