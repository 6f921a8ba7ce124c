'use strict';
// Builds the native module and generates index.js and index.d.ts, always.

const { exitWithSentence, requireNode } = require('./requirements.cjs');

exitWithSentence(async () => {
  requireNode();
  await require('./install.cjs').install();
  await require('./native.cjs').buildModule();
});
