'use strict';
// The folders that become packages: main, a platform's, the model's. What users get is made here, and nowhere else.

const crypto = require('node:crypto');
const fs = require('node:fs');
const path = require('node:path');
const { EIGHT_BITS, FILE, NAME } = require('../embedding-model.cjs');
const { Missing } = require('../requirements.cjs');
const { ROOT } = require('../steps.cjs');
const { bundleCommandLine } = require('./command-line.cjs');
const { cratesOf, textOfLicences } = require('./licences.cjs');
const { withoutLooseLinks } = require('./links.cjs');

const MODEL_FOLDER = 'model-all-minilm-l6-v2';
const LICENCES = 'THIRD-PARTY-LICENSES.txt';
/** What goes into the main package as it is; the command line is bundled. */
const MAIN_FILES = ['index.js', 'index.d.ts', 'loader', 'settings'];
const MAIN_DOCUMENTS = ['README.md', 'CHANGELOG.md', 'docs'];
const MAIN_EXAMPLES = ['examples/embed-in-worker.cjs'];

const readJson = (file) => JSON.parse(fs.readFileSync(path.join(ROOT, file), 'utf8'));
const writeJson = (folder, manifest) =>
  fs.writeFileSync(path.join(folder, 'package.json'), `${JSON.stringify(manifest, null, 2)}\n`);

/** The targets with a platform package: each has a folder in npm/. */
function targets() {
  return fs
    .readdirSync(path.join(ROOT, 'npm'))
    .filter((name) => name !== MODEL_FOLDER)
    .sort();
}

/** The triple by which Rust knows a target. */
function tripleOf(target) {
  const [platform, arch, abi] = target.split('-');
  const cpu = { x64: 'x86_64', arm64: 'aarch64' }[arch];
  const system = { linux: `unknown-linux-${abi}`, darwin: 'apple-darwin', win32: `pc-windows-${abi}` }[platform];
  return `${cpu}-${system}`;
}

const repositoryField = (url) => (url ? { repository: { type: 'git', url: `git+${url}.git` } } : {});

function emptied(folder) {
  fs.rmSync(folder, { recursive: true, force: true });
  fs.mkdirSync(folder, { recursive: true });
  fs.copyFileSync(path.join(ROOT, 'LICENSE'), path.join(folder, 'LICENSE'));
  return folder;
}

function filesBelow(folder) {
  return fs
    .readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(folder, path.join(entry.parentPath ?? entry.path, entry.name)).replaceAll('\\', '/'));
}

/** What package.json says to users: no script, no tool, the platform packages at this version, the model if wanted. */
function mainManifest(repository) {
  const { scripts, devDependencies, overrides, napi, files, ...manifest } = readJson('package.json');
  const platforms = targets().map((target) => [`${manifest.name}-${target}`, manifest.version]);
  const model = readJson(`npm/${MODEL_FOLDER}/package.json`).name;
  return {
    ...manifest,
    ...repositoryField(repository),
    files: [...files, 'CHANGELOG.md', 'docs', 'examples'],
    optionalDependencies: Object.fromEntries(platforms),
    // Never installed by itself; but package managers that hide what nobody asked for then let it be found.
    peerDependencies: { [model]: manifest.version },
    peerDependenciesMeta: { [model]: { optional: true } },
  };
}

/** Assembles the main package. */
async function stageMain(folder, { repository } = {}) {
  emptied(folder);
  const manifest = mainManifest(repository);
  for (const name of [...MAIN_FILES, ...MAIN_DOCUMENTS, ...MAIN_EXAMPLES]) {
    fs.cpSync(path.join(ROOT, name), path.join(folder, name), {
      recursive: true,
      filter: (source) =>
        !source.startsWith(path.join(ROOT, 'docs')) || !/\.[a-z]+$/.test(source) || source.endsWith('.md'),
    });
  }
  await bundleCommandLine(folder);
  writeJson(folder, manifest);
  const packed = filesBelow(folder);
  const isPacked = (file) => packed.some((each) => each === file || each.startsWith(`${file.replace(/\/$/, '')}/`));
  for (const file of packed.filter((each) => each.endsWith('.md'))) {
    const place = path.join(folder, file);
    const about = { isPacked, repository, version: manifest.version };
    fs.writeFileSync(place, withoutLooseLinks(fs.readFileSync(place, 'utf8'), file, about));
  }
}

/** Assembles the package of a target, whose binary lies in the repository's folder. */
function stagePlatform(folder, target, { repository } = {}) {
  const manifest = readJson(`npm/${target}/package.json`);
  const binary = path.join(ROOT, manifest.main);
  if (!fs.existsSync(binary)) {
    throw new Missing(`${manifest.main} is missing: build it for ${tripleOf(target)}, or put it into ${ROOT}.`);
  }
  emptied(folder);
  fs.copyFileSync(binary, path.join(folder, manifest.main));
  fs.copyFileSync(path.join(ROOT, 'npm', target, 'README.md'), path.join(folder, 'README.md'));
  const heading = `${manifest.main} holds code of these packages, and SQLite, which is in the public domain.`;
  fs.writeFileSync(path.join(folder, LICENCES), textOfLicences(heading, cratesOf(tripleOf(target))));
  writeJson(folder, { ...manifest, ...repositoryField(repository), files: [...manifest.files, LICENCES] });
}

/** Assembles the package of the model from models/. */
function stageModel(folder, { repository } = {}) {
  const file = path.join(ROOT, 'models', NAME, FILE);
  if (!fs.existsSync(file)) throw new Missing(`${path.join('models', NAME, FILE)} is missing: run "npm run model".`);
  const bytes = fs.readFileSync(file);
  const hash = crypto.createHash('sha256').update(bytes).digest('hex');
  if (hash !== EIGHT_BITS.sha256) {
    throw new Missing(
      `${path.join('models', NAME, FILE)} is another model than the one that is packed (SHA-256 ${hash}, not ${EIGHT_BITS.sha256}): run "npm run model".`,
    );
  }
  emptied(folder);
  fs.mkdirSync(path.join(folder, NAME));
  fs.writeFileSync(path.join(folder, NAME, FILE), bytes);
  fs.copyFileSync(path.join(ROOT, 'npm', MODEL_FOLDER, 'README.md'), path.join(folder, 'README.md'));
  writeJson(folder, { ...readJson(`npm/${MODEL_FOLDER}/package.json`), ...repositoryField(repository) });
}

module.exports = { MODEL_FOLDER, filesBelow, stageMain, stageModel, stagePlatform, targets };
