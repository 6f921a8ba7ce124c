'use strict';
// What doctor finds in the content of the databases. A check is the owner's, and there may be a worker: so a copy is
// made, as a client may, and the check is done by the owner of the copy.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { asClient, dataDirectory, databaseOf, engine, exists } = require('../opening.cjs');
const { bytes, duration } = require('../output.cjs');
const { follow } = require('../progress.cjs');
const { finding } = require('./finding.cjs');
const { failed } = require('./memory.cjs');
const { freeBytes } = require('./surroundings.cjs');

/** The backup, its restored copy, and what the check itself needs. */
const COPIES = 4;

function sizeOf(directory) {
  const sizes = [
    databaseOf(directory),
    ...['queue.db', 'collections.db'].map((name) => path.join(directory, 'native', name)),
  ]
    .flatMap((file) => [file, `${file}-wal`])
    .map((file) => fs.statSync(file, { throwIfNoEntry: false })?.size ?? 0);
  return sizes.reduce((sum, size) => sum + size, 0);
}

async function checkCopy(options, folder) {
  const [backup, copy] = [path.join(folder, 'backup'), path.join(folder, 'copy')];
  await asClient(options, (memory) => follow('copy', memory.backup(backup), { format: bytes }), { readOnly: true });
  const { openMemory, restore } = engine();
  await restore(backup, copy);
  const memory = await openMemory({ dataDir: copy, indexing: 'manual' });
  try {
    return await memory.checkIntegrity();
  } finally {
    await memory.dispose();
  }
}

async function ofIntegrity(options) {
  const directory = dataDirectory(options);
  if (!exists(databaseOf(directory))) return [];
  const [wanted, free] = [sizeOf(directory) * COPIES, freeBytes(os.tmpdir())];
  if (wanted > free)
    return [
      finding(
        'integrity',
        'info',
        `not checked: copies need ${bytes(wanted)} in ${os.tmpdir()}, and ${bytes(free)} are free`,
        'stop the worker and run "claude-mem-native check"',
      ),
    ];
  const folder = fs.mkdtempSync(path.join(os.tmpdir(), 'claude-mem-native-doctor-'));
  try {
    const { findings, tookMs } = await checkCopy(options, folder);
    if (findings.length === 0) return [finding('integrity', 'ok', `all is well, looked at in ${duration(tookMs)}`)];
    return findings.map(({ severity, table, message, remedy }) =>
      finding('integrity', severity, `${table ? `${table}: ` : ''}${message}`, remedy),
    );
  } catch (error) {
    return [failed('integrity', error)];
  } finally {
    fs.rmSync(folder, { recursive: true, force: true, maxRetries: 5 });
  }
}

module.exports = { ofIntegrity };
