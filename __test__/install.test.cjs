'use strict';
// The packages as users install them: from their tarballs, into an empty folder, without a network, an install script or
// a compiler; and then a worker as the plugin has it, in plugin/scripts with node_modules two levels up.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { execFile, spawnSync } = require('node:child_process');
const { after, before, describe, test } = require('node:test');
const { promisify } = require('node:util');

const { describePlatform } = require('claude-mem-native/loader');
const { name: NAME, version } = require('../package.json');
const { removeTree } = require('./remove-tree.cjs');

const ROOT = path.join(__dirname, '..');
const BUN_VERSION = '1.4.5';
const BUN_CACHE = path.join(ROOT, 'node_modules', '.cache', `bun-${BUN_VERSION}`);
/** Longer than anything here takes on a slow machine. */
const HANGS_AFTER_MS = 300_000;
const MODEL = `${NAME}-model-all-minilm-l6-v2`;
const PLATFORM = `${NAME}-${describePlatform().targets[0]}`;
/** What no child may see: npm's own settings, and this user's of claude-mem. */
const FOREIGN = /^(npm_|NPM_|CLAUDE_MEM_|BUN_|NODE_TEST_CONTEXT$|NODE_OPTIONS$|PATH$|Path$)/;

const run = promisify(execFile);
const temporary = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'claude-mem-native-install-')));
after(() => removeTree(temporary));

/** npm and npx as files, and the Node that runs them, which need not be the one under test; null where there is none. */
function foundNpm() {
  const inside = (prefix) => path.join(prefix, 'node_modules', 'npm', 'bin', 'npm-cli.js');
  const given = process.env.npm_node_execpath;
  const node = [given, process.versions.bun ? onPath('node') : process.execPath].find((file) => file && isNode(file));
  if (node === undefined) return null;
  const folder = path.dirname(fs.realpathSync(node));
  const beside = onPath('npm');
  const places = [
    process.env.npm_execpath,
    inside(path.join(folder, '..', 'lib')),
    inside(folder),
    beside && fs.realpathSync(beside),
  ];
  const cli = places.find((place) => place && path.basename(place) === 'npm-cli.js' && fs.existsSync(place));
  return cli ? { node, cli, npx: path.join(path.dirname(cli), 'npx-cli.js') } : null;
}

const isNode = (file) => /^node(\.exe)?$/.test(path.basename(file)) && fs.existsSync(file);

function onPath(command) {
  const suffix = process.platform === 'win32' ? '.exe' : '';
  const folders = (process.env.PATH ?? '').split(path.delimiter);
  return folders.map((folder) => path.join(folder, command + suffix)).find((file) => fs.existsSync(file)) ?? null;
}

/** A PATH on which there is Node and a shell, and no cargo. */
function barePath(node) {
  if (process.platform === 'win32') {
    const hasCargo = (folder) => fs.existsSync(path.join(folder, 'cargo.exe'));
    return process.env.PATH.split(path.delimiter)
      .filter((folder) => !hasCargo(folder))
      .join(path.delimiter);
  }
  const bin = path.join(temporary, 'bin');
  if (!fs.existsSync(bin)) {
    fs.mkdirSync(bin);
    fs.symlinkSync(process.versions.bun ? node : process.execPath, path.join(bin, 'node'));
    for (const command of ['sh', 'env']) fs.symlinkSync(onPath(command), path.join(bin, command));
  }
  return bin;
}

const npm = foundNpm();
let tarballs = [];

/** A user's machine: a home with nothing in it, an empty cache, and no registry that could be reached. */
function machine(name) {
  const home = path.join(temporary, name);
  const root = path.join(home, 'root');
  fs.mkdirSync(root, { recursive: true });
  fs.writeFileSync(path.join(root, 'package.json'), '{"name": "somebody", "private": true}');
  const env = {
    ...Object.fromEntries(Object.entries(process.env).filter(([key]) => !FOREIGN.test(key))),
    PATH: barePath(npm.node),
    HOME: home,
    USERPROFILE: home,
    npm_config_cache: path.join(home, 'cache'),
    npm_config_userconfig: path.join(home, 'npmrc'),
    npm_config_registry: 'http://127.0.0.1:1',
    npm_config_audit: 'false',
    npm_config_fund: 'false',
    npm_config_update_notifier: 'false',
  };
  const inRoot = (file, args, options) => run(file, args, { cwd: root, env, timeout: HANGS_AFTER_MS, ...options });
  return { home, root, env, inRoot, data: path.join(home, 'data') };
}

