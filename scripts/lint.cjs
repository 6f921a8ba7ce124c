'use strict';
// Clippy over all targets of the workspace; a warning is an error.

const { runScript } = require('./script.cjs');

runScript(async () => {
  const { runStep } = require('./steps.cjs');
  const { cargoEnvironment } = require('./native.cjs');
  const args = ['clippy', '--release', '--workspace', '--all-targets', '--', '-D', 'warnings'];
  await runStep('cargo clippy', 'cargo', args, { env: cargoEnvironment() });
});
