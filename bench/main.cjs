'use strict';
// Runs each trial with each driver that can take part, every cell in a Node process of its own, and prints a
// table. `npm run bench -- heap` runs the trials named, `-- --driver native` the drivers named.
// Nothing here fails on a figure: the table says what was wanted, the reader judges.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const { formatTable } = require('./table.cjs');

/** The modules of a folder, by file name. */
function load(folder) {
  return fs
    .readdirSync(path.join(__dirname, folder))
    .filter((file) => file.endsWith('.cjs'))
    .sort()
    .map((file) => ({ id: path.basename(file, '.cjs'), ...require(path.join(__dirname, folder, file)) }));
}

function readArguments(args) {
  const wanted = { trials: [], drivers: [] };
  for (let index = 0; index < args.length; index += 1) {
    if (args[index] === '--driver') wanted.drivers.push(args[(index += 1)]);
    else wanted.trials.push(args[index]);
  }
  return wanted;
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

/** Runs one cell and returns its figures, or why it has none. */
function runCell(trial, driver, variant) {
  const child = spawnSync(
    process.execPath,
    ['--expose-gc', ...variant.nodeFlags, path.join(__dirname, 'cell.cjs'), trial.id, driver.id],
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'], maxBuffer: 2 ** 26 },
  );
  const cell = { trial: trial.id, driver: driver.id, variant: variant.title };
  if (child.status === 0) return { ...cell, figures: JSON.parse(child.stdout) };
  const outOfMemory = child.stderr.includes('heap out of memory');
  return {
    ...cell,
    failure: outOfMemory ? 'ended: heap out of memory' : `ended: ${child.stderr.trim() || child.signal}`,
  };
}

function main() {
  const wanted = readArguments(process.argv.slice(2));
  const trials = load('trials').filter(({ id }) => wanted.trials.length === 0 || wanted.trials.includes(id));
  const drivers = load('drivers').filter(({ id }) => wanted.drivers.length === 0 || wanted.drivers.includes(id));
  if (trials.length === 0 || drivers.length === 0) {
    const names = (folder) => load(folder).map(({ id }) => id);
    process.stderr.write(
      `Nothing to run. Trials: ${names('trials').join(', ')}. Drivers: ${names('drivers').join(', ')}.\n`,
    );
    process.exitCode = 1;
    return;
  }

  const host = machine();
  const { node, platform, cpu, cores, memoryGiB, loadAverage } = host;
  process.stdout.write(`Node ${node} on ${platform}, ${cores} × ${cpu}, ${memoryGiB} GiB, load ${loadAverage}\n`);
  if (loadAverage > cores / 2)
    process.stdout.write('The machine is busy: delays and rates are worse than they would be.\n');

  const cells = [];
  for (const trial of trials) {
    process.stdout.write(`\n${trial.title}\n`);
    const rows = [];
    for (const variant of trial.variants) {
      for (const driver of drivers.filter((candidate) => trial.accepts(candidate))) {
        const cell = runCell(trial, driver, variant);
        cells.push(cell);
        rows.push({ driver: driver.title, variant: variant.title, ...(cell.figures ?? {}), failure: cell.failure });
      }
    }
    process.stdout.write(formatTable(trial.columns, rows));
    for (const note of trial.notes(cells.filter((cell) => cell.trial === trial.id))) process.stdout.write(`${note}\n`);
  }

  const results = path.join(__dirname, 'results');
  fs.mkdirSync(results, { recursive: true });
  const startedAt = new Date().toISOString();
  const file = path.join(results, `${startedAt.replaceAll(':', '-')}.json`);
  fs.writeFileSync(file, `${JSON.stringify({ startedAt, machine: host, cells }, null, 2)}\n`);
  process.stdout.write(`\nWritten to ${path.relative(process.cwd(), file)}\n`);
}

main();
