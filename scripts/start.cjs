'use strict';
// Starts the worker, after installing and building what is missing.

const { runScript } = require('./script.cjs');

runScript(() => require('./launch.cjs').launch('examples/worker/main.cjs', { model: true }));
