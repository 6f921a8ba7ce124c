'use strict';
// better-sqlite3 as well as it can be: transactions of up to 256 statements, a checkpoint each 4,000 pages.

const { betterSqlite3 } = require('../peers.cjs');
const { openQueue } = require('../port/queue.cjs');

module.exports = {
  title: 'better-sqlite3, batched',
  provides: ['queue', 'durable', 'claims'],
  unavailable: () => (betterSqlite3() ? null : 'better-sqlite3 is not installed'),
  open: (directory, { durability } = {}) =>
    openQueue((file) => new (betterSqlite3())(file), directory, { durability, batched: true }),
};
