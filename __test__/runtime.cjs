'use strict';
// The runtime under test: what Bun has not, and how a test gets the same from Node and from Bun. Everything else is to
// behave alike on both. README.md, "On Bun", tells users of each.

const fs = require('node:fs');
const path = require('node:path');

const BUN = process.versions.bun !== undefined;

/** What a test may need that Bun has not, and why it has not. */
const LACKS = {
  'limit of the heap': 'the heap of Bun has no limit, and health() says so: limitSource is "none"',
};

/** What `test` takes as its `skip` option: why, where the runtime has not got a thing; else false. */
function without(thing) {
  if (!(thing in LACKS)) throw new Error(`nobody lacks "${thing}"; known are ${Object.keys(LACKS).join(', ')}`);
  return BUN ? `on Bun: ${LACKS[thing]}` : false;
}

/** Collects garbage: in a process that was started with --expose-gc, and on Bun in its threads too. */
function collectGarbage() {
  if (BUN) globalThis.Bun.gc(true);
  else globalThis.gc();
}

/** Arguments for a program whose output is compared: on Bun, console.log writes arrays and objects in its own way. */
const SAME_CONSOLE = BUN ? ['--preload', path.join(__dirname, 'children', 'console.cjs')] : [];

/**
 * For a process whose resident memory is looked at. In Bun, glibc's allocator hands the threads of each new memory to
 * another of its arenas, and every arena keeps pages; with one arena nothing is left.
 */
const ONE_ARENA = BUN ? { MALLOC_ARENA_MAX: '1' } : {};

/** What a process that ended by abort() has printed: nothing. Bun adds a report of the crash, which goes. */
const withoutCrashReport = (stderr) =>
  BUN ? stderr.replace(/^=+\nBun v[^]*panic: abort\(\) called\n[^]*$/, '') : stderr;

/** How many threads this process has. Bun's own come and go: there, those of the engine, which it names. */
function countThreads() {
  const tasks = '/proc/self/task';
  if (!fs.existsSync(tasks)) return null;
  const all = fs.readdirSync(tasks);
  if (!BUN) return all.length;
  return all.filter((task) => {
    try {
      return fs.readFileSync(path.join(tasks, task, 'comm'), 'utf8').startsWith('cm-');
    } catch (error) {
      // It has ended since it was listed.
      if (error.code === 'ENOENT' || error.code === 'ESRCH') return false;
      throw error;
    }
  }).length;
}

module.exports = { BUN, ONE_ARENA, SAME_CONSOLE, collectGarbage, countThreads, without, withoutCrashReport };
