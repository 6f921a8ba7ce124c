'use strict';
// What index.js exports: the binding's, or where none can be loaded stand-ins that say so when they are used, so that
// `require` and `import` succeed and the worker can tell why it is degraded.
const { version } = require('../package.json');
const { loadUsual } = require('./load.cjs');

/** The stand-ins: by kind, since a function of promises rejects where another one throws. */
function standIns({ classes, promising, throwing }, error) {
  const exported = { version };
  for (const name of classes) {
    exported[name] = {
      [name]: class {
        constructor() {
          throw error;
        }
      },
    }[name];
  }
  for (const name of promising) exported[name] = { [name]: async () => Promise.reject(error) }[name];
  for (const name of throwing) {
    exported[name] = {
      [name]: () => {
        throw error;
      },
    }[name];
  }
  return exported;
}

/** The exports by name; `names` are those that index.d.ts declares. */
function nativeExports(names) {
  const { binding, error } = loadUsual();
  return binding ?? standIns(names, error);
}

module.exports = { nativeExports, standIns };
