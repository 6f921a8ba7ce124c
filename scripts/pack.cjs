'use strict';
// Makes the packages: main, the model's, and that of this platform, as tarballs in dist/.
//   npm run pack                           builds what is missing; the model's only where there is a model
//   npm run pack -- --all                  those of all platforms, whose binaries lie in this folder; builds nothing
//   npm run pack -- --no-build             what is built, as it is
//   npm run pack -- --repository=https://… the address of the source, for the manifests and the links of the texts
//   npm run pack -- --out=FOLDER           elsewhere than dist/; what lies in the folder is removed first

const { runScript } = require('./script.cjs');

runScript(async () => {
  const fs = require('node:fs');
  const path = require('node:path');
  const { parseArgs } = require('node:util');
  const { ROOT, runStep, say } = require('./steps.cjs');
  const { Missing } = require('./requirements.cjs');

  let options;
  try {
    const flag = { type: 'boolean', default: false };
    const text = { type: 'string' };
    options = parseArgs({ options: { all: flag, 'no-build': flag, repository: text, out: text } }).values;
  } catch (error) {
    throw new Missing(error.message);
  }
  const { all, repository, out = 'dist' } = options;
  const { install, npmCommand } = require('./install.cjs');
  await install();
  const { ensureModule, moduleFile } = require('./native.cjs');
  if (!all && !options['no-build']) await ensureModule();
  const hasModel = await require('./embedding-model.cjs').ensureModel({ here: true });
  if (all && !hasModel) throw new Missing('the model is missing, and its package cannot be made without it.');

  const staging = require('./packing/staging.cjs');
  const DIST = path.resolve(ROOT, out);
  const [, here] = /native\.(.*)\.node$/.exec(moduleFile());
  const folders = [];
  const stage = async (name, assemble) => {
    const folder = path.join(DIST, 'staging', name);
    await assemble(folder);
    folders.push(folder);
  };
  fs.rmSync(DIST, { recursive: true, force: true });
  for (const target of all ? staging.targets() : [here])
    await stage(target, (folder) => staging.stagePlatform(folder, target, { repository }));
  if (hasModel) await stage(staging.MODEL_FOLDER, (folder) => staging.stageModel(folder, { repository }));
  await stage('main', (folder) => staging.stageMain(folder, { repository }));

  for (const folder of folders) {
    const args = ['pack', folder, '--pack-destination', DIST, '--ignore-scripts', '--offline', '--loglevel=error'];
    const [command, given, how] = npmCommand(args);
    await runStep(`npm pack ${path.basename(folder)}`, command, given, how);
  }
  const tarballs = fs.readdirSync(DIST).filter((name) => name.endsWith('.tgz'));
  for (const name of tarballs)
    say(`${path.join(out, name)}: ${(fs.statSync(path.join(DIST, name)).size / 1e6).toFixed(1)} MB`);
});
