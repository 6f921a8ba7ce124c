'use strict';
// import-chroma: the vectors that claude-mem's vector store has made, taken over.

const path = require('node:path');
const { chromaDirectory } = require('../chroma-directory.cjs');
const { Fault } = require('../faults.cjs');
const { asOwner, dataDirectory } = require('../opening.cjs');
const { counted, plain, print, printJson } = require('../output.cjs');
const { waitSeconds } = require('../arguments.cjs');
const { follow } = require('../progress.cjs');

/** Takes vectors over and says what became of them. */
async function takeOver(memory, directory, { collection, database, json }) {
  const chosen = { ...(collection !== undefined && { collection }), ...(database !== undefined && { database }) };
  const report = await follow('import from Chroma', memory.vectors.importChroma(directory, chosen));
  if (json) return printJson(report);
  print(
    `${directory}: ${counted(report.documents, 'document')}; ${report.imported} taken over, ${report.current} here already, ${report.stale} with another text, ${report.orphaned} without a row, ${report.rejected} damaged`,
  );
  for (const { reason, count, examples } of report.reasons)
    print(`  ${plain(reason)}: ${count}, such as ${examples.slice(0, 3).map(plain).join(', ')}`);
}

async function importChroma(given, options) {
  const home = dataDirectory(options);
  const directory = given === undefined ? chromaDirectory(home) : path.resolve(given);
  if (directory === null)
    throw new Fault(`there is no Chroma directory in ${path.join(home, 'vector-db')}; name the one that is meant`);
  await asOwner(options, 'import-chroma', (memory) => takeOver(memory, directory, options));
}

function register(program) {
  program
    .command('import-chroma')
    .description("take over the vectors of claude-mem's vector store (the worker must be stopped)")
    .argument('[directory]', 'the Chroma directory (default: vector-db in the data directory)')
    .option('--collection <name>', 'its collection (default: cm__claude-mem)')
    .option('--database <name>', "Chroma's database")
    .option('--wait <seconds>', 'wait so long for the worker to stop', waitSeconds)
    .option('--json', 'the report as JSON')
    .action((directory, _options, command) => importChroma(directory, command.optsWithGlobals()));
}

module.exports = { register, takeOver };
