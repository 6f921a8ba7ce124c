'use strict';
// The npm package usearch, with the precision that is this module's default.

const fs = require('node:fs');
const path = require('node:path');
const { DIMENSIONS } = require('../vectors/data.cjs');
const { requirePeer } = require('../peers.cjs');

module.exports = {
  title: 'usearch (npm)',
  provides: ['vectors'],
  unavailable: () => (requirePeer('usearch') ? null : 'usearch is not installed'),

  // Its default is 64.
  expansions: [128, 192, 256, 384],

  /** `expansion`: how many candidates a search looks at, in place of the default. */
  async openVectors(directory, count, { expansion = 0 } = {}) {
    const { Index } = requirePeer('usearch');
    const file = path.join(directory, 'vectors.usearch');
    const index = new Index({
      dimensions: DIMENSIONS,
      metric: 'cos',
      quantization: 'bf16',
      expansion_search: expansion, // 0 is the default
    });
    const loads = fs.existsSync(file);
    if (loads) index.load(file);
    return {
      async add(first, vectors) {
        for (const [place, vector] of vectors.entries()) index.add(BigInt(first + place), vector, 1);
      },
      async built() {
        if (!loads) index.save(file);
      },
      search: async (query, k) => Array.from(index.search(query, k, 1).keys, Number),
      close: async () => {},
    };
  },
};
