'use strict';
// Makes the model with weights stored in 8 bits: the graph of the published file, which stores them so too, with
// finer steps. There one large weight makes the steps of its whole column wide; here only those of its block.
// Built-ins only.

const { withWeights } = require('./model-graph.cjs');
const { TYPES, node, tensor } = require('./onnx-file.cjs');

/**
 * How many weights beside each other share a step. Found by trial: cosine to 32 bits is then 0.9996 or better, while
 * the file grows by 7 %. Smaller blocks of tables gain nothing, larger ones of matrices lose half of what is gained.
 */
const BLOCK = { matrix: 8, table: 48 };
/** The largest stored weight, and the largest stored step. */
const LARGEST = 127;
const WIDEST = 255;

/**
 * Weights as rows of blocks: a weight is its number of `weights`, times its block's of `steps`, times its row's of
 * `units`. A step has 8 bits, too, so that many cost little.
 */
function rounded({ shape: [rows, columns], numbers }, block) {
  if (columns % block !== 0) throw new Error(`rows of ${columns} weights cannot be parted into blocks of ${block}`);
  const blocks = columns / block;
  const given = new Float32Array(numbers.length / 4);
  for (let at = 0; at < given.length; at += 1) given[at] = numbers.readFloatLE(4 * at);
  const weights = Buffer.alloc(given.length);
  const steps = Buffer.alloc(rows * blocks);
  const units = Buffer.alloc(4 * rows);
  const wanted = new Float64Array(blocks);
  for (let row = 0; row < rows; row += 1) {
    let widest = 0;
    for (let part = 0; part < blocks; part += 1) {
      let largest = 0;
      const start = row * columns + part * block;
      for (let at = start; at < start + block; at += 1) largest = Math.max(largest, Math.abs(given[at]));
      wanted[part] = largest / LARGEST;
      widest = Math.max(widest, wanted[part]);
    }
    const unit = Math.fround(widest / WIDEST);
    units.writeFloatLE(unit, 4 * row);
    for (let part = 0; part < blocks; part += 1) {
      // Rounded up: the largest weight of the block has to fit.
      const step = unit > 0 ? Math.min(WIDEST, Math.max(1, Math.ceil(wanted[part] / unit))) : 0;
      steps[row * blocks + part] = step;
      const width = Math.fround(step * unit);
      const start = row * columns + part * block;
      for (let at = start; step > 0 && at < start + block; at += 1)
        weights.writeInt8(Math.round(given[at] / width), at);
    }
  }
  return [
    ['weights', { shape: [rows, blocks, block], type: TYPES.int8, numbers: weights }],
    ['steps', { shape: [rows, blocks, 1], type: TYPES.uint8, numbers: steps }],
    ['units', { shape: [rows, 1, 1], numbers: units }],
  ];
}

/** Nodes that make the 32-bit numbers `output` of what is stored under `name`, in the shape that is called `shape`. */
const expanded = (name, output, shape) => [
  node('Cast', [`${name}_weights`], `${output}_whole`, { to: TYPES.float }),
  node('Cast', [`${name}_steps`], `${output}_step`, { to: TYPES.float }),
  node('Mul', [`${output}_step`, `${name}_units`], `${output}_width`),
  node('Mul', [`${output}_whole`, `${output}_width`], `${output}_blocks`),
  node('Reshape', [`${output}_blocks`, shape], output),
];

/** A shape: so many sizes stay, and all others become one. */
const SHAPES = { matrix: [0, -1], table: [0, 0, -1] };
const shapeTensor = (kind) =>
  tensor(`${kind}_shape`, {
    shape: [SHAPES[kind].length],
    type: TYPES.int64,
    numbers: Buffer.from(BigInt64Array.from(SHAPES[kind], BigInt).buffer),
  });

/** The bytes of an ONNX file: the graph of `published`, with the weights of `safetensors` rounded to 8 bits. */
const eightBits = (published, safetensors) =>
  withWeights(published, safetensors, (weights, { nodes, others }) => {
    const matrices = weights.filter(({ isTable }) => !isTable);
    const tables = new Set(weights.filter(({ isTable }) => isTable).map(({ name }) => name));
    // Of a table the rows of a text are taken first, and only they become 32 bits; matrices do when a file is loaded.
    const taken = ({ whole, inputs: [table, rows], outputs: [output] }) => {
      if (!tables.has(table)) return [whole];
      const parts = ['weights', 'steps', 'units'];
      return [
        ...parts.map((part) => node('Gather', [`${table}_${part}`, rows], `${output}_${part}`)),
        ...expanded(output, output, 'table_shape'),
      ];
    };
    return [
      ...matrices.flatMap(({ name }) => expanded(name, name, 'matrix_shape')),
      ...nodes.flatMap(taken),
      ...others,
      ...Object.keys(SHAPES).map(shapeTensor),
      ...weights.flatMap(({ name, isTable, ...found }) =>
        rounded(found, isTable ? BLOCK.table : BLOCK.matrix).map(([part, content]) =>
          tensor(`${name}_${part}`, content),
        ),
      ),
    ];
  });

module.exports = { eightBits };
