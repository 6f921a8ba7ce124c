'use strict';
// The worker under the real PM2, with the configuration that claude-mem-native/ecosystem makes of the settings. PM2 is
// no dependency of anything here: it is installed for this test, at one version, and kept for the next run.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { execFile } = require('node:child_process');
const { test } = require('node:test');
const { setTimeout: sleep } = require('node:timers/promises');
const { promisify } = require('node:util');
const { removeTree } = require('./remove-tree.cjs');
const { environmentWith } = require('./worker/worker-under-test.cjs');

const ROOT = path.join(__dirname, '..');
const PM2_VERSION = '7.0.4';
const CACHE = path.join(ROOT, 'node_modules', '.cache', `pm2-${PM2_VERSION}`);
const PATIENCE_MS = 120_000;

const run = promisify(execFile);

/** PM2's program, installed where it is not yet; throws where there is no registry. */
async function installedPm2() {
  const program = path.join(CACHE, 'node_modules', 'pm2', 'bin', 'pm2');
  if (fs.existsSync(program)) return program;
  fs.mkdirSync(path.dirname(CACHE), { recursive: true });
  // Beside its place, and moved there whole: a run that is cut off leaves no half of it.
  const fresh = fs.mkdtempSync(`${CACHE}-`);
  try {
    const npm = process.env.npm_execpath;
    const [command, first] = npm?.endsWith('npm-cli.js') ? [process.execPath, [npm]] : ['npm', []];
    const args = ['install', '--prefix', fresh, '--ignore-scripts', '--no-audit', '--no-fund', '--fetch-retries=1'];
    await run(command, [...first, ...args, `pm2@${PM2_VERSION}`], { cwd: fresh, timeout: 180_000 });
    if (!fs.existsSync(program)) fs.renameSync(fresh, CACHE);
    return program;
  } finally {
    fs.rmSync(fresh, { recursive: true, force: true });
  }
}

/** Asks until `look` gives something true. */
async function until(what, look) {
  const end = Date.now() + PATIENCE_MS;
  for (;;) {
    const found = look();
    if (found) return found;
    if (Date.now() > end) throw new Error(`in vain: waited ${PATIENCE_MS} ms for ${what()}`);
    await sleep(50);
  }
}

function readText(file) {
  try {
    return fs.readFileSync(file, 'utf8');
  } catch (error) {
    if (error.code === 'ENOENT') return '';
    throw error;
  }
}

/** What a worker does that matters here: it opens, notes how it runs and what waits, and says why where it cannot. */
const WORKER = `
const fs = require('node:fs');
const path = require('node:path');
const v8 = require('node:v8');
const note = (line) => fs.appendFileSync(path.join(__dirname, 'starts'), JSON.stringify(line) + '\\n');
const { readSettings } = require('claude-mem-native/settings');
async function main() {
  const { openMemory } = require('claude-mem-native');
  const memory = await openMemory(readSettings().openOptions);
  process.once('SIGINT', () => memory.dispose());
  const alive = setInterval(() => {}, 1000);
  process.once('SIGINT', () => clearInterval(alive));
  if (memory.queue.depth(1) === 0) {
    for (const tool_name of ['One', 'Two', 'Three']) await memory.queue.enqueue(1, { type: 'observation', tool_name });
  }
  note({
    pid: process.pid,
    waiting: memory.queue.depth(1),
    heapLimit: v8.getHeapStatistics().heap_size_limit,
    nodeOptions: process.env.NODE_OPTIONS,
  });
}
main().catch(async (error) => {
  console.error('The worker cannot start: ' + error.message);
  note({ failed: true });
  // PM2 closes its log as soon as a worker has ended: a moment, so that the message is in it by then.
  await new Promise((resolve) => setTimeout(resolve, 500));
  process.exit(fs.existsSync(path.join(__dirname, 'give-up')) ? require('claude-mem-native/ecosystem').EXIT_GIVE_UP : 1);
});
`;

/** A plugin folder with the worker, its one-line configuration and a copy of this package. */
function installPlugin(plugin) {
  const copy = path.join(plugin, 'node_modules', 'claude-mem-native');
  fs.mkdirSync(copy, { recursive: true });
  const binaries = fs.readdirSync(ROOT).filter((name) => /^claude-mem-native\..*\.node$/.test(name));
  assert.ok(binaries.length > 0, 'the module is built');
  for (const name of ['package.json', 'index.js', 'loader', 'settings', ...binaries]) {
    fs.cpSync(path.join(ROOT, name), path.join(copy, name), { recursive: true });
  }
  fs.writeFileSync(path.join(plugin, 'worker-service.cjs'), WORKER);
  fs.writeFileSync(
    path.join(plugin, 'ecosystem.config.cjs'),
    `module.exports = require('claude-mem-native/ecosystem').ecosystem({ script: require.resolve('./worker-service.cjs') });\n`,
  );
  return {
    starts: () =>
      readText(path.join(plugin, 'starts'))
        .split('\n')
        .slice(0, -1)
        .map((line) => JSON.parse(line)),
    giveUp: () => fs.writeFileSync(path.join(plugin, 'give-up'), ''),
    breakBinaries: () => {
      for (const name of binaries) {
        // Another file in its place: the one that a worker has loaded must stay as it is.
        fs.writeFileSync(path.join(copy, 'broken'), 'not a library');
        fs.renameSync(path.join(copy, 'broken'), path.join(copy, name));
      }
    },
  };
}

