'use strict';
// The embedding peers: the same model in Python's onnxruntime.

const path = require('node:path');
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

/** Texts a second of processor time, of each kind, one way of embedding in a Python process of its own. */
async function rates(way, texts, rounds) {
  const child = spawn(python(), [SCRIPT, modelFile(), VOCABULARY, way], { env, stdio: 'pipe' });
  let [answer, said] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text) => (answer += text));
  child.stderr.setEncoding('utf8').on('data', (text) => (said = (said + text).slice(-4_096)));
  child.stdin.on('error', () => {}); // it ended early; its exit code and what it said tell why
  child.stdin.end(JSON.stringify({ texts, rounds }));
  const [code] = await once(child, 'close');
  if (code !== 0) throw new Error(`Python ended with ${code}: ${said}`);
  return JSON.parse(answer).rates;
}

/** A driver of the trial `embedding`. */
const pythonDriver = (title, way, provides) => ({
  title,
  provides,
  unavailable: () =>
    python() ? null : 'its Python packages are not installed; "npm run bench -- embedding" does that',
  embeddingRates: (directory, corpus, rounds) => rates(way, corpus(0), rounds),
});

module.exports = { installPython: install, pythonDriver };
