'use strict';
// Chroma in a Python process of its own, which measures its own calls.

const path = require('node:path');
const { spawn } = require('node:child_process');
const { once } = require('node:events');
const { createInterface } = require('node:readline');
const { pythonPackages } = require('../python.cjs');
const { DIMENSIONS, NEIGHBOURS, queries } = require('./data.cjs');
const { asWhere } = require('./metadata.cjs');

const SCRIPT = path.join(__dirname, '../peers/chroma.py');
const { env, install, python } = pythonPackages({
  title: 'chromadb for Python',
  folder: path.join(__dirname, '../peers/python-chroma'),
  imports: 'numpy, chromadb',
  what: ['--requirement', path.join(__dirname, '../peers/chroma.txt')],
});

const asText = (vectors) =>
  Buffer.concat(
    vectors.map(({ buffer, byteOffset, byteLength }) => Buffer.from(buffer, byteOffset, byteLength)),
  ).toString('base64');

/** Starts Python: `{request, close}`. */
function start(directory) {
  const child = spawn(python(), [SCRIPT, path.join(directory, 'chroma')], { env, stdio: 'pipe' });
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text) => (said = (said + text).slice(-4_096)));
  child.stdin.on('error', () => {}); // it ended; what it said tells why
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const closed = once(child, 'close');
  return {
    async request(what, content = {}) {
      child.stdin.write(`${JSON.stringify({ do: what, ...content })}\n`);
      const { value, done } = await lines.next();
      if (done) throw new Error(`Python ended with ${(await closed)[0]}: ${said}`);
      return JSON.parse(value);
    },
    async close() {
      child.stdin.end();
      await closed;
    },
  };
}

/** As `openVectors` of a driver; the times are Python's. */
async function openVectors(directory) {
  const { request, close } = start(directory);
  await request('open');
  return {
    async add(first, vectors, metadata = null) {
      return (await request('add', { first, vectors: asText(vectors), dimensions: DIMENSIONS, metadata })).ms;
    },
    built: async () => 0,
    close,
  };
}

/** As `openIndex` has it. */
async function openElsewhere(directory) {
  const { request, close } = start(directory);
  const resident = async () => (await request('resident')).bytes;
  const ask = (asked, { rounds = 1, filter } = {}) =>
    request('ask', {
      queries: asText(asked),
      dimensions: DIMENSIONS,
      k: NEIGHBOURS,
      rounds,
      where: asWhere(filter) ?? null,
    });
  const before = await resident();
  const { ms } = await request('open');
  const [first] = (await ask(queries().slice(0, 1))).times;
  return {
    load: ms + first / 1_000,
    ask,
    isExact: () => false,
    settled: async () => undefined,
    held: async () => undefined,
    bytes: async () => (before === null ? undefined : (await resident()) - before),
    close,
  };
}

module.exports = { installChroma: install, openElsewhere, openVectors, python };
