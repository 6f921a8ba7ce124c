'use strict';
// The model's file, the same one for this module and for its peers.

const fs = require('node:fs');
const path = require('node:path');
const { places } = require('../../scripts/embedding-model.cjs');

const VOCABULARY = path.join(__dirname, '../../assets/all-MiniLM-L6-v2/vocab.txt');

/** The file, or undefined where there is none. */
const modelFile = () => places().find((file) => fs.existsSync(file));

/** Why the trials that need the model cannot run, or null. */
const withoutModel = () => (modelFile() ? null : 'the embedding model is not here: "npm run model" gets it');

module.exports = { VOCABULARY, modelFile, withoutModel };
