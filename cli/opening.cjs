'use strict';
// The engine for a command: loaded when it is needed, opened as little as the command allows, always disposed.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { findNative } = require('../loader/index.cjs');
const { Fault, firstLine } = require('./faults.cjs');

/** The data directory that a command works on, absolute. */
const dataDirectory = ({ dataDir }) =>
  path.resolve(dataDir || process.env.CLAUDE_MEM_DATA_DIR || path.join(os.homedir(), '.claude-mem'));

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
async function asClient(options, use, { parts, ...more } = {}) {
  const directory = dataDirectory(options);
  mustExist(directory);
  const memory = await engine().openMemory({ dataDir: directory, role: 'client', ...(parts && { parts }), ...more });
  try {
    return await use(memory);
  } finally {
    await memory.dispose();
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
  let memory;
  try {
    memory = await openMemory({ dataDir: directory, indexing: 'manual', lockWaitMs: options.wait ?? 0, ...more });
  } catch (error) {
    if (error.code !== 'ERR_LOCKED') throw error;
    const holder = error.pid ? `process ${error.pid}` : 'another process';
    throw new Fault(
      `"${what}" needs the data directory for itself, and ${holder} (the worker) has ${directory} open: stop the worker, run this again, and start it anew`,
      { cause: error },
    );
  }
  try {
    return await use(memory);
  } finally {
    await memory.dispose();
  }
}

module.exports = { asClient, asOwner, dataDirectory, databaseOf, engine, exists, mustExist };
