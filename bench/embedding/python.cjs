'use strict';
// The peers in Python: packages in a folder of their own beside the others, installed by pip when a trial needs them.

const fs = require('node:fs');
const path = require('node:path');
const { spawn, spawnSync } = require('node:child_process');
const { once } = require('node:events');
const { VOCABULARY, modelFile } = require('./model.cjs');

const FOLDER = path.join(__dirname, '../peers/python');
const SCRIPT = path.join(__dirname, '../peers/embedding.py');
// Exact, and without what they ask for beyond it: nothing of that is used here.
const PACKAGES = [
  'onnxruntime==1.32.0',
  'tokenizers==0.23.3',
  'numpy==2.4.6',
  'flatbuffers==25.12.19',
  'packaging==25.0',
  'protobuf==6.33.0',
];
const COMMANDS = ['python3', 'python'];

const env = { ...process.env, PYTHONPATH: FOLDER, PYTHONDONTWRITEBYTECODE: '1' };
const runs = (command, args) => spawnSync(command, args, { env, stdio: 'ignore' }).status === 0;

/** The command of a Python that has the packages, or undefined. */
const python = () =>
  fs.existsSync(FOLDER)
    ? COMMANDS.find((command) => runs(command, ['-c', 'import numpy, onnxruntime, tokenizers']))
    : undefined;

/** Has pip install the packages where they are missing. Returns a sentence for what cannot take part. */
function installPython() {
  if (python()) return [];
  const command = COMMANDS.find((name) => runs(name, ['-m', 'pip', '--version']));
  if (!command) return ['the embedding peers: Python 3 with pip was not found'];
  process.stdout.write('bench: installing onnxruntime for Python …\n');
  // Made aside and renamed, so that an interrupted run leaves no half of it.
  const making = `${FOLDER}.new`;
  fs.rmSync(making, { recursive: true, force: true });
  const quiet = ['--quiet', '--disable-pip-version-check', '--no-input', '--retries', '1', '--timeout', '15'];
  const what = ['--only-binary', ':all:', '--no-deps', '--target', making, ...PACKAGES];
  const child = spawnSync(command, ['-m', 'pip', 'install', ...quiet, ...what], { encoding: 'utf8' });
  if (child.status !== 0) {
    fs.rmSync(making, { recursive: true, force: true });
    const said = child.stderr.trim().split('\n').slice(-4).join('\n  ');
    return [`the embedding peers: pip could not install them:\n  ${said}`];
  }
  fs.rmSync(FOLDER, { recursive: true, force: true });
  fs.renameSync(making, FOLDER);
  return python() ? [] : ['the embedding peers: they were installed but cannot be imported'];
}

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

module.exports = { installPython, pythonDriver };
