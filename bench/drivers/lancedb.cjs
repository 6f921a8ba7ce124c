'use strict';
// LanceDB in process, as its guide says: a table, and its default vector index once everything is in it.

const path = require('node:path');
const { requirePeer } = require('../peers.cjs');

/** A filter as SQL. */
const asSql = ({ field, equal, below }) =>
  equal === undefined ? `${field} < ${below}` : `${field} = ${typeof equal === 'string' ? `'${equal}'` : equal}`;

module.exports = {
  title: 'LanceDB',
  provides: ['vectors', 'filters'],
  unavailable: () => (requirePeer('@lancedb/lancedb') ? null : '@lancedb/lancedb is not installed'),

  async openVectors(directory) {
    const { connect, Index } = requirePeer('@lancedb/lancedb');
    const db = await connect(path.join(directory, 'lance'));
    let table = (await db.tableNames()).includes('vectors') ? await db.openTable('vectors') : null;
    return {
      async add(first, vectors, metadata) {
        const rows = vectors.map((vector, place) => ({
          id: first + place,
          vector: Array.from(vector),
          ...metadata?.[place],
        }));
        if (table) await table.add(rows);
        else table = await db.createTable('vectors', rows);
      },
      async built() {
        await table.optimize();
        await table.createIndex('vector', { config: Index.ivfPq({ distanceType: 'cosine' }) });
      },
      async search(query, k, filter) {
        const search = table.vectorSearch(query).distanceType('cosine').limit(k).select(['id', '_distance']);
        const rows = await (filter ? search.where(asSql(filter)) : search).toArray();
        return rows.map(({ id }) => Number(id));
      },
      close: async () => {
        table?.close();
        db.close();
      },
    };
  },
};
