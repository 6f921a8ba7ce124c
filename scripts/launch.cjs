'use strict';
// Runs a program of this repository once everything it needs is installed and built.

const fs = require('node:fs');
const path = require('node:path');
const { Missing } = require('./requirements.cjs');
const { install } = require('./install.cjs');
const { ensureModule } = require('./native.cjs');
const { ROOT } = require('./steps.cjs');

/**
 * Installs, builds, with `model` gets the embedding model, and then runs `program` as this process's main module. There is no second process: a
 * signal reaches the program itself, and nothing is left behind when it ends.
 */
async function launch(program, { model = false } = {}) {
  const main = path.join(ROOT, program);
  if (!fs.existsSync(main))
    throw new Missing(`${program} is missing from this checkout: run "git checkout -- ${program}" and start again.`);
  await install();
  await ensureModule();
  if (model) await require('./embedding-model.cjs').ensureModel();
  process.argv[1] = main;
  require('node:module').runMain();
}

module.exports = { launch };
