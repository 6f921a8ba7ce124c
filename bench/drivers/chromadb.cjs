'use strict';
// chromadb in a Python process: a collection on disk, cosine space, its defaults otherwise.

const { openElsewhere, openVectors, python } = require('../vectors/chroma.cjs');

module.exports = {
  title: 'chromadb (Python)',
  provides: ['vectors', 'filters'],
  unavailable: () => (python() ? null : 'it is not installed; "npm run bench -- vectors" does that'),
  openVectors,
  openElsewhere,
};
