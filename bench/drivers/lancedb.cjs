'use strict';
// LanceDB in process, as its guide says: a table, and its default vector index once everything is in it.

const path = require('node:path');
const { requirePeer } = require('../peers.cjs');

module.exports = {
  title: 'LanceDB',
  provides: ['vectors'],
  unavailable: () => (requirePeer('@lancedb/lancedb') ? null : '@lancedb/lancedb is not installed'),

  async openVectors(directory) {
    const { connect, Index } = requirePeer('@lancedb/lancedb');
    const db = await connect(path.join(directory, 'lance'));
    let table = (await db.tableNames()).includes('vectors') ? await db.openTable('vectors') : null;
    return {
      async add(first, vectors) {
        const rows = vectors.map((vector, place) => ({ id: first + place, vector: Array.from(vector) }));
        if (table) await table.add(rows);
        else table = await db.createTable('vectors', rows);
      },
      async built() {
        await table.optimize();
        await table.createIndex('vector', { config: Index.ivfPq({ distanceType: 'cosine' }) });
      },
      async search(query, k) {
        const rows = await table
          .vectorSearch(query)
          .distanceType('cosine')
          .limit(k)
          .select(['id', '_distance'])
          .toArray();
        return rows.map(({ id }) => Number(id));
      },
      close: async () => {
        table?.close();
        db.close();
      },
    };
  },
};
