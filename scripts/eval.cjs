'use strict';
// Judges search, after installing and building what is missing.

const { runScript } = require('./script.cjs');

runScript(() => require('./launch.cjs').launch('eval/eval.cjs'));
