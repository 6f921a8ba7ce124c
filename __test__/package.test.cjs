'use strict';
// The package as users get it: how it loads, what it declares, what it contains.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { execFile } = require('node:child_process');
const { isBuiltin } = require('node:module');
const { test } = require('node:test');
const { promisify } = require('node:util');

const ROOT = path.join(__dirname, '..');
const NAMED_EXPORTS = ['openMemory', 'Memory', 'Store', 'Pages', 'Queue', 'Sessions', 'Consumer', 'Batch'];

const MODEL = 'model-all-minilm-l6-v2';

const read = (file) => fs.readFileSync(path.join(ROOT, file), 'utf8');
const readJson = (file) => JSON.parse(read(file));
const manifest = readJson('package.json');

/** Runs `code` as a module of a user who has the package installed, and returns what it prints. */
async function runAsModule(type, code) {
  const { stdout } = await promisify(execFile)(process.execPath, [`--input-type=${type}`, '--eval', code], {
    cwd: ROOT,
  });
  return stdout.trim();
}

function filesBelow(directory) {
  return fs
    .readdirSync(path.join(ROOT, directory), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => path.relative(ROOT, path.join(entry.parentPath ?? entry.path, entry.name)));
}

test('require gives the named exports', async () => {
  const printed = await runAsModule(
    'commonjs',
    `const native = require('claude-mem-native');
     console.log(${JSON.stringify(NAMED_EXPORTS)}.filter((name) => typeof native[name] !== 'function').join());`,
  );
  assert.equal(printed, '', 'exports that are missing');
});

test('import gives the same by name and as default', async () => {
  const printed = await runAsModule(
    'module',
    `import { ${NAMED_EXPORTS.join(', ')} } from 'claude-mem-native';
     import native from 'claude-mem-native';
     import { createRequire } from 'node:module';
     const required = createRequire(import.meta.url)('claude-mem-native');
     const imported = { ${NAMED_EXPORTS.join(', ')} };
     console.log(native === required, Object.keys(imported).every((name) => imported[name] === required[name]));`,
  );
  assert.equal(printed, 'true true');
});

test('one version everywhere', () => {
  const inCargo = /\[workspace\.package\]\s+version = "([^"]+)"/.exec(read('Cargo.toml'))[1];
  assert.equal(inCargo, manifest.version, 'Cargo.toml');
  const lock = readJson('package-lock.json');
  assert.equal(lock.version, manifest.version, 'package-lock.json');
  assert.equal(require('..').version, manifest.version, 'the binary');
  for (const directory of fs.readdirSync(path.join(ROOT, 'npm'))) {
    assert.equal(readJson(`npm/${directory}/package.json`).version, manifest.version, `npm/${directory}`);
  }
});

test('a platform package for each target, and no other', () => {
  const directoryOf = {
    'x86_64-unknown-linux-gnu': 'linux-x64-gnu',
    'aarch64-unknown-linux-gnu': 'linux-arm64-gnu',
    'x86_64-unknown-linux-musl': 'linux-x64-musl',
    'aarch64-unknown-linux-musl': 'linux-arm64-musl',
    'x86_64-apple-darwin': 'darwin-x64',
    'aarch64-apple-darwin': 'darwin-arm64',
    'x86_64-pc-windows-msvc': 'win32-x64-msvc',
    'aarch64-pc-windows-msvc': 'win32-arm64-msvc',
  };
  assert.deepEqual(manifest.napi.targets, Object.keys(directoryOf));
  assert.deepEqual(fs.readdirSync(path.join(ROOT, 'npm')).sort(), [...Object.values(directoryOf), MODEL].sort());
  for (const directory of Object.values(directoryOf)) {
    const platform = readJson(`npm/${directory}/package.json`);
    const binary = `${manifest.napi.binaryName}.${directory}.node`;
    assert.equal(platform.name, `${manifest.name}-${directory}`);
    assert.equal(platform.main, binary);
    assert.deepEqual(platform.files, [binary]);
    assert.equal(platform.license, manifest.license);
    assert.deepEqual(platform.engines, manifest.engines);
    assert.equal(platform.scripts, undefined);
  }
});

