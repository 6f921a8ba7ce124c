'use strict';
// What doctor finds in the content of the databases: a client checks private copies, beside a worker or without one.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { asClient, dataDirectory, databaseOf, exists } = require('../opening.cjs');
const { bytes, duration } = require('../output.cjs');
const { waiting } = require('../progress.cjs');
const { finding } = require('./finding.cjs');
const { failed } = require('./memory.cjs');
const { freeBytes } = require('./surroundings.cjs');

/** The copy, and what sorting in it takes. */
const COPIES = 2;

/** Bytes of the largest file with its log: they are copied one after the other. */
function largest(directory) {
  const files = [
    databaseOf(directory),
    ...['queue.db', 'collections.db'].map((name) => path.join(directory, 'native', name)),
  ];
  const sizeOf = (file) => fs.statSync(file, { throwIfNoEntry: false })?.size ?? 0;
  return Math.max(...files.map((file) => sizeOf(file) + sizeOf(`${file}-wal`)));
}

async function ofIntegrity(options) {
  const directory = dataDirectory(options);
  if (!exists(databaseOf(directory))) return [];
  const [wanted, free] = [largest(directory) * COPIES, freeBytes(os.tmpdir())];
  if (wanted > free)
    return [
      finding(
        'integrity',
        'info',
        `not checked: a copy needs ${bytes(wanted)} in ${os.tmpdir()}, and ${bytes(free)} are free`,
        'set TMPDIR to a directory of a larger disk, and run "claude-mem-native check"',
      ),
    ];
  try {
    const check = (memory) => waiting('integrity', memory, memory.checkIntegrity());
    const { findings, tookMs } = await asClient(options, check, { readOnly: true });
    if (findings.length === 0) return [finding('integrity', 'ok', `all is well, looked at in ${duration(tookMs)}`)];
    return findings.map(({ severity, table, message, remedy }) =>
      finding('integrity', severity, `${table ? `${table}: ` : ''}${message}`, byHand(remedy)),
    );
  } catch (error) {
    return [failed('integrity', error)];
  }
}

/** The engine's remedies name its methods; here they are commands. */
const byHand = (remedy) =>
  remedy
    .replace('call memory.repair()', 'stop the worker and run "claude-mem-native repair"')
    .replace(
      'restore(folder, dataDir, { overwrite: true })',
      'stop the worker and run "claude-mem-native restore FOLDER --overwrite"',
    )
    .replace('dispose this memory and open it again', 'start the worker anew');

module.exports = { byHand, ofIntegrity };
