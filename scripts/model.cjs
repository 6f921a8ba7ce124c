'use strict';
// Puts the embedding model in place: beside the module, or with `npm run model -- DIRECTORY` into a data directory.

const { runScript } = require('./script.cjs');

runScript(async () => {
  const path = require('node:path');
  const { folderIn, take } = require('./embedding-model.cjs');
  const { Missing } = require('./requirements.cjs');
  const { say } = require('./steps.cjs');

  const [dataDir, ...more] = process.argv.slice(2);
  if (more.length > 0) throw new Missing('npm run model takes one data directory, or none.');
  const folder = folderIn(dataDir && path.resolve(dataDir));
  const taken = await take(folder);
  say(`the model ${taken ? 'is now' : 'was already'} in ${folder}.`);
});