test('the package of the model is for every platform, and the loader knows it', () => {
  const model = readJson(`npm/${MODEL}/package.json`);
  assert.equal(model.name, `${manifest.name}-${MODEL}`);
  assert.deepEqual(require('../loader/model-packages.cjs').MODEL_PACKAGES, [model.name]);
  assert.equal(model.license, 'Apache-2.0');
  assert.deepEqual(model.files, ['all-MiniLM-L6-v2']);
  for (const field of ['os', 'cpu', 'libc', 'scripts', 'main']) assert.equal(model[field], undefined, field);
});

test('nothing runs at installation and nothing is left to chance', () => {
  for (const script of ['preinstall', 'install', 'postinstall', 'prepare', 'prepublish']) {
    assert.equal(manifest.scripts[script], undefined, script);
  }
  assert.equal(manifest.dependencies, undefined, 'what the command line needs is bundled at packing');
  for (const [name, version] of Object.entries(manifest.devDependencies)) {
    assert.match(version, /^\d+\.\d+\.\d+$/, `${name} is not pinned`);
  }
});

test('the module itself needs no package', () => {
  const own = ['loader', 'settings'].flatMap(filesBelow).filter((file) => file.endsWith('.cjs'));
  const required = ['index.js', ...own].flatMap((file) =>
    [...read(file).matchAll(/^(?!\s*(?:\/\/|\/?\*)).*require\('([^'.]+)'\)/gm)].map(([, name]) => name),
  );
  assert.ok(required.length > 5);
  for (const name of required) assert.ok(name.startsWith('node:') && isBuiltin(name), name);
});

test('index.js is what index.d.ts declares', () => {
  const { declaredExports, entryText } = require('../scripts/entry.cjs');
  const declared = declaredExports(read('index.d.ts'));
  assert.equal(read('index.js').replaceAll('\r\n', '\n'), entryText(declared));
  assert.deepEqual(Object.keys(require('..')).sort(), Object.values(declared).flat().sort());
  for (const name of NAMED_EXPORTS) assert.ok(Object.values(declared).flat().includes(name), name);
});

test('the command line is where the manifest says, and can be run', () => {
  const [place, ...others] = Object.values(manifest.bin);
  assert.deepEqual(others, []);
  assert.match(read(place), /^#!\/usr\/bin\/env node\n/);
  if (process.platform !== 'win32') assert.ok(fs.statSync(path.join(ROOT, place)).mode & 0o100);
});

test('the lock file names no registry and no package with an install script', () => {
  for (const [place, entry] of Object.entries(readJson('package-lock.json').packages)) {
    assert.equal(entry.resolved, undefined, place);
    assert.equal(entry.hasInstallScript, undefined, place);
  }
});

test('no emitter, no abort signal, no listener in the module', () => {
  const banned =
    /EventEmitter|node:events|require\('events'\)|AbortSignal|AbortController|addListener|addEventListener|\.on\(/;
  for (const file of ['index.js', ...['loader', 'src'].flatMap(filesBelow)]) {
    const line = read(file)
      .split('\n')
      .findIndex((text) => banned.test(text));
    assert.equal(line, -1, `${file}:${line + 1}`);
  }
});

test('the workflow that publishes builds each target, pins its actions and needs no secret', () => {
  const workflow = read('.github/workflows/release.yml');
  const built = [...workflow.matchAll(/\{ target: ([\w-]+),/g)].map(([, target]) => target);
  assert.deepEqual(
    built.sort(),
    fs
      .readdirSync(path.join(ROOT, 'npm'))
      .filter((name) => name !== MODEL)
      .sort(),
  );
  const actions = [...workflow.matchAll(/uses: (\S+)/g)].map(([, action]) => action);
  assert.ok(actions.length > 5);
  for (const action of actions) assert.match(action, /@(v\d+|[0-9a-f]{40})$/);
  assert.doesNotMatch(workflow, /secrets\.|registry/);
  assert.match(workflow, /id-token: write/);
  assert.match(workflow, /npm publish .* --provenance/);
});

test('the CI script can be run', { skip: process.platform === 'win32' && 'Windows has no executable bit' }, () => {
  assert.ok(fs.statSync(path.join(ROOT, '.ci', 'run')).mode & 0o100);
});
