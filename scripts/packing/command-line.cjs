'use strict';
// The command line as one file, so that the package needs no other: what it takes from node_modules is bundled, what
// belongs to this package stays outside and is required from where it lies.

const fs = require('node:fs');
const path = require('node:path');
const { ROOT } = require('../steps.cjs');
const { textOfLicences } = require('./licences.cjs');

const CLI = path.join(ROOT, 'cli');
const posix = (file) => file.split(path.sep).join('/');
const isWithin = (folder, file) => !path.relative(folder, file).startsWith('..');

/** Leaves what lies in this package, but not in cli/, to be required at run time. */
const OWN_FILES_STAY = {
  name: 'own files stay',
  setup(build) {
    build.onResolve({ filter: /^\.\.?\// }, ({ path: request, resolveDir }) => {
      const file = path.resolve(resolveDir, request);
      if (isWithin(CLI, file) || isWithin(path.join(ROOT, 'node_modules'), file)) return undefined;
      return { path: `../${posix(path.relative(ROOT, file))}`, external: true };
    });
  },
};

/** The folder of the package that a file of node_modules belongs to. */
function packageFolder(file) {
  const [, folder] = /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(file) ?? [];
  return folder;
}

/** Writes `cli/main.cjs` and the licences of what is in it below `folder`. */
async function bundleCommandLine(folder) {
  const { build } = require('esbuild-wasm');
  const outfile = path.join(folder, 'cli', 'main.cjs');
  const { metafile } = await build({
    absWorkingDir: ROOT,
    entryPoints: [path.join(CLI, 'main.cjs')],
    outfile,
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    metafile: true,
    logLevel: 'warning',
    plugins: [OWN_FILES_STAY],
  });
  fs.chmodSync(outfile, 0o755);
  const folders = [...new Set(Object.keys(metafile.inputs).map(packageFolder).filter(Boolean))].sort();
  const packages = folders.map((place) => {
    const { name, version, license } = JSON.parse(fs.readFileSync(path.join(ROOT, place, 'package.json'), 'utf8'));
    return { name, version, license, folder: path.join(ROOT, place) };
  });
  const heading = 'cli/main.cjs holds code of these packages.';
  fs.writeFileSync(path.join(folder, 'cli', 'THIRD-PARTY-LICENSES.txt'), textOfLicences(heading, packages));
}

module.exports = { bundleCommandLine };
