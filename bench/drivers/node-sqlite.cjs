'use strict';
// node:sqlite, where this Node has it, in the same way as better-sqlite3.

const { openQueue } = require('../port/queue.cjs');
const { openStore } = require('../port/store.cjs');

function library() {
  try {
    return process.getBuiltinModule('node:sqlite') ?? null;
  } catch {
    return null;
  }
}

const open = (file) => new (library().DatabaseSync)(file);

module.exports = {
  title: 'node:sqlite',
  provides: ['queue', 'durable', 'claims', 'store', 'open', 'commits each'],
  unavailable: () => (library() ? null : `Node ${process.version} has no node:sqlite`),
  open: (directory, { durability } = {}) => openQueue(open, directory, { durability, batched: false }),
  openStore: async (directory) => openStore(open, directory),
};
