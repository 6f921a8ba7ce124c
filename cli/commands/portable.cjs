'use strict';
// export, import: everything as a file of JSON Lines, and back.

const path = require('node:path');
const { asClient, asOwner } = require('../opening.cjs');
const { bytes, counted, print, printJson } = require('../output.cjs');
const { waitSeconds } = require('../arguments.cjs');
const { follow } = require('../progress.cjs');

async function exportTo(file, options) {
  const { project } = options;
  const summary = await asClient(
    options,
    (memory) => follow('export', memory.exportTo(path.resolve(file), project === undefined ? null : { project })),
    { parts: ['store', 'queue'] },
  );
  if (options.json) return printJson(summary);
  print(`${summary.path}: ${bytes(summary.bytes)}`);
  const { sessions, observations, summaries, prompts, messages, deadLetters } = summary;
  print(
    [
      counted(sessions, 'session'),
      counted(observations, 'observation'),
      counted(summaries, 'summary', 'summaries'),
      counted(prompts, 'prompt'),
      counted(messages, 'waiting message'),
      counted(deadLetters, 'dead letter'),
    ].join(', '),
  );
}

async function importFrom(file, options) {
  const summary = await asOwner(
    options,
    'import',
    (memory) => follow('import', memory.importFrom(path.resolve(file)), { format: bytes }),
    { create: true, parts: ['store', 'queue'] },
  );
  if (options.json) return printJson(summary);
  for (const kind of ['sessions', 'observations', 'summaries', 'prompts', 'messages', 'deadLetters']) {
    const { imported, existing, duplicate, skipped } = summary[kind];
    const known = existing ?? duplicate;
    const name = kind === 'deadLetters' ? 'dead letters' : kind;
    print(`${name}: ${imported} imported, ${known} known already${skipped ? `, ${skipped} left out` : ''}`);
  }
  if (summary.ignoredColumns.length > 0)
    print(`columns that are not here were left out: ${summary.ignoredColumns.join(', ')}`);
}

function register(program) {
  program
    .command('export')
    .description('write everything, waiting messages too, to a file of JSON Lines')
    .argument('<file>', 'the file; one that is there is replaced')
    .option('--project <name>', 'only this project')
    .option('--json', 'what was written, as JSON')
    .action((file, _options, command) => exportTo(file, command.optsWithGlobals()));
  program
    .command('import')
    .description('read such a file; nothing is imported twice (the worker must be stopped)')
    .argument('<file>', 'the file')
    .option('--wait <seconds>', 'wait so long for the worker to stop', waitSeconds)
    .option('--json', 'what became of it, as JSON')
    .action((file, _options, command) => importFrom(file, command.optsWithGlobals()));
}

module.exports = { register };
