'use strict';
// Makes the model with 32-bit weights: the graph of the published file, whose weights are stored in 8 bits, with the
// weights that these were rounded from. Built-ins only.

const { withWeights } = require('./model-graph.cjs');
const { tensor } = require('./onnx-file.cjs');

/** The bytes of an ONNX file: `published`, the one with 8 bits, with the weights of `safetensors`. */
const fullPrecision = (published, safetensors) =>
  withWeights(published, safetensors, (weights, { nodes, others }) => [
    ...nodes.map(({ whole }) => whole),
    ...others,
    ...weights.map(({ name, ...found }) => tensor(name, found)),
  ]);

module.exports = { fullPrecision };
