'use strict';
// Where claude-mem's vector store left its vectors.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

const isChroma = (directory) => fs.existsSync(path.join(directory, 'chroma.sqlite3'));

/** The Chroma directory of a data directory, or null. 6.0.2 writes below the home, wherever the database lies. */
function chromaDirectory(dataDirectory) {
  const places = [path.join(dataDirectory, 'vector-db'), path.join(os.homedir(), '.claude-mem', 'vector-db')];
  return places.find(isChroma) ?? null;
}

module.exports = { chromaDirectory };
