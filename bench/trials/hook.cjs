'use strict';
// Whole runs of a tool call's hook while no worker runs, start of the process included.

const path = require('node:path');
const { spawnSync } = require('node:child_process');
const { openMemory } = require('../..');
const { observe } = require('../observe.cjs');
const { median } = require('../statistics.cjs');

const COMMANDS = {
  native: [path.join(__dirname, '../../examples/hooks/hook.cjs'), 'tool'],
  'better-sqlite3': [path.join(__dirname, '../hook/better-sqlite3-hook.cjs'), 'tool'],
  idle: ['-e', 'null'],
};

module.exports = {
  title: 'A hook that enqueues by itself, from the start of its process to its end',
  accepts: (driver) => driver.id in COMMANDS,
  peer: 'better-sqlite3',
  variants: [{ title: '' }],
  measures: { run: { title: 'whole run', unit: 'ms' } },
  async run(driver, { directory, quick }) {
    const owner = await openMemory({ dataDir: directory });
    await owner.store.createSDKSession('timed', 'project', 'a prompt');
    await owner.dispose();
    // Nobody listens on the port: the worker is down.
    const env = { ...process.env, CLAUDE_MEM_DATA_DIR: directory, CLAUDE_MEM_WORKER_PORT: '1' };
    const times = [];
    const { process: loop } = await observe(async () => {
      // The first runs fill caches.
      for (let n = quick ? 0 : -2; n < (quick ? 1 : 5); n += 1) {
        const tool_response = { success: true, text: 'x'.repeat(4_000) };
        const event = {
          session_id: 'timed',
          cwd: '/home/me/project',
          tool_use_id: `call-${n}`,
          tool_name: 'Edit',
          tool_input: {},
          tool_response,
        };
        const startedAt = performance.now();
        const input = JSON.stringify(event);
        const { status, stderr } = spawnSync(process.execPath, COMMANDS[driver.id], { input, env, encoding: 'utf8' });
        if (status !== 0) throw new Error(stderr);
        if (n >= 0) times.push(performance.now() - startedAt);
      }
    });
    return { measures: { run: median(times) }, process: loop };
  },
};
