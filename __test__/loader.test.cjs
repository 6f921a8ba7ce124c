'use strict';
// How the binary is found, and what happens where there is none: copies of this package in folders of their own, each
// loaded by a process of its own.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { execFile } = require('node:child_process');
const { describe, test } = require('node:test');
const { promisify } = require('node:util');

const { describePlatform, findNative, loadNative, NativeBindingError } = require('claude-mem-native/loader');
const { libcOf, targetsOf } = require('../loader/platform.cjs');
const { version } = require('../package.json');
const { removeTree } = require('./remove-tree.cjs');

const ROOT = path.join(__dirname, '..');
const [TARGET] = describePlatform().targets;
const BINARY = `claude-mem-native.${TARGET}.node`;
const PLATFORM_PACKAGE = `claude-mem-native-${TARGET}`;
/** Longer than any of these processes needs on a slow machine. */
const HANGS_AFTER_MS = 120_000;

function folder(t) {
  // Without links in its path, since modules are named by their real one.
  const made = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'claude-mem-native-loader-')));
  t.after(() => removeTree(made));
  return made;
}

/** A copy of the package without a binary in `<home>/node_modules`. */
function installed(t, { places = ['index.js', 'package.json', 'loader', 'settings'] } = {}) {
  const home = folder(t);
  const root = path.join(home, 'node_modules', 'claude-mem-native');
  for (const name of places) fs.cpSync(path.join(ROOT, name), path.join(root, name), { recursive: true });
  return { home, root, data: path.join(home, 'data') };
}

function putBinary(place) {
  fs.mkdirSync(path.dirname(place), { recursive: true });
  fs.copyFileSync(path.join(ROOT, BINARY), place);
  return place;
}

/** What `code` prints last, as JSON, in a process of its own in the home of a copy. */
async function run({ home, data }, code, { type = 'commonjs', env = {} } = {}) {
  const file = path.join(home, `program-${Math.random().toString(36).slice(2)}.${type === 'module' ? 'mjs' : 'cjs'}`);
  fs.writeFileSync(file, code);
  const { CLAUDE_MEM_NATIVE_BINARY: _, CLAUDE_MEM_NATIVE_LOAD_FROM: __, ...inherited } = process.env;
  const { stdout } = await promisify(execFile)(process.execPath, [file], {
    cwd: home,
    timeout: HANGS_AFTER_MS,
    env: { ...inherited, HOME: home, USERPROFILE: home, CLAUDE_MEM_DATA_DIR: data, ...env },
  });
  return JSON.parse(stdout.trim().split('\n').at(-1));
}

/** Where the copy has found its binary, and whether it works. */
const FIND = `
  const { findNative } = require('claude-mem-native/loader');
  const { native, path, source, copyOf, tried, error } = findNative();
  const same = native !== null && require('claude-mem-native').openMemory === native.openMemory;
  console.log(JSON.stringify({ path, source, copyOf, tried, same, message: error?.message, remedy: error?.remedy }));`;

/** What the copy's openMemory says. */
const OPEN = `
  const { openMemory } = require('claude-mem-native');
  openMemory().then(async (memory) => { await memory.dispose(); return { opened: true }; }, (error) => ({
    code: error.code, message: error.message, tried: error.tried, remedy: error.remedy, platform: error.platform,
    isError: error instanceof Error, name: error.name,
  })).then((result) => console.log(JSON.stringify(result)));`;

