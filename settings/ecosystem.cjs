'use strict';
// `claude-mem-native/ecosystem`: how PM2 is to run the worker, from the user's settings. The plugin's own
// ecosystem.config.cjs, which each update overwrites, calls this and holds no setting itself.
const path = require('node:path');
const { readSettings } = require('./index.cjs');

/** The exit code with which a worker says that starting again is no use (EX_CONFIG): PM2 then leaves it stopped. */
const EXIT_GIVE_UP = 78;

const OLD_SPACE_FLAG = '--max-old-space-size';
const DEFAULT_OLD_SPACE_MB = 256;

const MIB = 2 ** 20;
// The engine's defaults, and what the worker takes beside them: its code, Node itself, the embedding model.
const DEFAULT_VECTOR_MEMORY = 512 * MIB;
const DEFAULT_IN_FLIGHT = 64 * MIB;
const RESIDENT_REST = 384 * MIB;

// Deaths count as failed starts when they come within MIN_UPTIME_MS of a start, and while less than MAX_RESTARTS times
// that has passed since the user's last start or restart. The waits between them (a quarter of a second, growing by
// half) come to some 3 s for five, so that a worker which takes up to 14 s to die is still stopped.
const MAX_RESTARTS = 5;
const MIN_UPTIME_MS = 15_000;
const FIRST_DELAY_MS = 250;
const KILL_TIMEOUT_MS = 5_000;

/** What changes while a worker runs: no reason to start it again, should somebody switch `watch` on. */
const IGNORED = [
  'node_modules',
  'logs',
  '*.log',
  '*.db',
  '*.db-shm',
  '*.db-wal',
  '*.pre-native',
  'native',
  'vector-db',
];

function oldSpaceMegabytes(nodeArgs) {
  const arg = nodeArgs.find((text) => text.startsWith(`${OLD_SPACE_FLAG}=`));
  return arg === undefined ? undefined : Number(arg.slice(OLD_SPACE_FLAG.length + 1));
}

/** The resident memory beyond which something leaks: whatever the settings allow to be filled, and the rest. */
function memoryLimit(oldSpace, { vectorMemoryBudget, maxInFlightBytes }) {
  const allowed = (vectorMemoryBudget ?? DEFAULT_VECTOR_MEMORY) + (maxInFlightBytes ?? DEFAULT_IN_FLIGHT);
  return `${oldSpace + Math.ceil((allowed + RESIDENT_REST) / MIB)}M`;
}

/** The definition of one PM2 app. See ecosystem.d.ts. */
function workerApp({
  script,
  name = 'claude-mem-worker',
  watch = false,
  warn = console.error,
  env = {},
  ...rest
} = {}) {
  if (typeof script !== 'string' || script === '') {
    throw new TypeError(
      "option 'script' must be the path of the worker's file, such as require.resolve('./worker.cjs')",
    );
  }
  const { args, dataDir, home, environment, ...unknown } = rest;
  const [stranger] = Object.keys(unknown);
  if (stranger !== undefined) {
    throw new TypeError(
      `unknown option '${stranger}'; known are script, name, args, watch, env, dataDir, home, environment, warn`,
    );
  }
  const settings = readSettings({ dataDir, home, environment });
  for (const { message } of settings.rejected) warn(`claude-mem-native: ${message}`);
  const given = oldSpaceMegabytes(settings.nodeArgs);
  const oldSpace = given ?? DEFAULT_OLD_SPACE_MB;
  return {
    name,
    script,
    ...(args === undefined ? {} : { args }),
    cwd: path.dirname(path.resolve(script)),
    exec_mode: 'fork',
    instances: 1,
    node_args: given === undefined ? [`${OLD_SPACE_FLAG}=${oldSpace}`, ...settings.nodeArgs] : settings.nodeArgs,
    env: {
      // The daemon's own NODE_OPTIONS have been through the allow-list, as arguments; what it refused must not come in
      // here. A worker that would start itself again for them need not.
      NODE_OPTIONS: '',
      CLAUDE_MEM_NODE_OPTIONS_APPLIED: '1',
      CLAUDE_MEM_DATA_DIR: path.dirname(settings.file),
      ...env,
    },
    autorestart: true,
    exp_backoff_restart_delay: FIRST_DELAY_MS,
    max_restarts: MAX_RESTARTS,
    min_uptime: MIN_UPTIME_MS,
    stop_exit_codes: [EXIT_GIVE_UP],
    kill_timeout: KILL_TIMEOUT_MS,
    max_memory_restart: memoryLimit(oldSpace, settings.openOptions),
    watch,
    ignore_watch: [...IGNORED],
  };
}

/** The whole of an ecosystem.config.cjs. */
function ecosystem(options) {
  return { apps: [workerApp(options)] };
}

module.exports = { ecosystem, workerApp, EXIT_GIVE_UP };
