'use strict';
// The embedding peers: the same model in Python's onnxruntime.

const path = require('node:path');
const readline = require('node:readline');
const { spawn } = require('node:child_process');
const { once } = require('node:events');
const { pythonPackages } = require('../python.cjs');
const { VOCABULARY, modelFile } = require('./model.cjs');

const SCRIPT = path.join(__dirname, '../peers/embedding.py');
const { env, install, python } = pythonPackages({
  title: 'onnxruntime for Python',
  folder: path.join(__dirname, '../peers/python'),
  imports: 'numpy, onnxruntime, tokenizers',
  // Without what they ask for beyond it: nothing of that is used here.
  what: [
    'onnxruntime==1.32.0',
    'tokenizers==0.23.3',
    'numpy==2.4.6',
    'flatbuffers==25.12.19',
    'packaging==25.0',
    'protobuf==6.33.0',
  ],
});

/** One way of embedding, `sorted` or `padded`, in a Python process that works only while it is asked; null without Python. */
function openPeer(way) {
  const command = python();
  if (!command) return null;
  const child = spawn(command, [SCRIPT, modelFile(), VOCABULARY, way], { env, stdio: 'pipe' });
  const ended = once(child, 'close');
  let said = '';
  child.stderr.setEncoding('utf8').on('data', (text) => (said = (said + text).slice(-4_096)));
  child.stdin.on('error', () => {}); // it ended early; its exit code and what it said tell why
  const lines = readline.createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const ask = async (what) => {
    child.stdin.write(`${JSON.stringify(what)}\n`);
    const { value, done } = await lines.next();
    if (done) throw new Error(`Python ended with ${(await ended)[0]}: ${said}`);
    return JSON.parse(value);
  };
  return {
    /** Embeds texts before any are counted; `sorted` chooses the size of its batches by them. */
    prepare: (texts) => ask({ prepare: texts }),
    /** These texts in a second of processor time. */
    rate: async (texts) => (await ask({ texts })).rate,
    async close() {
      child.stdin.end();
      await ended;
    },
  };
}

module.exports = { installPython: install, openPeer };
