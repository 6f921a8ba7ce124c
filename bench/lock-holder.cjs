'use strict';
// Another process, as a hook is one: holds the write lock of the database named for so many ms, and says when it has it.

const { betterSqlite3 } = require('./peers.cjs');

const [, , file, ms] = process.argv;
const db = new (betterSqlite3())(file);
db.exec('PRAGMA busy_timeout=5000; BEGIN IMMEDIATE');
process.stdout.write('locked');
setTimeout(() => {
  db.exec('ROLLBACK');
  db.close();
}, Number(ms));
