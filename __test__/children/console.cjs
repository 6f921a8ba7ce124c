'use strict';
// Preloaded on Bun: console.log as Node has it.

const { format } = require('node:util');

console.log = (...values) => void process.stdout.write(`${format(...values)}\n`);
