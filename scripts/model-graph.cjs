'use strict';
// The graph of the published model, parted from its weights, to be given others. Built-ins only.

const { GRAPH, MODEL, NODE, TENSOR, VALUE, fields, framed, texts } = require('./onnx-file.cjs');
const { tensorsOf, transposed } = require('./safetensors.cjs');

/** The weights of a layer, in the order in which the graph multiplies by them. */
const LAYER = [
  'attention.self.query',
  'attention.self.key',
  'attention.self.value',
  'attention.output.dense',
  'intermediate.dense',
  'output.dense',
];

/** What comes before the name of a table that rows are taken of, in the graph. */
const TABLE = 'inner.';

/**
 * The ONNX file of `published` with weights of another file: those of `safetensors`, as `given(weights, graph)` makes
 * them.
 *
 * `weights` are {name, isTable, shape, numbers}: what the graph calls them, and 32-bit numbers. `graph` has the `nodes`,
 * {whole, inputs, outputs}, and `others`, which are whole fields; none of those that weights of 8 bits are turned into
 * numbers by. Answered are the fields of the new graph.
 */
function withWeights(published, safetensors, given) {
  const source = tensorsOf(safetensors);
  const parts = fields(published);
  const graph = parts.find(({ number }) => number === MODEL.graph);
  if (!graph) throw new Error('the published file has no graph');
  const inner = fields(graph.content);
  // Each of these tensors, `NAME_q`, is cast to `NAME_f`, and that times `NAME_scale` is `NAME`.
  const names = inner
    .filter(({ number }) => number === GRAPH.tensor)
    .map(({ content }) => texts(content, TENSOR.name)[0])
    .filter((name) => name.endsWith('_q'))
    .map((name) => name.slice(0, -2));
  const gone = new Set(names.flatMap((name) => [name, `${name}_q`, `${name}_f`, `${name}_scale`]));
  const nodes = [];
  const others = [];
  for (const { number, whole, content } of inner) {
    const named = (field) => texts(content, field);
    const isGone = (field) => named(field).some((name) => gone.has(name));
    if (number === GRAPH.node) {
      if (!isGone(NODE.output)) nodes.push({ whole, inputs: named(NODE.input), outputs: named(NODE.output) });
    } else if (!(number === GRAPH.tensor && isGone(TENSOR.name)) && !(number === GRAPH.value && isGone(VALUE.name))) {
      others.push(whole);
    }
  }
  let multiplied = 0;
  const weights = names.map((name) => {
    const isTable = name.startsWith(TABLE);
    const layer = Math.floor(multiplied / LAYER.length);
    const wanted = isTable
      ? name.slice(TABLE.length)
      : `encoder.layer.${layer}.${LAYER[multiplied++ % LAYER.length]}.weight`;
    const found = source.get(wanted);
    if (!found) throw new Error(`the weights have no ${wanted}`);
    return { name, isTable, ...(isTable ? found : transposed(found)) };
  });
  const made = framed(MODEL.graph, Buffer.concat(given(weights, { nodes, others })));
  return Buffer.concat(parts.map((part) => (part === graph ? made : part.whole)));
}

module.exports = { withWeights };
