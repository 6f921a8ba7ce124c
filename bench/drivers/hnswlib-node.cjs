'use strict';
// hnswlib-node: hnswlib behind N-API, 32-bit floats, with the graph's usual parameters.

const fs = require('node:fs');
const path = require('node:path');
const { DIMENSIONS } = require('../vectors/data.cjs');
const { hnswlib } = require('../peers.cjs');

module.exports = {
  title: 'hnswlib-node',
  provides: ['vectors'],
  unavailable: () => (hnswlib() ? null : 'hnswlib-node is not installed'),

  // Beside 64.
  expansions: [32, 128, 192, 256],

  /** `expansion`: how many candidates a search looks at. */
  async openVectors(directory, capacity, { expansion = 64 } = {}) {
    const { HierarchicalNSW } = hnswlib();
    const file = path.join(directory, 'hnswlib.index');
    const index = new HierarchicalNSW('cosine', DIMENSIONS);
    const loads = fs.existsSync(file);
    if (loads) index.readIndexSync(file);
    else index.initIndex(capacity, 16, 200, 1);
    index.setEf(expansion);
    return {
      async add(first, vectors) {
        for (const [place, vector] of vectors.entries()) index.addPoint(Array.from(vector), first + place);
      },
      async built() {
        if (!loads) index.writeIndexSync(file);
      },
      search: async (query, k) => index.searchKnn(Array.from(query), k).neighbors,
      close: async () => {},
    };
  },
};