const unfit =
  (process.platform === 'win32' && 'on Windows PM2 has one pipe for all its daemons, so a test cannot have its own') ||
  (process.versions.bun !== undefined && 'PM2 is run by Node');

test('PM2 runs the worker', { skip: unfit }, async (t) => {
  let program;
  try {
    program = await installedPm2();
  } catch (error) {
    t.skip(`pm2@${PM2_VERSION} cannot be installed here: ${error.message.split('\n').slice(0, 3).join(' ')}`);
    return;
  }
  // Short: the path of a socket has some hundred characters at most.
  const home = fs.mkdtempSync(path.join(os.tmpdir(), 'cmn-pm2-'));
  const pm2Home = path.join(home, 'pm2');
  const plugin = path.join(home, 'plugin');
  const pm2 = (...args) =>
    run(process.execPath, [program, ...args], {
      cwd: plugin,
      timeout: PATIENCE_MS,
      env: environmentWith(home, { PM2_HOME: pm2Home, NODE_OPTIONS: '' }),
    });
  t.after(async () => {
    const daemon = Number(readText(path.join(pm2Home, 'pm2.pid')));
    await pm2('kill').catch(() => {});
    try {
      if (daemon > 0) process.kill(daemon, 'SIGKILL');
    } catch (error) {
      if (error.code !== 'ESRCH') throw error;
    }
    removeTree(home);
  });

  const worker = installPlugin(plugin);
  fs.mkdirSync(path.join(home, '.claude-mem'));
  fs.writeFileSync(
    path.join(home, '.claude-mem', 'settings.json'),
    JSON.stringify({
      env: {
        NODE_OPTIONS: '--max-old-space-size=777 --require=./spy.cjs',
        CLAUDE_MEM_NATIVE_PARTS: 'queue',
        CLAUDE_MEM_NATIVE_LOCK_WAIT_MS: 60_000,
      },
    }),
  );
  const daemonLog = () => readText(path.join(pm2Home, 'pm2.log'));
  const workerLog = () => readText(path.join(pm2Home, 'logs', 'claude-mem-worker-error-0.log'));
  const said = () => `PM2 said:\n${daemonLog()}\nthe worker said:\n${workerLog()}`;
  const start = (n) =>
    until(
      () => `start ${n}; ${said()}`,
      () => worker.starts()[n - 1],
    );

  await t.test('with the heap limit of the settings, and without what the allow-list refuses', async () => {
    const { stderr } = await pm2('start', 'ecosystem.config.cjs');
    assert.match(stderr, /"--require=\.\/spy\.cjs" is not taken over/);
    const { heapLimit, nodeOptions, waiting } = await start(1);
    const megabytes = heapLimit / 2 ** 20;
    assert.ok(megabytes >= 777 && megabytes < 1_000, `${megabytes} MiB`);
    assert.equal(nodeOptions ?? '', '');
    assert.equal(waiting, 3);
  });

  await t.test('again after it was killed, with its queue', async () => {
    const before = await start(1);
    process.kill(before.pid, 'SIGKILL');
    const after = await start(2);
    assert.notEqual(after.pid, before.pid);
    assert.equal(after.waiting, 3);
    assert.ok(after.heapLimit / 2 ** 20 >= 777);
  });

  await t.test('a few times only where its binary is broken, with the reason in the log', async () => {
    worker.breakBinaries();
    await pm2('restart', 'claude-mem-worker');
    await until(said, () => /had too many unstable restarts \(5\)\. Stopped/.test(daemonLog()));
    // The five include the end of the worker that was restarted, where that came early in its life.
    const failed = worker.starts().slice(2);
    assert.ok(failed.length >= 2 && failed.length <= 5, said());
    assert.ok(failed.every((start) => start.failed));
    await until(said, () =>
      /The worker cannot start: claude-mem-native .* has no binary that can be loaded on /.test(workerLog()),
    );
    await sleep(3_000);
    assert.equal(worker.starts().length, 2 + failed.length, 'it stays stopped');
  });

  await t.test('once where it says that it gives up', async () => {
    const before = worker.starts().length;
    worker.giveUp();
    await pm2('restart', 'claude-mem-worker');
    await until(said, () => /exited with code \[78\]/.test(daemonLog()));
    await sleep(3_000);
    assert.equal(worker.starts().length, before + 1, said());
  });
});
