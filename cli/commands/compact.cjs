'use strict';
// compact: gives the disk back what deleted rows, acknowledged messages and logs still take.

const { asOwner } = require('../opening.cjs');
const { bytes, duration, print, printJson, printTable } = require('../output.cjs');
const { waitSeconds } = require('../arguments.cjs');
const { follow } = require('../progress.cjs');

async function compact(options) {
  const report = await asOwner(options, 'compact', (memory) => follow('compact', memory.compact(), { format: bytes }));
  if (options.json) return printJson(report);
  printTable(
    ['file', 'before', 'after', ''],
    report.files.map(({ name, beforeBytes, afterBytes, heldBack }) => [
      name,
      bytes(beforeBytes),
      bytes(afterBytes),
      heldBack ? 'somebody reads it all the time: run this again when that process has ended' : '',
    ]),
  );
  print(`${bytes(report.freedBytes)} given back in ${duration(report.tookMs)}`);
}

function register(program) {
  program
    .command('compact')
    .description('give the disk back what deleted rows and logs still take (the worker must be stopped)')
    .option('--wait <seconds>', 'wait so long for the worker to stop', waitSeconds)
    .option('--json', 'bytes before and after, by file, as JSON')
    .action((_options, command) => compact(command.optsWithGlobals()));
}

module.exports = { register };
