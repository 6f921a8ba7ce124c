'use strict';
// Whether a collection's graph is being built. A collection does not say so; the thread that builds it is there only
// while it works, and Linux tells its name. Elsewhere it is taken from what the process does while nobody asks.

const fs = require('node:fs');
const os = require('node:os');
const { setTimeout: sleep } = require('node:timers/promises');

const NAME = 'cm-graph';
const LOOK_MS = 50;
// Off Linux: so long a pause, of which the process works less than that part.
const PAUSE_MS = 1_000;
const AT_REST = 0.1;

/** Numbers of the threads that build graphs; null where the system does not tell. */
function builders() {
  const nameOf = (thread) => {
    try {
      return fs.readFileSync(`/proc/self/task/${thread}/comm`, 'utf8').trim();
    } catch {
      return ''; // it has ended meanwhile
    }
  };
  try {
    return fs.readdirSync('/proc/self/task').filter((thread) => nameOf(thread) === NAME);
  } catch {
    return null;
  }
}

/** Waits until no graph is being built. */
async function graphBuilt() {
  while (builders()?.length > 0) await sleep(LOOK_MS);
  if (builders() !== null) return;
  for (let share = 1; share > AT_REST;) {
    const before = process.cpuUsage();
    await sleep(PAUSE_MS);
    const { user, system } = process.cpuUsage(before);
    share = (user + system) / 1_000 / PAUSE_MS;
  }
}

/** Whether a graph is being built for certain; it then gives way to whatever else there is to do. */
function isBuilding() {
  const threads = builders() ?? [];
  for (const thread of threads) os.setPriority(Number(thread), os.constants.priority.PRIORITY_LOW);
  return threads.length > 0;
}

module.exports = { graphBuilt, isBuilding };
