#!/usr/bin/env node
'use strict';
// npx claude-mem-native: what a user does with a data directory by hand. Needs the binary only where a command does.

const { exitCodeOf, tell } = require('./faults.cjs');

// A reader that has seen enough, such as `head`, is no fault.
process.stdout.on('error', (error) => process.exit(error.code === 'EPIPE' ? 0 : 1));

async function main() {
  const { createProgram } = require('./program.cjs');
  await createProgram().parseAsync(process.argv);
}

main().catch((error) => {
  tell(error);
  process.exitCode = exitCodeOf(error);
});
