'use strict';
// Where a binary can lie, best first.
const path = require('node:path');

const ROOT = path.join(__dirname, '..');
const NAME = 'claude-mem-native';

/** The environment variable that names a binary, instead of all others. */
const BINARY_VARIABLE = 'CLAUDE_MEM_NATIVE_BINARY';

const fileOf = (target) => `${NAME}.${target}.node`;
const packageOf = (target) => `${NAME}-${target}`;

/** What Node finds for `request` from the package's folder; null where it finds nothing. */
function resolveFrom(root, request) {
  try {
    return require.resolve(request, { paths: [root] });
  } catch {
    return null;
  }
}

/**
 * The places to try, each resolved when it is its turn: `{source, path}`, where `path` is null for a package that is not
 * installed, which `name` then names. One that was named is the only one.
 */
function* candidates({ targets, binary, root = ROOT }) {
  if (binary) {
    yield { source: 'explicit', path: path.resolve(binary) };
    return;
  }
  for (const target of targets) {
    const [name, file] = [packageOf(target), fileOf(target)];
    // Built in a clone, or put beside the package by hand.
    yield { source: 'beside', path: path.join(root, file) };
    const resolved = resolveFrom(root, `${name}/${file}`);
    yield { source: 'package', name, path: resolved };
    // A package that was copied or linked elsewhere has no node_modules above it, but often the same neighbours.
    const sibling = path.join(root, '..', name, file);
    if (sibling !== resolved) yield { source: 'sibling', path: sibling };
  }
}

module.exports = { BINARY_VARIABLE, NAME, ROOT, candidates, packageOf, resolveFrom };
