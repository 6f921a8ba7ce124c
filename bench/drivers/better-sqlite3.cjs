'use strict';
// better-sqlite3 with the same SQL, each statement a transaction of its own, as a straightforward port has it.

const { betterSqlite3 } = require('../peers.cjs');
const { openQueue } = require('../port/queue.cjs');
const { openStore } = require('../port/store.cjs');

const open = (file) => new (betterSqlite3())(file);

module.exports = {
  title: 'better-sqlite3',
  provides: ['queue', 'durable', 'claims', 'store', 'open', 'commits each'],
  unavailable: () => (betterSqlite3() ? null : 'better-sqlite3 is not installed'),
  open: (directory, { durability } = {}) => openQueue(open, directory, { durability, batched: false }),
  openStore: async (directory) => openStore(open, directory),
};
