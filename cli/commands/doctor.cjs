'use strict';
// doctor: looks at everything and changes nothing. Exit 0: all well; 1: somebody should look; 2: something is broken.

const { EXIT } = require('../faults.cjs');
const { paint, plain, print, printJson } = require('../output.cjs');
const { version } = require('../../package.json');
const { ofBinary, ofDisk, ofDirectory, ofNode, ofPermissions, ofSettings } = require('../findings/surroundings.cjs');
const { ofMemory } = require('../findings/memory.cjs');
const { ofIntegrity } = require('../findings/integrity.cjs');
const { ofWorker } = require('../findings/worker.cjs');
const { dataDirectory } = require('../opening.cjs');

const COLOURS = { ok: 'green', info: 'dim', warning: 'yellow', error: 'red' };
const BADNESS = ['ok', 'info', 'warning', 'error'];

/** All findings: `{check, severity, message, remedy}`, remedy null where nothing is to be done. */
async function examine(options) {
  const directory = dataDirectory(options);
  const findings = [ofNode(), ...ofDirectory(directory)];
  const binary = ofBinary();
  findings.push(binary, ofPermissions(directory), ...ofSettings(options), ofDisk(directory));
  if (binary.severity !== 'error') {
    findings.push(...(await ofMemory(options)));
    if (!options.quick) findings.push(...(await ofIntegrity(options)));
  }
  findings.push(await ofWorker(options));
  return findings.filter(Boolean);
}

async function doctor(options) {
  const findings = await examine(options);
  const worst = BADNESS[Math.max(...findings.map(({ severity }) => BADNESS.indexOf(severity)))];
  if (options.json) {
    const ok = worst !== 'error' && worst !== 'warning';
    printJson({ ok, worst, version, dataDir: dataDirectory(options), findings });
  } else {
    for (const { check, severity, message, remedy } of findings) {
      print(`${paint(COLOURS[severity], severity.padEnd(7))}  ${check.padEnd(14)}  ${plain(message)}`);
      if (remedy) print(`${' '.repeat(25)}→ ${plain(remedy)}`);
    }
  }
  process.exitCode = { ok: EXIT.ok, info: EXIT.ok, warning: EXIT.warning, error: EXIT.critical }[worst];
}

function register(program) {
  program
    .command('doctor')
    .description('look at everything and change nothing (exit 0: well, 1: warning, 2: broken)')
    .option('--quick', 'do not check the content of the databases, which is done on a copy')
    .option('--url <url>', 'address of the worker (default: 127.0.0.1 and the port of settings.json)')
    .option('--json', 'the findings as JSON')
    .action((_options, command) => doctor(command.optsWithGlobals()));
}

module.exports = { register };
