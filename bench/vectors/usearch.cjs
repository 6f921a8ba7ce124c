'use strict';
// The npm package usearch, with vectors of one precision or another.

const fs = require('node:fs');
const path = require('node:path');
const { requirePeer } = require('../peers.cjs');
const { DIMENSIONS } = require('./data.cjs');

/** A driver; `quantization` as usearch names it. */
const usearchDriver = (title, quantization) => ({
  title,
  provides: ['vectors'],
  unavailable: () => (requirePeer('usearch') ? null : 'usearch is not installed'),

  // Its default is 64.
  expansions: [32, 128, 192, 256],

  /** `expansion`: how many candidates a search looks at, in place of the default. */
  async openVectors(directory, count, { expansion = 0 } = {}) {
    const { Index } = requirePeer('usearch');
    const file = path.join(directory, 'vectors.usearch');
    const index = new Index({
      dimensions: DIMENSIONS,
      metric: 'cos',
      quantization,
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
});

module.exports = { usearchDriver };
