'use strict';
// Python's onnxruntime with the same model file: one thread, batches sorted by length.

const { pythonDriver } = require('../embedding/python.cjs');

module.exports = pythonDriver('onnxruntime (Python)', 'sorted', ['embedding']);
