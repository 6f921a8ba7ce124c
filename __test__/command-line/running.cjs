'use strict';
// The command line as users run it: processes of their own, on data directories of their own.

const assert = require('node:assert/strict');
const http = require('node:http');
const path = require('node:path');
const { once } = require('node:events');
const { spawn } = require('node:child_process');

const { openMemory } = require('../..');
const { dataDirectory } = require('../data-directory.cjs');
const { message } = require('../opened-memory.cjs');

const ROOT = path.join(__dirname, '../..');
const MAIN = path.join(ROOT, 'cli', 'main.cjs');
/** Longer than any command needs on a slow machine: what runs into it hangs. */
const HANGS_AFTER_MS = 120_000;
/** A port on which nobody listens: a worker of this machine must not answer. */
const NOBODY = ['--url', 'http://127.0.0.1:1'];

/** The environment without the settings of whoever runs the tests. */
const bare = () => Object.fromEntries(Object.entries(process.env).filter(([name]) => !name.startsWith('CLAUDE_MEM_')));

/** Runs the command line on a data directory: `{code, stdout, stderr}`. */
async function run(directory, args, { main = MAIN, env = {} } = {}) {
  const child = spawn(process.execPath, [main, ...args], {
    // Neither the settings nor the vector store of whoever runs the tests count.
    env: { ...bare(), CLAUDE_MEM_DATA_DIR: directory, HOME: directory, USERPROFILE: directory, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let [stdout, stderr] = ['', ''];
  child.stdout.setEncoding('utf8').on('data', (text) => (stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text) => (stderr += text));
  const timer = setTimeout(() => child.kill('SIGKILL'), HANGS_AFTER_MS);
  const [code] = await once(child, 'close');
  clearTimeout(timer);
  assert.doesNotMatch(stderr, /^ {4}at /m, 'a stack trace');
  return { code, stdout, stderr };
}

/** As `run`, for a command that succeeds; its standard output. */
async function succeeds(directory, args, options) {
  const { code, stdout, stderr } = await run(directory, args, options);
  assert.equal(code, 0, `${args.join(' ')}: ${stderr}${stdout}`);
  return stdout;
}

/** One line on stderr, and nothing else. */
function saidOnce({ stdout, stderr }, pattern) {
  assert.equal(stdout, '');
  assert.match(stderr, /^claude-mem-native: [^\n]+\n$/);
  assert.match(stderr, pattern);
}

/** A data directory with one observation, a waiting message and two dead letters; nobody has it open. */
async function filled(t, { indexed = true } = {}) {
  const { directory } = dataDirectory(t);
  // By words only: the tests need no model, and a machine that has one shall not take longer for it.
  const options = { indexing: 'manual', deadlineMs: 60_000, embedder: 'external' };
  const memory = await openMemory({ dataDir: directory, ...options });
  try {
    const session = await memory.store.createSDKSession('session-1', 'my-project', 'fix the login bug');
    await memory.store.storeObservation('session-1', 'my-project', {
      type: 'bugfix',
      title: 'Login refused \u001b[31mvalid tokens',
      narrative: 'The expiry is multiplied by 1000 before it is compared.',
    });
    for (const name of ['first', 'second', 'third']) await memory.queue.enqueue(session, message(name));
    for await (const batch of memory.queue.consume(session, { maxBatch: 2, keepAlive: true })) {
      const ids = batch.messages.map(({ id }) => id);
      await batch.deadLetter(ids, 'the model refused it');
      break;
    }
    if (indexed) await memory.vectors.sync();
    return { directory, session };
  } finally {
    await memory.dispose();
  }
}

/** The same directory as a worker has it: owned until the test's end. */
async function owned(t, directory) {
  const memory = await openMemory({ dataDir: directory, indexing: 'manual', deadlineMs: 60_000 });
  t.after(() => memory.dispose());
  return memory;
}

/** A server on a port of its own that answers GET /health so; its address. */
async function worker(t, answer) {
  const server = http.createServer((request, response) => {
    assert.equal(request.url, '/health');
    response.end(typeof answer === 'string' ? answer : JSON.stringify(answer));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return `http://127.0.0.1:${server.address().port}`;
}

const findingOf = (stdout, check) => JSON.parse(stdout).findings.filter((each) => each.check === check);

module.exports = { NOBODY, ROOT, filled, findingOf, owned, run, saidOnce, succeeds, worker };
