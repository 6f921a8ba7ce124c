'use strict';
// Another process that uses the database at the same time, as claude-mem's hooks do. It is built on first use,
// in seconds: SQLite is compiled already.

const path = require('node:path');
const { spawn } = require('node:child_process');
const { createInterface } = require('node:readline');
const { after } = require('node:test');

const ROOT = path.join(__dirname, '..', '..');

let built;

/** The executable's path. */
function executable() {
  built ??= build();
  return built;
}

async function build() {
  const args = [
    'build',
    '--release',
    '--package',
    'claude-mem-native-foreign',
    '--message-format=json-render-diagnostics',
  ];
  const { cargoEnvironment } = require('../../scripts/native.cjs');
  const env = { ...process.env, ...cargoEnvironment() };
  let found;
  const cargo = spawn('cargo', args, { cwd: ROOT, env, stdio: ['ignore', 'pipe', 'inherit'] });
  createInterface({ input: cargo.stdout }).on('line', (line) => {
    found = JSON.parse(line).executable ?? found;
  });
  const { code } = await ended(cargo);
  if (code !== 0 || !found) throw new Error(`cargo ${args.join(' ')} failed (exit code ${code})`);
  return found;
}

function ended(child) {
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => resolve({ code, signal }));
  });
}

// A test that fails before it stops its process must not hold the test run for ever.
const running = new Set();
after(() => {
  for (const child of running) child.kill('SIGKILL');
});

/** Starts a command; `next()` resolves with its next value, `stop()` closes its input and waits for its end. */
async function start(...args) {
  const child = spawn(await executable(), args, { stdio: ['pipe', 'pipe', 'pipe'] });
  running.add(child);
  const end = ended(child).finally(() => running.delete(child));
  // It may have ended by itself before its input is closed.
  child.stdin.on('error', () => {});
  let complaint = '';
  child.stderr.setEncoding('utf8').on('data', (text) => (complaint += text));
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  return {
    pid: child.pid,
    async next() {
      const { done, value } = await lines.next();
      if (done) throw new Error(`the foreign process (${args[0]}) ended: ${complaint.trim()}`);
      return JSON.parse(value);
    },
    async stop() {
      child.stdin.end();
      const { code, signal } = await end;
      return { code, signal, complaint };
    },
    kill: () => child.kill('SIGKILL'),
  };
}

/** Runs SQL and closes the database. */
async function execute(database, sql) {
  const { code, complaint } = await (await start('execute', database, sql)).stop();
  if (code !== 0) throw new Error(complaint);
}

/** The rows of a query, as objects. */
async function query(database, sql) {
  const child = await start('query', database, sql);
  const rows = await child.next();
  await child.stop();
  return rows;
}

/** Runs SQL and dies with it in the log, as a hook does that is killed. */
async function abandon(database, sql) {
  const child = await start('abandon', database, sql);
  await child.next();
  await child.stop();
}

/** Holds the write lock until `stop()`. */
async function hold(database) {
  const child = await start('hold', database);
  await child.next();
  return child;
}

/** Keeps a read transaction open until `stop()`. */
async function pin(database) {
  const child = await start('pin', database);
  await child.next();
  return child;
}

/** Writes all the time; `stop()` resolves with {written, errors, slowestMs}. */
async function write(database) {
  const child = await start('write', database);
  await child.next();
  return {
    async stop() {
      const stopped = child.stop();
      const figures = await child.next();
      await stopped;
      return figures;
    },
    kill: child.kill,
  };
}

module.exports = { abandon, execute, hold, pin, query, write };
