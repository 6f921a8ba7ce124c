'use strict';
// The engine for a command: loaded when it is needed, opened as little as the command allows, always disposed.

const fs = require('node:fs');
const path = require('node:path');
const { findNative } = require('../loader/index.cjs');
const { Fault, firstLine } = require('./faults.cjs');
const { readSettings } = require('../settings/index.cjs');

/** What the user has set, for the data directory of `--data-dir`, of the environment, or the usual one. */
const settingsOf = ({ dataDir }) => readSettings({ dataDir });

/** The data directory that a command works on, absolute. What is said on the command line wins over every setting. */
const dataDirectory = (options) => (options.dataDir ? path.resolve(options.dataDir) : settingsOf(options).dataDir);

/** Options of `openMemory` that are a command's own to choose. */
const OF_COMMANDS = ['dataDir', 'role', 'readOnly', 'lockWaitMs', 'indexing', 'clientModel'];

/** What the settings say of how to open a memory: its model, its bounds, its parts, as the worker has them. */
function openOptionsOf(options) {
  const { openOptions } = settingsOf(options);
  return Object.fromEntries(Object.entries(openOptions).filter(([name]) => !OF_COMMANDS.includes(name)));
}

const databaseOf = (directory) => path.join(directory, 'claude-mem.db');
const exists = (place) => fs.existsSync(place);

/** The module. Throws a `Fault` where its binary cannot be loaded. */
function engine() {
  const { native, error } = findNative();
  if (native) return native;
  throw new Fault(`${firstLine(error)}; "claude-mem-native doctor" says more`, { cause: error });
}

/** Throws a `Fault` where there is no database: a mistyped directory must not become a new one. */
function mustExist(directory) {
  if (exists(databaseOf(directory))) return;
  throw new Fault(
    `there is no claude-mem.db in ${directory}; name the data directory with --data-dir or CLAUDE_MEM_DATA_DIR`,
  );
}

/** Runs `use` with the memory of a client: beside a worker, or without one. */
async function asClient(options, use, more = {}) {
  const directory = dataDirectory(options);
  mustExist(directory);
  const opened = { ...openOptionsOf(options), ...more, dataDir: directory, role: 'client' };
  return using(await engine().openMemory(opened), use);
}

/**
 * As `asClient`, for the queue: with the tables, which say what is done and whose a message is; where they are of a
 * version that the engine does not know, with the queue alone.
 */
async function asQueueClient(options, use, more = {}) {
  try {
    return await asClient(options, use, { ...more, parts: ['store', 'queue'] });
  } catch (error) {
    if (error.code !== 'ERR_SCHEMA_UNSUPPORTED') throw error;
    return asClient(options, use, { ...more, parts: ['queue'] });
  }
}

/**
 * Runs `use` with the memory of the owner, which indexes nothing by itself. Throws a `Fault` where a worker has the
 * directory: `what` is the command that needs it.
 */
async function asOwner(options, what, use, { create = false, ...more } = {}) {
  const directory = dataDirectory(options);
  if (!create) mustExist(directory);
  const { openMemory } = engine();
  const own = { dataDir: directory, indexing: 'manual', lockWaitMs: options.wait ?? 0 };
  let memory;
  try {
    memory = await openMemory({ ...openOptionsOf(options), ...more, ...own });
  } catch (error) {
    if (error.code !== 'ERR_LOCKED') throw error;
    const holder = error.pid ? `process ${error.pid}` : 'another process';
    throw new Fault(
      `"${what}" needs the data directory for itself, and ${holder} (the worker) has ${directory} open: stop the worker, run this again, and start it anew`,
      { cause: error },
    );
  }
  return using(memory, use);
}

/** Disposes the memory, whatever becomes of its use. */
async function using(memory, use) {
  try {
    return await use(memory);
  } finally {
    await memory.dispose();
  }
}

module.exports = {
  asClient,
  asOwner,
  asQueueClient,
  dataDirectory,
  databaseOf,
  engine,
  exists,
  mustExist,
  settingsOf,
};
