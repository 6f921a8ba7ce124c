'use strict';
// claude-mem-native/ecosystem: what PM2 is told, from the user's settings.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');
const { ecosystem, workerApp, EXIT_GIVE_UP } = require('claude-mem-native/ecosystem');
const { dataDirectory } = require('./data-directory.cjs');

const SCRIPT = path.join(__dirname, 'worker-service.cjs');

/** The app of a user with these settings, and what was said while it was made. */
function appOf(t, { env, text, environment = {}, ...options } = {}) {
  const home = dataDirectory(t).directory;
  fs.mkdirSync(path.join(home, '.claude-mem'));
  if (env || text) fs.writeFileSync(path.join(home, '.claude-mem', 'settings.json'), text ?? JSON.stringify({ env }));
  const said = [];
  const warn = (message) => said.push(message);
  return { home, said, app: workerApp({ script: SCRIPT, home, environment, warn, ...options }) };
}

test('without settings', (t) => {
  const { home, said, app } = appOf(t);
  assert.deepEqual(said, []);
  assert.deepEqual(app, {
    name: 'claude-mem-worker',
    script: SCRIPT,
    cwd: __dirname,
    exec_mode: 'fork',
    instances: 1,
    node_args: ['--max-old-space-size=256'],
    env: {
      NODE_OPTIONS: '',
      CLAUDE_MEM_NODE_OPTIONS_APPLIED: '1',
      CLAUDE_MEM_DATA_DIR: path.join(home, '.claude-mem'),
    },
    autorestart: true,
    exp_backoff_restart_delay: 250,
    max_restarts: 5,
    min_uptime: 15_000,
    stop_exit_codes: [EXIT_GIVE_UP],
    kill_timeout: 5_000,
    max_memory_restart: '1216M',
    watch: false,
    ignore_watch: app.ignore_watch,
  });
  for (const changing of ['node_modules', 'logs', '*.db-wal', 'native', 'vector-db']) {
    assert.ok(app.ignore_watch.includes(changing), changing);
  }
});

test('the heap limit of the settings takes the place of the default, and the memory limit grows with it', (t) => {
  const { app } = appOf(t, { env: { NODE_OPTIONS: '--max-old-space-size=4096 --inspect --trace-warnings' } });
  assert.deepEqual(app.node_args, ['--max-old-space-size=4096', '--inspect=127.0.0.1:9229', '--trace-warnings']);
  assert.equal(app.max_memory_restart, `${4096 + 512 + 64 + 384}M`);
});

test('the memory limit follows what the engine may hold', (t) => {
  const { app } = appOf(t, {
    env: { CLAUDE_MEM_NATIVE_VECTOR_MEMORY_BUDGET: '2 GiB', CLAUDE_MEM_NATIVE_MAX_IN_FLIGHT_BYTES: '128 MiB' },
  });
  assert.equal(app.max_memory_restart, `${256 + 2048 + 128 + 384}M`);
});

test('the variable NODE_OPTIONS passes through the same list, and nothing of it comes in beside the arguments', (t) => {
  const { app, said } = appOf(t, { environment: { NODE_OPTIONS: '--trace-exit --require=./spy.cjs' } });
  assert.deepEqual(app.node_args, ['--max-old-space-size=256', '--trace-exit']);
  assert.equal(app.env.NODE_OPTIONS, '');
  assert.equal(said.length, 1);
  assert.match(
    said[0],
    /^claude-mem-native: NODE_OPTIONS in the environment: "--require=\.\/spy\.cjs" is not taken over/,
  );
});

test('an inspector for everybody is refused, and the worker is run all the same', (t) => {
  const { app, said } = appOf(t, { env: { NODE_OPTIONS: '--inspect=0.0.0.0:9229' } });
  assert.deepEqual(app.node_args, ['--max-old-space-size=256']);
  assert.match(said[0], /its address 127\.0\.0\.1/);
});

test('a broken settings file is said and stops nothing', (t) => {
  const { app, said } = appOf(t, { text: '{"env": {' });
  assert.deepEqual(app.node_args, ['--max-old-space-size=256']);
  assert.equal(said.length, 1);
  assert.match(said[0], /settings\.json is not valid JSON/);
});

test('the last failed start comes well within the time in which PM2 counts them', (t) => {
  // PM2 counts a death only while less than min_uptime × max_restarts has passed since the first start.
  const { app } = appOf(t);
  let waits = 0;
  for (let n = 0; n < app.max_restarts - 1; n += 1) waits += app.exp_backoff_restart_delay * 1.5 ** n;
  const life = 13_000;
  assert.ok(life < app.min_uptime);
  assert.ok(waits + life * app.max_restarts < app.min_uptime * app.max_restarts);
});

test('options', (t) => {
  const { app } = appOf(t, { name: 'other', args: ['--port', '0'], watch: true, env: undefined });
  assert.equal(app.name, 'other');
  assert.deepEqual(app.args, ['--port', '0']);
  assert.equal(app.watch, true);
  const { directory } = dataDirectory(t);
  const withEnv = workerApp({ script: SCRIPT, dataDir: directory, environment: {}, env: { MINE: '1' }, warn() {} });
  assert.equal(withEnv.env.MINE, '1');
  assert.equal(withEnv.env.CLAUDE_MEM_DATA_DIR, directory);
  assert.throws(() => workerApp(), /option 'script' must be the path/);
  assert.throws(
    () => workerApp({ script: SCRIPT, max_restarts: 3 }),
    /unknown option 'max_restarts'; known are script,/,
  );
});

test('ecosystem is the whole configuration file', (t) => {
  const { directory } = dataDirectory(t);
  const options = { script: SCRIPT, dataDir: directory, environment: {}, warn() {} };
  assert.deepEqual(ecosystem(options), { apps: [workerApp(options)] });
});
