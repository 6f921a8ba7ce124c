'use strict';
// The module with its injection points compiled in. A test arms a point through CLAUDE_MEM_NATIVE_FAULT, a
// list of `name=action`; see src/fault.rs. Arm it in a child process: a point fires wherever it is passed.

const fs = require('node:fs');
const path = require('node:path');

const file = path.join(__dirname, 'claude-mem-native-fault.node');
if (!fs.existsSync(file)) {
  throw new Error(`${file} is missing: "npm test" builds it.`);
}

module.exports = require(file);
