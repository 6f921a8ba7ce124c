'use strict';
// The command line: its commands, what holds for all of them, and how they end.

const { Command } = require('commander');
const { version } = require('../package.json');

const GROUPS = [
  'doctor',
  'health',
  'setup',
  'import-chroma',
  'search',
  'queue',
  'portable',
  'backup',
  'integrity',
  'compact',
];

function createProgram() {
  const program = new Command('claude-mem-native')
    .description("The storage engine of claude-mem's worker: look at a data directory, search it, and keep it well.")
    .version(version)
    .option('--data-dir <directory>', 'the data directory (default: CLAUDE_MEM_DATA_DIR, else ~/.claude-mem)')
    .showSuggestionAfterError()
    .helpCommand(true)
    .exitOverride()
    .addHelpText(
      'after',
      '\nCommands that need the data directory for themselves say so while a worker runs; all others work beside it.' +
        '\nColours are shown on a terminal, without NO_COLOR. CLAUDE_MEM_NATIVE_DEBUG=1 shows where an error comes from.',
    );
  for (const group of GROUPS) require(`./commands/${group}.cjs`).register(program);
  return program;
}

module.exports = { createProgram };
