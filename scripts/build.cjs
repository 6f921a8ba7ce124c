'use strict';
// Builds the native module and generates index.js and index.d.ts, always.

const { runScript } = require('./script.cjs');

runScript(async () => {
  await require('./install.cjs').install();
  await require('./native.cjs').buildModule();
});
