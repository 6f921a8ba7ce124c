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
 * The places to try: `{source, path}`, where `path` is null for a package that is not installed, which `name` then
 * names. One that was named is the only one.
 */
function candidates({ targets, binary, root = ROOT }) {
  if (binary) return [{ source: 'explicit', path: path.resolve(binary) }];
  const places = targets.flatMap((target) => [
    // Built in a clone, or put beside the package by hand.
    { source: 'beside', path: path.join(root, fileOf(target)) },
    { source: 'package', name: packageOf(target), path: resolveFrom(root, `${packageOf(target)}/${fileOf(target)}`) },
    // A package that was copied or linked elsewhere has no node_modules above it, but often the same neighbours.
    { source: 'sibling', path: path.join(root, '..', packageOf(target), fileOf(target)) },
  ]);
  const seen = new Set();
  return places.filter((place) => place.path === null || (!seen.has(place.path) && seen.add(place.path)));
}

module.exports = { BINARY_VARIABLE, NAME, ROOT, candidates, packageOf, resolveFrom };
