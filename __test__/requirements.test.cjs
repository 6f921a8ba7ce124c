'use strict';
// What is missing on a machine is said in one sentence with its remedy, and the exit code is 1.

const assert = require('node:assert/strict');
const os = require('node:os');
const path = require('node:path');
const { spawnSync } = require('node:child_process');
const { test } = require('node:test');
const { Missing, requireNode } = require('../scripts/requirements.cjs');

const ROOT = path.join(__dirname, '..');

/** Runs the build script with another environment; it ends before it builds anything. */
function build(env) {
  const inherited = Object.fromEntries(Object.entries(process.env).filter(([name]) => name.toUpperCase() !== 'PATH'));
  const child = spawnSync(process.execPath, [path.join(ROOT, 'scripts', 'build.cjs')], {
    encoding: 'utf8',
    env: { ...inherited, PATH: process.env.PATH, ...env },
  });
  return { status: child.status, sentences: child.stderr.trim().split('\n') };
}

test('a Node that is too old', () => {
  assert.throws(
    () => requireNode('20.15.1'),
    (error) => error instanceof Missing && /^Node 20\.15\.1 is too old.*20\.16.*install it/.test(error.message),
  );
  assert.throws(() => requireNode('18.20.4'), Missing);
  requireNode('20.16.0');
  requireNode('22.3.0');
});

test('no cargo', () => {
  const nowhere = path.join(os.tmpdir(), 'no-such-directory');
  const { status, sentences } = build({ PATH: nowhere, CARGO_HOME: nowhere });
  assert.equal(status, 1);
  assert.equal(sentences.length, 1);
  assert.match(sentences[0], /^claude-mem-native: cargo was not found.*install Rust/);
});

test('no C compiler', { skip: process.platform === 'win32' && 'Windows finds its compiler without the PATH' }, () => {
  const { status, sentences } = build({ CC: 'no-such-compiler' });
  assert.equal(status, 1);
  assert.equal(sentences.length, 1);
  assert.match(sentences[0], /^claude-mem-native: No C compiler was found \("no-such-compiler".*install/);
});

test('no C++ compiler', { skip: process.platform === 'win32' && 'Windows finds its compiler without the PATH' }, () => {
  const { status, sentences } = build({ CXX: 'no-such-compiler' });
  assert.equal(status, 1);
  assert.equal(sentences.length, 1);
  assert.match(sentences[0], /^claude-mem-native: No C\+\+ compiler was found \("no-such-compiler".*install/);
});