const tarballOf = (name) => tarballs.find((file) => path.basename(file) === `${name}-${version}.tgz`);

/** What a worker does that shows that all of it is there; it prints what came of it. */
const WORKER = `
const { openMemory, version } = require('claude-mem-native');
const { readSettings } = require('claude-mem-native/settings');
async function main() {
  const memory = await openMemory(readSettings().openOptions);
  const { sessionDbId } = await memory.store.beginPrompt('session-1', 'my-project', 'fix the login bug');
  await memory.queue.enqueue(sessionDbId, { type: 'observation', tool_name: 'Edit' });
  const batch = (await memory.queue.consume(sessionDbId, { keepAlive: true }).next()).value;
  const narrative = 'The expiry is multiplied by 1000 before it is compared.';
  await batch.commit({ observations: [{ type: 'bugfix', title: 'Login refused valid tokens', narrative }] });
  await memory.vectors.sync();
  const { mode, reason, results } = await memory.search.observations('users could not sign in', { mode: 'semantic' });
  await memory.dispose();
  console.log(JSON.stringify({ version, mode, reason, title: results[0]?.title ?? null }));
}
main().catch((error) => console.log(JSON.stringify({ code: error.code, message: error.message, remedy: error.remedy })));
`;

/** Runs a worker in plugin/scripts, with this runtime, on a data directory of its own. */
async function runWorker({ root, env, data, inRoot }, code = WORKER) {
  const scripts = path.join(root, 'plugin', 'scripts');
  fs.mkdirSync(scripts, { recursive: true });
  fs.writeFileSync(path.join(scripts, 'worker-service.cjs'), code);
  const { stdout } = await inRoot(process.execPath, [path.join(scripts, 'worker-service.cjs')], {
    cwd: path.dirname(data),
    env: { ...env, CLAUDE_MEM_DATA_DIR: data },
  });
  return JSON.parse(stdout);
}

/** What such a worker says where the model is installed, and where not. */
function assertWorks(said) {
  assert.equal(said.version, version, said.message);
  if (tarballOf(MODEL))
    assert.deepEqual([said.mode, said.reason, said.title], ['semantic', null, 'Login refused valid tokens']);
  else assert.notEqual(said.mode, 'semantic');
}

/** Bun's program, installed where it is not yet; throws where there is no registry or no Bun for this platform. */
async function installedBun() {
  const { platform, arch, libc } = describePlatform();
  const system = { linux: 'linux', darwin: 'darwin', win32: 'windows' }[platform];
  const suffix = libc === 'musl' ? '-musl' : '';
  const name = `@oven/bun-${system}-${arch === 'arm64' ? 'aarch64' : arch}${suffix}`;
  const program = path.join(BUN_CACHE, 'node_modules', name, 'bin', platform === 'win32' ? 'bun.exe' : 'bun');
  if (fs.existsSync(program)) return program;
  fs.mkdirSync(path.dirname(BUN_CACHE), { recursive: true });
  // Beside its place, and moved there whole: a run that is cut off leaves no half of it.
  const fresh = fs.mkdtempSync(`${BUN_CACHE}-`);
  try {
    const args = ['install', '--prefix', fresh, '--ignore-scripts', '--no-audit', '--no-fund', '--fetch-retries=1'];
    await run(npm.node, [npm.cli, ...args, `${name}@${BUN_VERSION}`], { cwd: fresh, timeout: HANGS_AFTER_MS });
    if (!fs.existsSync(program)) fs.renameSync(fresh, BUN_CACHE);
    return program;
  } finally {
    fs.rmSync(fresh, { recursive: true, force: true });
  }
}

