'use strict';
// The test files that find the same on every runtime, each with why. `npm run runtimes` runs them all the same; only
// `--ci` leaves them out, as CI has run them once already.

const NOT_ABOUT_THE_RUNTIME = {
  'bench.test.cjs': 'the benchmarks are run by the Node of whoever measures',
  'demo.test.cjs': 'the demo is run by the Node of whoever looks',
  'docs.test.cjs': 'it reads the guides, and runs what README.md and the tests of the classes run too',
  'golden-vectors.test.cjs': 'vectors of the model, which no JavaScript makes',
  'install.test.cjs': 'npm and Bun as installers, whichever runtime looks',
  'pm2.test.cjs': 'PM2 and a dozen of worker starts',
  'requirements.test.cjs': 'what the build needs',
  'runtimes.test.cjs': 'how these results are read',
  'worker-page.test.cjs': 'a page in a browser',
};

/** Why a test file is left out of CI's runs on further runtimes; false where it is not. */
const notAboutTheRuntime = (name) => NOT_ABOUT_THE_RUNTIME[name] ?? false;

module.exports = { notAboutTheRuntime };
