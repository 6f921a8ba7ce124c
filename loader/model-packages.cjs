'use strict';
// Folders of packages that hold an embedding model as `<name>/model.onnx`. Node's resolution finds them where the binary
// alone could not: it may run from a copy elsewhere, and package managers link packages in ways of their own.
const path = require('node:path');
const { ROOT, resolveFrom } = require('./candidates.cjs');

const MODEL_PACKAGES = ['claude-mem-native-model-all-minilm-l6-v2'];

/** Where they are or may come to be: a neighbour is named also while it is not installed, as it is looked for again. */
function modelFolders(root = ROOT) {
  const places = MODEL_PACKAGES.flatMap((name) => {
    const manifest = resolveFrom(root, `${name}/package.json`);
    return [...(manifest ? [path.dirname(manifest)] : []), path.join(root, '..', name)];
  });
  return [...new Set(places)];
}

module.exports = { MODEL_PACKAGES, modelFolders };
