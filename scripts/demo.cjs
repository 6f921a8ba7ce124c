'use strict';
// Runs the demonstration, after installing and building what is missing.

const { exitWithSentence, requireNode } = require('./requirements.cjs');

exitWithSentence(() => {
  requireNode();
  return require('./launch.cjs').launch('examples/demo/demo.cjs');
});
