'use strict';
// Removes a directory with all that is in it, also where an engine is making a file there at that moment.

const fs = require('node:fs');

const TRIES = 50;
const PAUSE_MS = 20;

/**
 * `fs.rmSync` looks once what is in a directory: what comes after that look makes it fail, however often it then tries
 * to remove the directory itself. This looks again. It blocks, so that it can be used while a process ends.
 */
function removeTree(directory) {
  for (let left = TRIES; ; left -= 1) {
    try {
      return fs.rmSync(directory, { recursive: true, force: true });
    } catch (error) {
      if (left === 0 || !['ENOTEMPTY', 'EBUSY', 'EPERM'].includes(error.code)) throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, PAUSE_MS);
    }
  }
}

module.exports = { removeTree };