describe('without a binary', () => {
  test('require succeeds, and the first openMemory rejects with one error that says everything', async (t) => {
    const copy = installed(t);
    const error = await run(copy, OPEN);
    assert.equal(error.code, 'ERR_NATIVE_BINDING');
    assert.equal(error.isError, true);
    const { platform, arch, libc, runtime, runtimeVersion, modules, napi } = describePlatform();
    for (const part of [
      platform,
      arch,
      libc ?? arch,
      runtime,
      runtimeVersion,
      `modules ${modules}`,
      `Node-API ${napi}`,
    ])
      assert.ok(error.message.includes(part), `${part} in ${error.message}`);
    assert.deepEqual(error.platform, describePlatform());
    assert.deepEqual(
      error.tried.map(({ source }) => source),
      ['beside', 'package', 'sibling'],
    );
    for (const { path: place, reason } of error.tried) assert.ok(error.message.includes(`  ${place}: ${reason}\n`));
    assert.equal(error.tried[0].path, path.join(copy.root, BINARY));
    assert.equal(error.tried[2].path, path.join(copy.root, '..', PLATFORM_PACKAGE, BINARY));
    const command = `npm install ${PLATFORM_PACKAGE}@${version}`;
    assert.ok(error.message.split('\n')[0].includes(command), error.message);
    assert.ok(error.remedy.includes(command) && error.remedy.includes('--omit=optional'), error.remedy);
    assert.ok(!fs.existsSync(copy.data), 'nothing was made');
  });

  test('import by name succeeds; classes exist and throw; it is one error', async (t) => {
    const names = Object.keys(require('..'));
    assert.ok(names.includes('Memory') && names.includes('openMemory') && names.length > 10);
    const code = `
      import native, { ${names.join(', ')} } from 'claude-mem-native';
      import { NativeBindingError } from 'claude-mem-native/loader';
      const exported = { ${names.join(', ')} };
      const { openMemory: _, version: __, ...rest } = exported;
      const error = await openMemory().catch((reason) => reason);
      const again = await openMemory({ dataDir: 'x' }).catch((reason) => reason);
      const thrown = Object.entries(rest).map(([name, value]) => {
        try { /^[A-Z]/.test(name) ? new value() : value(); } catch (reason) { return reason; }
      });
      console.log(JSON.stringify({
        same: Object.keys(exported).every((name) => native[name] === exported[name]),
        one: [again, ...thrown].every((reason) => reason === error),
        real: error instanceof NativeBindingError && error instanceof Error && error.stack.includes(error.message),
        named: native.Memory.name, notOne: {} instanceof native.Memory, version: native.version,
      }));`;
    assert.deepEqual(await run(installed(t), code, { type: 'module' }), {
      same: true,
      one: true,
      real: true,
      named: 'Memory',
      notOne: false,
      version,
    });
  });

  test('settings, ecosystem and loader work', async (t) => {
    const code = `
      const { readSettings } = require('claude-mem-native/settings');
      const { workerApp } = require('claude-mem-native/ecosystem');
      const { describePlatform, loadNative } = require('claude-mem-native/loader');
      let code; try { loadNative(); } catch (error) { code = error.code; }
      console.log(JSON.stringify([readSettings().values.CLAUDE_MEM_WORKER_PORT, workerApp({ script: 'x.cjs' }).max_restarts,
        describePlatform().targets[0], code]));`;
    assert.deepEqual(await run(installed(t), code), [37777, 5, TARGET, 'ERR_NATIVE_BINDING']);
  });

  test('in a clone the command is that which builds it', async (t) => {
    const copy = installed(t);
    fs.writeFileSync(path.join(copy.root, 'Cargo.toml'), '');
    const { remedy, message } = await run(copy, OPEN);
    assert.match(remedy, /run "npm run build"/);
    assert.match(message.split('\n')[0], /run "npm run build"/);
  });

  test('a platform for which nothing is built is told so', async (t) => {
    const code = `
      for (const [name, value] of [['platform', 'sunos'], ['arch', 'ia32']]) Object.defineProperty(process, name, { value });
      ${OPEN}`;
    const { message, remedy, tried } = await run(installed(t), code);
    assert.match(message, /on sunos ia32 with/);
    assert.match(remedy, /no prebuilt binary for this platform/);
    assert.deepEqual(tried, []);
  });
});

describe('a binary that is unfit', () => {
  /** What is tried where this file lies beside the package. */
  async function beside(t, write) {
    const copy = installed(t);
    write(path.join(copy.root, BINARY), copy);
    const { tried, message, remedy } = await run(copy, OPEN);
    return { reason: tried?.find(({ source }) => source === 'beside').reason, message, remedy, copy };
  }

  test('damaged', async (t) => {
    const { reason, remedy, copy } = await beside(t, (file) => fs.writeFileSync(file, 'not a library'));
    assert.match(reason, /^cannot be loaded: ./);
    assert.ok(remedy.startsWith(`remove ${copy.root}, and run "npm install`), remedy);
  });

  // The dynamic linker of Linux would end the process.
  for (const [what, length] of [
    ['within its headers', 1_000],
    ['in the middle', 5_000_000],
    ['by one byte', -1],
  ]) {
    test(`cut off ${what}`, async (t) => {
      const { reason } = await beside(t, (file) =>
        fs.writeFileSync(file, fs.readFileSync(path.join(ROOT, BINARY)).subarray(0, length)),
      );
      assert.match(
        reason,
        process.platform === 'linux' ? /^is damaged: \d+ bytes are missing/ : /^cannot be loaded: ./,
      );
    });
  }

  test('for another processor', { skip: process.platform !== 'linux' && 'writes an ELF file' }, async (t) => {
    const { reason } = await beside(t, (file) => {
      const bytes = fs.readFileSync(path.join(ROOT, BINARY));
      bytes.writeUInt16LE(243, 18); // e_machine: RISC-V
      fs.writeFileSync(file, bytes);
    });
    assert.match(reason, /^cannot be loaded: ./);
  });

  test('of another version: both are named', async (t) => {
    const { reason, message } = await beside(t, (file, { root }) => {
      putBinary(file);
      const manifest = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8'));
      fs.writeFileSync(path.join(root, 'package.json'), JSON.stringify({ ...manifest, version: '9.8.7' }));
    });
    assert.equal(reason, `is of version ${version}, and this package of 9.8.7`);
    assert.ok(message.includes(reason));
  });

  test('is passed over for one that fits', async (t) => {
    const copy = installed(t);
    fs.writeFileSync(path.join(copy.root, BINARY), 'not a library');
    const good = putBinary(path.join(copy.home, 'node_modules', PLATFORM_PACKAGE, BINARY));
    const found = await run(copy, FIND);
    assert.equal(found.path, good);
    assert.deepEqual(
      found.tried.map(({ source }) => source),
      ['beside'],
    );
    assert.deepEqual(await run(copy, OPEN), { opened: true });
  });
});

