'use strict';
// sqlite-vec in better-sqlite3: exact search in a virtual table.

const path = require('node:path');
const { DIMENSIONS } = require('../vectors/data.cjs');
const { betterSqlite3, requirePeer } = require('../peers.cjs');

module.exports = {
  title: 'sqlite-vec',
  provides: ['vectors'],
  unavailable: () =>
    betterSqlite3() && requirePeer('sqlite-vec') ? null : 'sqlite-vec or better-sqlite3 is not installed',

  async openVectors(directory) {
    const db = new (betterSqlite3())(path.join(directory, 'vectors.db'));
    requirePeer('sqlite-vec').load(db);
    db.pragma('journal_mode = WAL');
    db.pragma('synchronous = NORMAL');
    db.exec(
      `CREATE VIRTUAL TABLE IF NOT EXISTS vectors USING vec0(embedding float[${DIMENSIONS}] distance_metric=cosine)`,
    );
    const insert = db.prepare('INSERT INTO vectors(rowid, embedding) VALUES (?, ?)');
    const nearest = db.prepare('SELECT rowid FROM vectors WHERE embedding MATCH ? AND k = ?').pluck();
    const addAll = db.transaction((first, vectors) => {
      for (const [place, vector] of vectors.entries()) insert.run(BigInt(first + place + 1), vector);
    });
    return {
      add: async (first, vectors) => addAll(first, vectors),
      built: async () => {},
      search: async (query, k) => nearest.all(query, k).map((rowid) => rowid - 1),
      close: async () => db.close(),
    };
  },
};
