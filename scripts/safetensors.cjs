'use strict';
// Reads the weights of a safetensors file. Built-ins only.

/** The tensors of a safetensors file: name to {shape, numbers}, all of 32 bits. */
function tensorsOf(file) {
  const end = 8 + Number(file.readBigUInt64LE(0));
  const tensors = new Map();
  for (const [name, { dtype, shape, data_offsets: place }] of Object.entries(JSON.parse(file.toString('utf8', 8, end))))
    if (dtype === 'F32') tensors.set(name, { shape, numbers: file.subarray(end + place[0], end + place[1]) });
  return tensors;
}

/** A matrix with rows for columns. */
function transposed({ shape: [rows, columns], numbers }) {
  const turned = Buffer.alloc(numbers.length);
  for (let row = 0; row < rows; row += 1)
    for (let column = 0; column < columns; column += 1)
      numbers.copy(turned, 4 * (column * rows + row), 4 * (row * columns + column), 4 * (row * columns + column + 1));
  return { shape: [columns, rows], numbers: turned };
}

module.exports = { tensorsOf, transposed };
