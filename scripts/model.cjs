'use strict';
// Puts the embedding model in place: beside the module, or with `npm run model -- DIRECTORY` into a data directory.
// With `--fp32` that with 32-bit weights: into a folder for the tests, or into the data directory.

const { runScript } = require('./script.cjs');

runScript(async () => {
  const path = require('node:path');
  const { EIGHT_BITS, FULL_PRECISION, FULL_PRECISION_FOLDER, folderIn, takeAloud } = require('./embedding-model.cjs');
  const { Missing } = require('./requirements.cjs');

  const full = process.argv.includes('--fp32');
  const [dataDir, ...more] = process.argv.slice(2).filter((argument) => argument !== '--fp32');
  if (more.length > 0 || dataDir?.startsWith('-'))
    throw new Missing('npm run model takes --fp32 and one data directory, or none.');
  const folder = dataDir || !full ? folderIn(dataDir && path.resolve(dataDir)) : FULL_PRECISION_FOLDER;
  await takeAloud(folder, full ? FULL_PRECISION : EIGHT_BITS);
});
