'use strict';
// check, repair: whether the files are well, and making again what can be derived.

const { EXIT } = require('../faults.cjs');
const { byHand } = require('../findings/integrity.cjs');
const { asClient, asOwner } = require('../opening.cjs');
const { counted, duration, paint, plain, print, printJson } = require('../output.cjs');
const { waitSeconds } = require('../arguments.cjs');
const { waiting } = require('../progress.cjs');

const COLOURS = { error: 'red', warning: 'yellow', info: 'dim' };

function showFindings({ findings, tookMs }) {
  for (const { severity, file, table, message, remedy } of findings) {
    print(
      `${paint(COLOURS[severity], severity)}: ${plain(file)}${table ? `, ${plain(table)}` : ''}: ${plain(message)}`,
    );
    print(`  remedy: ${plain(byHand(remedy))}`);
  }
  if (findings.length === 0) print(paint('green', `all is well, looked at in ${duration(tookMs)}`));
}

const mark = (report) => {
  if (!report.ok) process.exitCode = EXIT.failed;
};

async function check(options) {
  const look = (memory) => waiting('check', memory, memory.checkIntegrity());
  const report = await asClient(options, look, { readOnly: true });
  if (options.json) printJson(report);
  else showFindings(report);
  mark(report);
}

async function repair(options) {
  const done = await asOwner(options, 'repair', (memory) => waiting('repair', memory, memory.repair()));
  if (options.json) printJson(done);
  else {
    for (const { table, message } of done.actions) print(`${plain(table)}: ${plain(message)}`);
    print(
      done.actions.length === 0 ? 'nothing was to be repaired' : `${counted(done.actions.length, 'thing')} repaired`,
    );
    showFindings(done.report);
  }
  mark(done.report);
}

function register(program) {
  program
    .command('check')
    .description('check pages, keys, text indexes and triggers, on private copies (exit 1 where something is wrong)')
    .option('--json', 'the report as JSON')
    .action((_options, command) => check(command.optsWithGlobals()));
  program
    .command('repair')
    .description('make again what can be derived: text indexes, triggers, counters (the worker must be stopped)')
    .option('--wait <seconds>', 'wait so long for the worker to stop', waitSeconds)
    .option('--json', 'the report as JSON')
    .action((_options, command) => repair(command.optsWithGlobals()));
}

module.exports = { register };
