'use strict';
// Runs the demonstration, after installing and building what is missing.

const { runScript } = require('./script.cjs');

runScript(() => require('./launch.cjs').launch('examples/demo/demo.cjs', { model: true }));
