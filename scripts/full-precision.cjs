'use strict';
// Makes the model with 32-bit weights: the graph of the published file, whose weights are stored in 8 bits, with the
// weights that these were rounded from. Built-ins only.

/** Fields of the format, by the numbers that `onnx.proto` gives them. */
const MODEL_GRAPH = 7;
const GRAPH = { node: 1, tensor: 5, value: 13 };
const NODE = { input: 1, output: 2 };
const TENSOR = { dimensions: 1, type: 2, name: 8, numbers: 9 };
const VALUE_NAME = 1;
const FLOAT = 1;

const VARIABLE = 0;
const LENGTH = 2;

/** The weights of a layer, in the order in which the graph multiplies by them. */
const LAYER = [
  'attention.self.query',
  'attention.self.key',
  'attention.self.value',
  'attention.output.dense',
  'intermediate.dense',
  'output.dense',
];

function varint(number) {
  const bytes = [];
  for (; number > 0x7f; number = Math.floor(number / 128)) bytes.push((number % 128) | 0x80);
  return Buffer.from([...bytes, number]);
}

const framed = (field, content) =>
  Buffer.concat([varint(field * 8 + LENGTH), varint(content.length), Buffer.from(content)]);

/** The fields of a message that have a length: {number, whole, content}; others have no content. */
function fields(message) {
  const found = [];
  let at = 0;
  const number = () => {
    let value = 0;
    for (let factor = 1; ; factor *= 128) {
      if (at >= message.length) throw new Error('the graph is damaged');
      const byte = message[at++];
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
    }
  };
  while (at < message.length) {
    const start = at;
    const key = number();
    let content = null;
    if (key % 8 === VARIABLE) number();
    else if (key % 8 === LENGTH) {
      const length = number();
      content = message.subarray(at, at + length);
      at += length;
    } else at += key % 8 === 1 ? 8 : 4;
    if (at > message.length) throw new Error('the graph is damaged');
    found.push({ number: Math.floor(key / 8), whole: message.subarray(start, at), content });
  }
  return found;
}

const texts = (message, field) =>
  fields(message)
    .filter(({ number, content }) => number === field && content)
    .map(({ content }) => content.toString());

/** The tensors of a safetensors file: name to {shape, numbers}, all of 32 bits. */
function tensorsOf(weights) {
  const end = 8 + Number(weights.readBigUInt64LE(0));
  const tensors = new Map();
  for (const [name, { dtype, shape, data_offsets: place }] of Object.entries(
    JSON.parse(weights.toString('utf8', 8, end)),
  ))
    if (dtype === 'F32') tensors.set(name, { shape, numbers: weights.subarray(end + place[0], end + place[1]) });
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

function tensor(name, { shape, numbers }) {
  return framed(
    GRAPH.tensor,
    Buffer.concat([
      ...shape.map((size) => Buffer.concat([varint(TENSOR.dimensions * 8), varint(size)])),
      varint(TENSOR.type * 8),
      varint(FLOAT),
      framed(TENSOR.name, name),
      framed(TENSOR.numbers, numbers),
    ]),
  );
}

/** The bytes of an ONNX file: `published`, the one with 8 bits, with the weights of `safetensors`. */
function fullPrecision(published, safetensors) {
  const weights = tensorsOf(safetensors);
  const parts = fields(published);
  const graph = parts.find(({ number }) => number === MODEL_GRAPH);
  if (!graph) throw new Error('the published file has no graph');
  const inner = fields(graph.content);
  // Each of these tensors, `NAME_q`, is cast to `NAME_f`, and that times `NAME_scale` is `NAME`.
  const names = inner
    .filter(({ number }) => number === GRAPH.tensor)
    .map(({ content }) => texts(content, TENSOR.name)[0])
    .filter((name) => name.endsWith('_q'))
    .map((name) => name.slice(0, -2));
  const gone = new Set(names.flatMap((name) => [`${name}_q`, `${name}_f`, `${name}_scale`]));
  const whole = new Set(names);
  const stays = ({ number, content }) => {
    if (number === GRAPH.node) return !texts(content, NODE.output).some((name) => gone.has(name) || whole.has(name));
    if (number === GRAPH.tensor) return !gone.has(texts(content, TENSOR.name)[0]);
    if (number === GRAPH.value) return !texts(content, VALUE_NAME).some((name) => gone.has(name) || whole.has(name));
    return true;
  };
  let multiplied = 0;
  const added = names.map((name) => {
    const table = name.startsWith('inner.') ? name.slice('inner.'.length) : null;
    const layer = Math.floor(multiplied / LAYER.length);
    const source = table ?? `encoder.layer.${layer}.${LAYER[multiplied++ % LAYER.length]}.weight`;
    const found = weights.get(source);
    if (!found) throw new Error(`the weights have no ${source}`);
    return tensor(name, table ? found : transposed(found));
  });
  const made = framed(MODEL_GRAPH, Buffer.concat([...inner.filter(stays).map(({ whole }) => whole), ...added]));
  return Buffer.concat(parts.map((part) => (part === graph ? made : part.whole)));
}

module.exports = { fullPrecision };
