'use strict';
// sqlite-vec in better-sqlite3: exact search in a virtual table.

const path = require('node:path');
const { DIMENSIONS } = require('../vectors/data.cjs');
const { betterSqlite3, requirePeer } = require('../peers.cjs');
const { FIELDS } = require('../vectors/metadata.cjs');

/** A number of the metadata as SQLite's whole number: better-sqlite3 binds JavaScript's as a float. */
const bound = (value) => (typeof value === 'number' ? BigInt(value) : value);

module.exports = {
  title: 'sqlite-vec',
  provides: ['vectors', 'filters'],
  unavailable: () =>
    betterSqlite3() && requirePeer('sqlite-vec') ? null : 'sqlite-vec or better-sqlite3 is not installed',

  async openVectors(directory, count, { withMetadata = false } = {}) {
    const db = new (betterSqlite3())(path.join(directory, 'vectors.db'));
    requirePeer('sqlite-vec').load(db);
    db.pragma('journal_mode = WAL');
    db.pragma('synchronous = NORMAL');
    const fields = withMetadata ? FIELDS : [];
    const columns = [
      `embedding float[${DIMENSIONS}] distance_metric=cosine`,
      ...fields.map(({ name, isText }) => `${name} ${isText ? 'text' : 'integer'}`),
    ];
    db.exec(`CREATE VIRTUAL TABLE IF NOT EXISTS vectors USING vec0(${columns})`);
    const names = ['rowid', 'embedding', ...fields.map(({ name }) => name)];
    const insert = db.prepare(`INSERT INTO vectors(${names}) VALUES (${names.map(() => '?')})`);
    const statements = new Map();
    const nearest = (condition) => {
      if (!statements.has(condition)) {
        const sql = `SELECT rowid FROM vectors WHERE embedding MATCH ? AND k = ?${condition}`;
        statements.set(condition, db.prepare(sql).pluck());
      }
      return statements.get(condition);
    };
    const addAll = db.transaction((first, vectors, metadata) => {
      for (const [place, vector] of vectors.entries()) {
        const beside = fields.map(({ name }) => bound(metadata[place][name]));
        insert.run(BigInt(first + place + 1), vector, ...beside);
      }
    });
    return {
      add: async (first, vectors, metadata) => addAll(first, vectors, metadata),
      built: async () => {},
      async search(query, k, filter) {
        const condition = filter ? ` AND ${filter.field} ${filter.equal === undefined ? '<' : '='} ?` : '';
        const value = filter ? [bound(filter.equal ?? filter.below)] : [];
        return nearest(condition)
          .all(query, k, ...value)
          .map((rowid) => rowid - 1);
      },
      isExact: () => true,
      close: async () => db.close(),
    };
  },
};