describe('packages', { skip: npm === null && 'there is no npm here' }, () => {
  before(async () => {
    let folder = process.env.CLAUDE_MEM_NATIVE_TARBALLS;
    if (folder) {
      folder = path.resolve(ROOT, folder);
    } else {
      folder = path.join(temporary, 'packages');
      const env = { ...process.env, npm_execpath: npm.cli };
      const args = [path.join('scripts', 'pack.cjs'), '--no-build', `--out=${folder}`];
      await run(npm.node, args, { cwd: ROOT, env, timeout: HANGS_AFTER_MS });
    }
    tarballs = fs
      .readdirSync(folder)
      .filter((name) => name.endsWith('.tgz'))
      .map((name) => path.join(folder, name));
    assert.ok(tarballOf(NAME) && tarballOf(PLATFORM), tarballs.join());
    if (!tarballOf(MODEL)) console.log('no package of the model: there is no model here; what needs one is not tested');
  });

  const wanted = () => [NAME, PLATFORM, MODEL].map(tarballOf).filter(Boolean);

  describe('with npm', () => {
    let user;
    before(async () => {
      user = machine('npm');
      const found = spawnSync('cargo', ['--version'], { env: { ...user.env } });
      assert.equal(found.error?.code, 'ENOENT', 'there is no cargo');
      await user.inRoot(npm.node, [npm.cli, 'install', '--ignore-scripts', '--offline', ...wanted()]);
    });

    test('nothing else is installed', () => {
      const there = fs.readdirSync(path.join(user.root, 'node_modules')).filter((name) => !name.startsWith('.'));
      assert.deepEqual(
        there.sort(),
        wanted()
          .map((file) => path.basename(file, `-${version}.tgz`))
          .sort(),
      );
    });

    test('a worker in plugin/scripts opens, enqueues, and finds by meaning', async () => {
      assertWorks(await runWorker(user));
    });

    test('from a copy of the binary in the data directory, too', async () => {
      const env = { ...user.env, CLAUDE_MEM_NATIVE_LOAD_FROM: 'data-directory' };
      const copied = { ...user, env, data: path.join(user.home, 'copied') };
      assertWorks(await runWorker(copied));
      assert.equal(fs.readdirSync(path.join(copied.data, 'native', 'bin')).length, 1);
    });

    test('a worker that esbuild has bundled, with the package external', async () => {
      const { build } = require('esbuild-wasm');
      const source = path.join(user.home, 'worker.mts');
      const types = `import { openMemory, version, type Memory } from 'claude-mem-native';
        import { readSettings } from 'claude-mem-native/settings';
        export let last: Memory | null = null;`;
      fs.writeFileSync(source, WORKER.replace(/^const .*require.*$/gm, '').replace(/^/, types));
      const external = ['claude-mem-native', 'claude-mem-native/*'];
      const options = { bundle: true, platform: 'node', format: 'cjs', target: 'node20', write: false, minify: true };
      const bundled = await build({ entryPoints: [source], external, ...options });
      const { text } = bundled.outputFiles[0];
      assert.match(text, /require\("claude-mem-native"\)/);
      assertWorks(await runWorker({ ...user, data: path.join(user.home, 'bundled') }, text));
    });

    test('npx claude-mem-native doctor', async () => {
      await runWorker(user);
      const doctor = ['claude-mem-native', 'doctor', '--json', '--data-dir', user.data, '--url', 'http://127.0.0.1:1'];
      // It answers 1 since no worker does.
      const { stdout } = await user
        .inRoot(npm.node, [npm.npx, '--offline', '--no', ...doctor])
        .catch((error) => (error.code === 1 ? error : Promise.reject(error)));
      const { findings, version: said } = JSON.parse(stdout);
      assert.equal(said, version);
      const of = (check) => findings.find((finding) => finding.check === check);
      assert.equal(of('binary').severity, 'ok', stdout);
      assert.ok(of('binary').message.includes(path.join('node_modules', PLATFORM)), of('binary').message);
      if (tarballOf(MODEL)) assert.equal(of('model').severity, 'ok', stdout);
      assert.deepEqual(
        findings.filter(({ severity }) => severity === 'error'),
        [],
      );
    });

    for (const [moduleResolution, module] of [
      ['node10', 'commonjs'],
      ['node16', 'node16'],
      ['bundler', 'esnext'],
    ]) {
      test(`its types compile where modules are resolved as in ${moduleResolution}`, async () => {
        const types = [NAME, `${NAME}/settings`, `${NAME}/ecosystem`, `${NAME}/loader`];
        const names = ['openMemory', 'readSettings', 'ecosystem', 'findNative'];
        const imports = types.map((from, at) => `import { ${names[at]} } from '${from}';`);
        const use = `export const all: Promise<void> = openMemory(readSettings().openOptions).then((memory) => memory.dispose());
          export const more: string[] = [ecosystem({ script: 'x' }).apps[0]!.name, findNative().path ?? ''];`;
        fs.writeFileSync(path.join(user.root, 'types.ts'), [...imports, use].join('\n'));
        const compilerOptions = {
          ...{ module, moduleResolution, strict: true, noEmit: true, target: 'es2022', lib: ['es2022'] },
          ...{ types: ['node'], typeRoots: [path.join(ROOT, 'node_modules', '@types')], ignoreDeprecations: '6.0' },
        };
        const project = path.join(user.root, 'tsconfig.json');
        fs.writeFileSync(project, JSON.stringify({ compilerOptions, files: ['types.ts'] }));
        const tsc = require.resolve('typescript/bin/tsc');
        await user.inRoot(process.execPath, [tsc, '--project', project]).catch((error) => assert.fail(error.stdout));
      });
    }

    test('the texts have no loose ends, and the licences of others are there', () => {
      const main = path.join(user.root, 'node_modules', NAME);
      const texts = ['README.md', 'CHANGELOG.md', 'docs/integrate.md', 'docs/operations.md'];
      for (const file of texts) {
        const markdown = fs.readFileSync(path.join(main, file), 'utf8');
        for (const [, target] of markdown.replace(/^```[^]*?^```$/gm, '').matchAll(/\]\(([^)\s]+)\)/g)) {
          const place = path.join(main, path.dirname(file), target.split('#')[0]);
          assert.ok(/^([a-z]+:|#)/.test(target) || fs.existsSync(place), `${file}: ${target}`);
        }
      }
      const bundled = fs.readFileSync(path.join(main, 'cli', 'THIRD-PARTY-LICENSES.txt'), 'utf8');
      for (const name of ['commander', 'cli-progress', 'string-width'])
        assert.match(bundled, new RegExp(`^${name} \\d`, 'm'));
      const linked = path.join(user.root, 'node_modules', PLATFORM, 'THIRD-PARTY-LICENSES.txt');
      assert.match(fs.readFileSync(linked, 'utf8'), /^rusqlite \d/m);
      const manifest = JSON.parse(fs.readFileSync(path.join(main, 'package.json'), 'utf8'));
      for (const field of ['dependencies', 'devDependencies', 'scripts'])
        assert.equal(manifest[field], undefined, field);
      assert.equal(Object.keys(manifest.optionalDependencies).length, 8);
      for (const pinned of Object.values(manifest.optionalDependencies)) assert.equal(pinned, version);
    });
  });

  test('without its platform package it says which one to install', async () => {
    const user = machine('without');
    const args = ['install', '--ignore-scripts', '--offline', '--omit=optional', tarballOf(NAME)];
    await user.inRoot(npm.node, [npm.cli, ...args]);
    const said = await runWorker(user);
    assert.equal(said.code, 'ERR_NATIVE_BINDING', JSON.stringify(said));
    assert.ok(said.remedy.includes(`npm install ${PLATFORM}@${version}`), said.remedy);
    const main = path.join('node_modules', NAME, 'cli', 'main.cjs');
    const { stdout } = await user.inRoot(process.execPath, [main, '--version']);
    assert.equal(stdout.trim(), version);
  });

  test('with Bun', async (t) => {
    let bun;
    try {
      bun = await installedBun();
    } catch (error) {
      t.skip(`Bun ${BUN_VERSION} cannot be installed here: ${error.message.split('\n').slice(0, 3).join(' ')}`);
      return;
    }
    const user = machine('bun');
    const env = {
      ...user.env,
      BUN_INSTALL_CACHE_DIR: path.join(user.home, 'bun-cache'),
      BUN_CONFIG_REGISTRY: 'http://127.0.0.1:1',
    };
    await user.inRoot(bun, ['add', '--ignore-scripts', ...wanted()], { env });
    assertWorks(await runWorker(user));
  });
});
