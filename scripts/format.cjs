'use strict';
// Formats the Rust and the JavaScript sources in place; with --check only says what differs.

const { runScript } = require('./script.cjs');

runScript(async () => {
  const { runStep, toolPath } = require('./steps.cjs');
  await require('./install.cjs').install();
  require('./requirements.cjs').requireCargo();
  const check = process.argv.includes('--check');
  await runStep('cargo fmt (for changes run "npm run format")', 'cargo', [
    'fmt',
    '--all',
    ...(check ? ['--check'] : []),
  ]);
  const mode = check ? '--check' : '--write';
  await runStep('prettier (for changes run "npm run format")', process.execPath, [
    toolPath('prettier'),
    mode,
    '--log-level=warn',
    '.',
  ]);
});
