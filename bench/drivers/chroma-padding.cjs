'use strict';
// Chroma's way of embedding: Python's onnxruntime, 32 texts a batch, each padded to 256 tokens.

const { pythonDriver } = require('../embedding/python.cjs');

module.exports = pythonDriver("Chroma's way (Python)", 'padded', ['embedding padded']);
