'use strict';
// Times whole runs of a hook, start of the process included: `node bench/hook/time.cjs [runs]`. No worker runs, and
// the hook enqueues by itself. better-sqlite3 is timed where it is installed (or BETTER_SQLITE3 names its folder).

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { spawnSync } = require('node:child_process');

const { openMemory } = require('../..');

const RUNS = Number(process.argv[2] ?? 50);
const event = (n) =>
  JSON.stringify({
    session_id: 'timed',
    cwd: '/home/me/project',
    tool_use_id: `call-${n}`,
    tool_name: 'Edit',
    tool_input: { file_path: `src/file-${n}.js` },
    tool_response: { success: true, text: 'x'.repeat(4_000) },
  });

const COMMANDS = [
  { name: 'node alone', args: ['-e', '0'] },
  { name: 'claude-mem-native', args: [path.join(__dirname, '../../examples/hooks/hook.cjs'), 'tool'] },
  { name: 'better-sqlite3', args: [path.join(__dirname, 'better-sqlite3-hook.cjs'), 'tool'] },
];

function run(args, environment, n) {
  const startedAt = performance.now();
  const { status, stderr } = spawnSync(process.execPath, args, { input: event(n), env: environment, encoding: 'utf8' });
  if (status !== 0)
    throw new Error(
      stderr
        .trim()
        .split('\n')
        .find((line) => /Error/.test(line)) ?? stderr,
    );
  return performance.now() - startedAt;
}

async function main() {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'claude-mem-hook-'));
  try {
    const owner = await openMemory({ dataDir: directory });
    await owner.store.createSDKSession('timed', 'project', 'a prompt');
    await owner.dispose();
    // Nobody listens on the port: the worker is down.
    const environment = { ...process.env, CLAUDE_MEM_DATA_DIR: directory, CLAUDE_MEM_WORKER_PORT: '1' };
    const times = new Map(COMMANDS.map(({ name }) => [name, []]));
    for (let n = -2; n < RUNS; n += 1) {
      // In turns, so that whatever else the machine does hits all of them; the first rounds fill caches.
      for (const { name, args } of COMMANDS) {
        if (!times.has(name)) continue;
        try {
          const took = run(args, environment, n);
          if (n >= 0) times.get(name).push(took);
        } catch (error) {
          process.stderr.write(`${name} is left out: ${error.message}\n`);
          times.delete(name);
        }
      }
    }
    console.log(`| hook, whole run (${RUNS} runs, ms) | minimum | median | p95 |\n|---|---|---|---|`);
    for (const [name, list] of times) {
      list.sort((a, b) => a - b);
      const at = (share) => list[Math.min(list.length - 1, Math.floor(list.length * share))].toFixed(1);
      console.log(`| ${name} | ${at(0)} | ${at(0.5)} | ${at(0.95)} |`);
    }
  } finally {
    fs.rmSync(directory, { recursive: true, force: true });
  }
}

main();