describe('where it is found', () => {
  test('beside the package', async (t) => {
    const copy = installed(t);
    const place = putBinary(path.join(copy.root, BINARY));
    const found = await run(copy, FIND);
    assert.deepEqual([found.source, found.path, found.same, found.tried], ['beside', place, true, []]);
    assert.deepEqual(await run(copy, OPEN), { opened: true });
  });

  test('in the platform package, as Node resolves it from the package', async (t) => {
    const copy = installed(t);
    const place = putBinary(path.join(copy.root, 'node_modules', PLATFORM_PACKAGE, BINARY));
    const found = await run(copy, FIND);
    assert.deepEqual([found.source, found.path, found.same], ['package', place, true]);
  });

  test('in the folder beside it, where the package was copied out of node_modules', async (t) => {
    const copy = installed(t);
    const elsewhere = path.join(copy.home, 'elsewhere');
    fs.mkdirSync(elsewhere);
    fs.renameSync(copy.root, path.join(elsewhere, 'claude-mem-native'));
    const place = putBinary(path.join(elsewhere, PLATFORM_PACKAGE, BINARY));
    const found = await run(
      copy,
      FIND.replaceAll(/require\('claude-mem-native/g, `require('./elsewhere/claude-mem-native`).replace(
        `native/loader')`,
        `native/loader/index.cjs')`,
      ),
    );
    assert.deepEqual([found.source, found.path, found.same], ['sibling', place, true]);
  });

  test('where CLAUDE_MEM_NATIVE_BINARY says, and then nowhere else', async (t) => {
    const copy = installed(t);
    putBinary(path.join(copy.root, BINARY));
    const named = putBinary(path.join(copy.home, 'mine.node'));
    const env = { CLAUDE_MEM_NATIVE_BINARY: named };
    const found = await run(copy, FIND, { env });
    assert.deepEqual([found.source, found.path, found.same], ['explicit', named, true]);

    fs.rmSync(named);
    const error = await run(copy, OPEN, { env });
    assert.deepEqual(error.tried, [{ path: named, source: 'explicit', reason: 'is not there' }]);
    assert.match(error.remedy, /CLAUDE_MEM_NATIVE_BINARY/);
    fs.writeFileSync(path.join(copy.home, 'mine.js'), '');
    const script = await run(copy, OPEN, { env: { CLAUDE_MEM_NATIVE_BINARY: path.join(copy.home, 'mine.js') } });
    assert.match(script.tried[0].reason, /must end in \.node/);
  });

  test('CLAUDE_MEM_NATIVE_BINARY in settings.json does not count: the file must not have code loaded', async (t) => {
    const copy = installed(t);
    const place = putBinary(path.join(copy.root, BINARY));
    fs.mkdirSync(copy.data);
    const settings = { env: { CLAUDE_MEM_NATIVE_BINARY: path.join(copy.home, 'evil.node') } };
    fs.writeFileSync(path.join(copy.data, 'settings.json'), JSON.stringify(settings));
    assert.equal((await run(copy, FIND)).path, place);
    const rejected = await run(
      copy,
      `console.log(JSON.stringify(require('claude-mem-native/settings').readSettings().rejected))`,
    );
    assert.equal(rejected.length, 1);
    assert.match(rejected[0].message, /counts in the environment only/);
  });

  test('in a thread, too', async (t) => {
    const copy = installed(t);
    putBinary(path.join(copy.root, BINARY));
    const code = `
      const { Worker, isMainThread, parentPort } = require('node:worker_threads');
      const { openMemory } = require('claude-mem-native');
      if (isMainThread) new Worker(__filename).once('message', (said) => console.log(JSON.stringify(said)));
      else openMemory().then(async (memory) => { await memory.dispose(); parentPort.postMessage({ opened: true }); });`;
    assert.deepEqual(await run(copy, code), { opened: true });
  });
});

describe('a copy in the data directory', () => {
  const FROM_DATA = { CLAUDE_MEM_NATIVE_LOAD_FROM: 'data-directory' };
  const copiesIn = (data) => {
    const bin = path.join(data, 'native', 'bin');
    return fs.readdirSync(bin).map((name) => path.join(bin, name));
  };

  test('is made, loaded and used again; the original can be replaced meanwhile', async (t) => {
    const copy = installed(t);
    const original = putBinary(path.join(copy.root, BINARY));
    const found = await run(copy, FIND, { env: FROM_DATA });
    const [made, ...others] = copiesIn(copy.data);
    assert.deepEqual(others, []);
    assert.ok(path.basename(made).startsWith(`${version}-`));
    assert.deepEqual(
      [found.source, found.path, found.copyOf, found.same],
      ['copy', path.join(made, BINARY), original, true],
    );
    assert.deepEqual(fs.readdirSync(made), [BINARY]);
    const first = fs.statSync(found.path);
    if (process.platform !== 'win32') assert.equal(first.mode & 0o077, 0);

    assert.deepEqual(await run(copy, OPEN, { env: FROM_DATA }), { opened: true });
    assert.equal(fs.statSync(found.path).mtimeMs, first.mtimeMs, 'it was not written again');
  });

  test('settings.json asks for it as well', async (t) => {
    const copy = installed(t);
    putBinary(path.join(copy.root, BINARY));
    fs.mkdirSync(copy.data);
    fs.writeFileSync(path.join(copy.data, 'settings.json'), JSON.stringify({ env: FROM_DATA }));
    assert.equal((await run(copy, FIND)).source, 'copy');
  });

  test('damaged, it is made again', async (t) => {
    const copy = installed(t);
    putBinary(path.join(copy.root, BINARY));
    const { path: place } = await run(copy, FIND, { env: FROM_DATA });
    for (const damage of [
      () => fs.truncateSync(place, 5_000),
      () => {
        const bytes = fs.readFileSync(place);
        bytes[bytes.length >> 1] ^= 1; // the length stays
        fs.writeFileSync(place, bytes);
      },
    ]) {
      damage();
      const found = await run(copy, FIND, { env: FROM_DATA });
      assert.deepEqual([found.source, found.path, found.same, found.tried], ['copy', place, true, []]);
      assert.ok(fs.readFileSync(place).equals(fs.readFileSync(path.join(ROOT, BINARY))));
    }
  });

  test('that cannot be made is said, and the original is loaded', async (t) => {
    const copy = installed(t);
    const original = putBinary(path.join(copy.root, BINARY));
    fs.writeFileSync(copy.data, 'a file, where a directory should be');
    const found = await run(copy, FIND, { env: FROM_DATA });
    assert.deepEqual([found.source, found.path, found.same], ['beside', original, true]);
    assert.equal(found.tried.length, 1);
    assert.deepEqual([found.tried[0].source, found.tried[0].path], ['copy', copy.data]);
    assert.match(found.tried[0].reason, /cannot take a copy/);
  });

  const asRoot = process.platform === 'win32' || process.getuid?.() === 0;
  test('in a directory that is read-only likewise', { skip: asRoot && 'root may write anywhere' }, async (t) => {
    const copy = installed(t);
    putBinary(path.join(copy.root, BINARY));
    fs.mkdirSync(copy.data, { mode: 0o500 });
    const found = await run(copy, FIND, { env: FROM_DATA });
    assert.equal(found.source, 'beside');
    assert.match(found.tried[0].reason, /EACCES/);
  });

  test('copies of other binaries go once nobody has used them for a day', async (t) => {
    const copy = installed(t);
    putBinary(path.join(copy.root, BINARY));
    const bin = path.join(copy.data, 'native', 'bin');
    const long = new Date(Date.now() - 48 * 60 * 60 * 1000);
    for (const name of ['0.0.1-old', '0.0.2-used']) {
      fs.mkdirSync(path.join(bin, name), { recursive: true });
      fs.writeFileSync(path.join(bin, name, BINARY), 'old');
    }
    fs.utimesSync(path.join(bin, '0.0.1-old'), long, long);
    const found = await run(copy, FIND, { env: FROM_DATA });
    assert.equal(found.source, 'copy');
    assert.deepEqual(fs.readdirSync(bin).sort(), ['0.0.2-used', path.basename(path.dirname(found.path))].sort());
  });

  test('several processes that make it at once all load it', async (t) => {
    const copy = installed(t);
    putBinary(path.join(copy.root, BINARY));
    const all = await Promise.all(Array.from({ length: 6 }, () => run(copy, FIND, { env: FROM_DATA })));
    for (const found of all) assert.deepEqual([found.source, found.path, found.same], ['copy', all[0].path, true]);
    assert.deepEqual(fs.readdirSync(path.dirname(all[0].path)), [BINARY], 'no part is left');
  });
});

describe('claude-mem-native/loader', () => {
  test('findNative tells what require has loaded', () => {
    const { native, path: place, copyOf, error } = findNative();
    assert.equal(native.openMemory, require('..').openMemory);
    assert.deepEqual(Object.keys(native).sort(), Object.keys(require('..')).sort());
    assert.ok(place.endsWith('.node') && fs.existsSync(place));
    assert.deepEqual([copyOf, error], [null, null]);
    assert.equal(loadNative().openMemory, native.openMemory);
  });

  test('an option names the binary, another the data directory of a copy', (t) => {
    const binary = path.join(ROOT, BINARY);
    assert.equal(findNative({ binary }).source, 'explicit');
    const copyTo = folder(t);
    if (process.platform !== 'win32') {
      // Nothing here unloads it, so that Windows could not remove the folder.
      const found = findNative({ copyTo });
      assert.deepEqual([found.source, found.copyOf], ['copy', binary]);
      assert.ok(found.path.startsWith(copyTo));
    }
    const missing = path.join(copyTo, 'none.node');
    assert.throws(
      () => loadNative({ binary: missing }),
      (error) => {
        assert.ok(error instanceof NativeBindingError && error instanceof Error);
        assert.deepEqual(error.tried, [{ path: missing, source: 'explicit', reason: 'is not there' }]);
        return true;
      },
    );
  });

  test('refuses what it does not know', () => {
    assert.throws(() => findNative({ file: 'x' }), /unknown option 'file'; known are binary, copyTo/);
    assert.throws(() => findNative({ binary: 5 }), /option 'binary' must be a path/);
  });

  test('a target for each platform', () => {
    const targets = (platform, arch, libc = null) => targetsOf({ platform, arch, libc });
    assert.deepEqual(targets('linux', 'x64', 'glibc'), ['linux-x64-gnu']);
    assert.deepEqual(targets('linux', 'arm64', 'musl'), ['linux-arm64-musl']);
    assert.deepEqual(targets('linux', 'x64'), ['linux-x64-gnu', 'linux-x64-musl'], 'unknown: both are tried');
    assert.deepEqual(targets('darwin', 'arm64'), ['darwin-arm64']);
    assert.deepEqual(targets('win32', 'x64'), ['win32-x64-msvc']);
    assert.deepEqual(targets('linux', 'riscv64', 'glibc'), []);
    assert.deepEqual(targets('freebsd', 'x64'), []);
  });

  test('the C library is told by the dynamic linker of the program', (t) => {
    /** A 64-bit ELF file whose only program header names this linker. */
    const program = (linker) => {
      const file = path.join(folder(t), 'program');
      const bytes = Buffer.alloc(64 + 56 + linker.length + 1);
      bytes.write('\x7fELF\x02\x01', 0, 'latin1');
      bytes.writeBigUInt64LE(64n, 32);
      bytes.writeUInt16LE(56, 54);
      bytes.writeUInt16LE(1, 56);
      bytes.writeUInt32LE(3, 64);
      bytes.writeBigUInt64LE(120n, 64 + 8);
      bytes.writeBigUInt64LE(BigInt(linker.length + 1), 64 + 32);
      bytes.write(linker, 120, 'latin1');
      fs.writeFileSync(file, bytes);
      return file;
    };
    assert.equal(libcOf(program('/lib/ld-musl-x86_64.so.1')), 'musl');
    assert.equal(libcOf(program('/lib64/ld-linux-x86-64.so.2')), 'glibc');
    if (process.platform === 'linux') assert.ok(['glibc', 'musl'].includes(libcOf()));
    // A program without one, and what is none: the runtime is asked.
    assert.equal(libcOf(program('/lib/other.so')), libcOf(__filename));
  });
});
