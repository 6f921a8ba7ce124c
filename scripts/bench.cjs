'use strict';
// Runs the benchmarks, after installing and building what is missing.

const { exitWithSentence, requireNode } = require('./requirements.cjs');

exitWithSentence(() => {
  requireNode();
  return require('./launch.cjs').launch('bench/main.cjs');
});
