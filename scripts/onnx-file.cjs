'use strict';
// The format of ONNX files, as far as models are made here: its messages taken apart, and put together. Built-ins only.

/** Fields of the format, by the numbers that `onnx.proto` gives them. */
const MODEL = { graph: 7 };
const GRAPH = { node: 1, tensor: 5, value: 13 };
const NODE = { input: 1, output: 2, operator: 4, attribute: 5 };
const ATTRIBUTE = { name: 1, integer: 3, type: 20 };
const TENSOR = { dimensions: 1, type: 2, name: 8, numbers: 9 };
const VALUE = { name: 1 };

/** Types of the numbers of a tensor. */
const TYPES = { float: 1, uint8: 2, int8: 3, int64: 7 };
/** The type of an attribute that is one integer. */
const INTEGER = 2;

const VARIABLE = 0;
const LENGTH = 2;

function varint(number) {
  const bytes = [];
  for (; number > 0x7f; number = Math.floor(number / 128)) bytes.push((number % 128) | 0x80);
  return Buffer.from([...bytes, number]);
}

const integer = (field, number) => Buffer.concat([varint(field * 8 + VARIABLE), varint(number)]);

const framed = (field, content) =>
  Buffer.concat([varint(field * 8 + LENGTH), varint(Buffer.byteLength(content)), Buffer.from(content)]);

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

/** The texts of a message in the fields of this number. */
const texts = (message, field) =>
  fields(message)
    .filter(({ number, content }) => number === field && content)
    .map(({ content }) => content.toString());

/** A tensor of a graph: numbers of one of `TYPES`, little endian. */
const tensor = (name, { shape, type = TYPES.float, numbers }) =>
  framed(
    GRAPH.tensor,
    Buffer.concat([
      ...shape.map((size) => integer(TENSOR.dimensions, size)),
      integer(TENSOR.type, type),
      framed(TENSOR.name, name),
      framed(TENSOR.numbers, numbers),
    ]),
  );

/** A node of a graph with one output; its attributes are integers. */
const node = (operator, inputs, output, attributes = {}) =>
  framed(
    GRAPH.node,
    Buffer.concat([
      ...inputs.map((name) => framed(NODE.input, name)),
      framed(NODE.output, output),
      framed(NODE.operator, operator),
      ...Object.entries(attributes).map(([name, value]) =>
        framed(
          NODE.attribute,
          Buffer.concat([
            framed(ATTRIBUTE.name, name),
            integer(ATTRIBUTE.integer, value),
            integer(ATTRIBUTE.type, INTEGER),
          ]),
        ),
      ),
    ]),
  );

module.exports = { GRAPH, MODEL, NODE, TENSOR, TYPES, VALUE, fields, framed, node, tensor, texts };
