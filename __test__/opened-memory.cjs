'use strict';
// Memories on directories of their own for the tests of the engine, and ways to wait that never hang.

const { setTimeout: sleep } = require('node:timers/promises');

const { openMemory } = require('..');
const { dataDirectory } = require('./data-directory.cjs');

/** Longer than anything takes on a slow machine: what runs into it never happens. */
const NEVER_MS = 60_000;

/** Options under which failed batches come again at once. */
const NO_BACKOFF = { backoffBaseMs: 1, backoffMaxMs: 1 };

/**
 * A memory on a new directory, disposed after the test.
 *
 * `session(name)` creates a session, `put(id, ...names)` enqueues a message for each name, and `reopen(options)`
 * disposes the memory and opens its directory again.
 */
async function openedMemory(t, given) {
  // On a slow machine a test may hold a lock for longer than the default of 5 s.
  const options = { deadlineMs: 60_000, ...given };
  const { directory, database } = dataDirectory(t);
  const opened = { directory, database, memory: await openMemory({ dataDir: directory, ...options }) };
  t.after(() => opened.memory.dispose());
  opened.session = (name = 'claude', project = 'project') => opened.memory.store.createSDKSession(name, project, 'ask');
  opened.put = (id, ...names) => Promise.all(names.map((name) => opened.memory.queue.enqueue(id, message(name))));
  opened.reopen = async (others = options) => {
    await opened.memory.dispose();
    opened.memory = await openMemory({ dataDir: directory, ...others });
    return opened.memory;
  };
  return opened;
}

/** A message as the save hook sends it. */
const message = (tool_name, others) => ({
  type: 'observation',
  tool_name,
  tool_input: '{}',
  tool_response: '{}',
  prompt_number: 1,
  cwd: '/',
  ...others,
});

/** What a promise settles with. Keeps the process alive, which a wait does not; fails where it never settles. */
async function settled(promise) {
  let timer;
  const never = new Promise((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error('this promise never settles')), NEVER_MS);
  });
  try {
    return await Promise.race([promise, never]);
  } finally {
    clearTimeout(timer);
  }
}

/** The next value of a consumer, or of `ready()`; undefined at the end. */
async function next(iterator) {
  const { value, done } = await settled(iterator.next());
  if (done && value !== undefined) throw new Error('an end with a value');
  return value;
}

/** Waits until a condition holds. */
async function until(condition) {
  const startedAt = Date.now();
  while (!(await condition())) {
    if (Date.now() - startedAt > NEVER_MS) throw new Error(`this never comes true: ${condition}`);
    await sleep(2);
  }
}

/** Whether a promise has settled by now. */
async function isSettled(promise) {
  const pending = {};
  const settles = () => true;
  return (await Promise.race([promise.then(settles, settles), sleep(0, pending)])) !== pending;
}

/** The tool names of a batch: what `put` was given. */
const names = (batch) => batch.messages.map(({ tool_name }) => tool_name);

module.exports = { NO_BACKOFF, isSettled, message, names, next, openedMemory, settled, until };
