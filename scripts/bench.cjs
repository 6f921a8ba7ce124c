'use strict';
// Runs the benchmarks, after installing and building what is missing.

const { runScript } = require('./script.cjs');

runScript(() => require('./launch.cjs').launch('bench/main.cjs'));
