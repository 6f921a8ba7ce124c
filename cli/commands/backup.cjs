'use strict';
// backup, restore: the files, copied beside a running worker, and put back without one.

const path = require('node:path');
const { asClient, dataDirectory, engine } = require('../opening.cjs');
const { bytes, print, printJson } = require('../output.cjs');
const { waitSeconds } = require('../arguments.cjs');
const { follow } = require('../progress.cjs');

async function backup(folder, options) {
  const place = path.resolve(folder);
  const manifest = await asClient(options, (memory) => follow('backup', memory.backup(place), { format: bytes }), {
    readOnly: true,
  });
  if (options.json) return printJson(manifest);
  print(`${place}:`);
  for (const file of manifest.files) print(`  ${file.name.padEnd(16)} ${bytes(file.bytes)}`);
}

async function restore(folder, options) {
  const { overwrite = false, wait: lockWaitMs = 0 } = options;
  const job = engine().restore(path.resolve(folder), dataDirectory(options), { overwrite, lockWaitMs });
  const report = await follow('restore', job, { format: bytes });
  if (options.json) return printJson(report);
  for (const file of report.files)
    print(`${file.path}: ${bytes(file.bytes)}${file.keptAs ? `; what was there is kept as ${file.keptAs}` : ''}`);
}

function register(program) {
  program
    .command('backup')
    .description('copy the databases into a new or empty folder')
    .argument('<folder>', 'where to')
    .option('--json', 'the manifest as JSON')
    .action((folder, _options, command) => backup(folder, command.optsWithGlobals()));
  program
    .command('restore')
    .description('put a backup into the data directory (the worker must be stopped)')
    .argument('<folder>', 'the backup')
    .option('--overwrite', 'replace files that are there; each is kept beside as *.before-restore')
    .option('--wait <seconds>', 'wait so long for the worker to stop', waitSeconds)
    .option('--json', 'what became of each file, as JSON')
    .action((folder, _options, command) => restore(folder, command.optsWithGlobals()));
}

module.exports = { register };
