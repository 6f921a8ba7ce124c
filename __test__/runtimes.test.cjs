'use strict';
// The matrix of runtimes: that what became of each test is read right from Node and from Bun, that nothing that failed is
// taken for passed, and that a runtime which was not run is told as such.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { describe, test } = require('node:test');

const { BUN } = require('./runtime.cjs');
const { testsOf } = require('../scripts/runtimes/junit.cjs');
const { cellOf, markdown, plain } = require('../scripts/runtimes/matrix.cjs');
const { runFile } = require('../scripts/runtimes/run-file.cjs');
const { notAboutTheRuntime } = require('../scripts/runtimes/selection.cjs');
const { RUNTIMES, runtimeCalled, titleOf } = require('../scripts/runtimes/versions.cjs');
const { removeTree } = require('./remove-tree.cjs');

const ROOT = path.join(__dirname, '..');
const NODE = { id: 'node-this', kind: 'node', version: process.versions.node };
const BY_NODE = { skip: BUN && 'the matrix is made by Node' };

/** What a file of this content comes to on this Node. */
function ran(t, content) {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'claude-mem-native-runtimes-'));
  t.after(() => removeTree(directory));
  const file = path.join(directory, 'sample.test.cjs');
  fs.writeFileSync(file, content);
  return runFile(NODE, process.execPath, path.relative(ROOT, file));
}

const outcomes = ({ tests }) => tests.map(({ name, outcome }) => [name, outcome]);

describe('a file on Node', BY_NODE, () => {
  test('counts tests, not suites and not the tests within a test', async (t) => {
    const result = await ran(
      t,
      `const { describe, test } = require('node:test');
       test('plain', () => console.log('said'));
       test('outer', async (t) => { await t.test('inner', () => {}); await t.test('left out', { skip: 'why' }, () => {}); });
       test('skipped', { skip: 'no such thing' }, () => {});
       describe('suite', () => { describe('deeper', () => { test('one', () => {}); }); test('two', () => {}); });
       describe('whole', { skip: 'all of it' }, () => { test('never', () => {}); });`,
    );
    assert.deepEqual(outcomes(result), [
      ['plain', 'passed'],
      ['outer', 'passed'],
      ['skipped', 'skipped'],
      ['suite > deeper > one', 'passed'],
      ['suite > two', 'passed'],
    ]);
    assert.equal(result.tests[2].reason, 'no such thing');
    assert.deepEqual(
      result.tests[1].within.map(({ name, reason }) => [name, reason]),
      [['left out', 'why']],
    );
    assert.match(result.output, /said/);
  });

  test('a failure is one, wherever it is', async (t) => {
    const result = await ran(
      t,
      `const { after, describe, test } = require('node:test');
       test('outer', async (t) => { await t.test('inner', () => { throw new Error('inner went wrong'); }); });
       describe('suite', () => { test('one', () => { throw new Error('one went wrong'); }); test('two', () => {}); });
       describe('hook', () => { after(() => { throw new Error('the hook went wrong'); }); test('fine', () => {}); });`,
    );
    assert.deepEqual(outcomes(result), [
      ['outer', 'failed'],
      ['suite > one', 'failed'],
      ['suite > two', 'passed'],
      ['hook > fine', 'passed'],
      ['hook', 'failed'],
    ]);
    assert.match(result.tests[0].within[0].reason, /inner went wrong/);
    assert.match(result.tests[1].reason, /one went wrong/);
  });

  for (const [what, content] of [
    ['that cannot be loaded', `require('./not-there.cjs')`],
    [
      'that ends with an error',
      `require('node:test').test('fine', () => {}); process.on('exit', () => process.exit(3));`,
    ],
    ['that is killed', `require('node:test').test('it', () => process.kill(process.pid, 'SIGKILL'));`],
  ]) {
    test(`one ${what} has failed`, async (t) => {
      const { failed } = cellOf(await ran(t, content));
      assert.ok(failed > 0);
    });
  }

  test('finds the runtime first on the path', async (t) => {
    const print = `require('node:test').test('it', () => console.log('PATH=' + process.env.PATH));`;
    const { output } = await ran(t, print);
    assert.ok(output.includes(`PATH=${path.dirname(process.execPath)}${path.delimiter}`), output);
  });
});

test('a report of Bun is read', () => {
  const report = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="bun test" tests="5" failures="2" skipped="1">
  <testsuite name="a.test.cjs" file="a.test.cjs">
    <testcase name="says &quot;&lt;no&gt;&quot;" classname="" time="0.1" file="a.test.cjs" line="3" />
    <testcase name="left out" classname="" time="0" file="a.test.cjs">
      <skipped />
    </testcase>
    <testsuite name="suite" file="a.test.cjs">
      <testcase name="one" classname="suite" time="0.1">
        <failure type="AssertionError" message="1 !== 2">AssertionError: 1 !== 2&#10;      at x</failure>
      </testcase>
    </testsuite>
    <testcase name="never" classname="" time="20"><failure type="TimeoutError" message="test timed out" /></testcase>
  </testsuite>
</testsuites>`;
  assert.deepEqual(testsOf(report), [
    { name: 'says "<no>"', outcome: 'passed' },
    { name: 'left out', outcome: 'skipped' },
    { name: 'suite > one', outcome: 'failed', reason: 'AssertionError: 1 !== 2\n      at x' },
    { name: 'never', outcome: 'failed', reason: 'test timed out' },
  ]);
});

test('the matrix tells what failed and what was not run, and adds neither to what passed', () => {
  const [first, second, third] = RUNTIMES;
  const cell = (passed, failed, skipped, seconds) => ({ passed, failed, skipped, seconds });
  const results = {
    [first.id]: { files: { 'a.test.cjs': cell(3, 0, 1, 2), 'b.test.cjs': cell(4, 2, 0, 10) } },
    [second.id]: { files: { 'a.test.cjs': cell(3, 0, 0, 1) } },
    [third.id]: { notRun: 'there is no registry' },
  };
  assert.deepEqual(
    plain(results)
      .split('\n')
      .map((line) => line.split(/ {2,}/)),
    [
      ['test file', ...[first, second, third].map(titleOf)],
      ['a', '3 · 1 skipped (2.0 s)', '3 (1.0 s)', 'not run'],
      ['b', '2 FAILED · 4 (10 s)', '–', 'not run'],
      ['all', '2 FAILED · 7 · 1 skipped (12 s)', '3 (1.0 s), 1 of 2 files', 'not run'],
    ],
  );
  const text = markdown(results, { binary: 'abc', machine: 'a machine' });
  assert.match(text, new RegExp(`${titleOf(third)} was not run: there is no registry`));
  assert.match(text, /^\| all \| 2 FAILED · 7 · 1 skipped \(12 s\) \| 3 \(1\.0 s\), 1 of 2 files \| not run \|$/m);
});

test('each runtime goes by several names, and what is left out in CI says why', () => {
  assert.deepEqual(
    ['20.16', 'oldest', '26', 'current', 'node-24', '25.2.1', 'bun', '19'].map((name) => runtimeCalled(name)?.id),
    ['node-20.16', 'node-20.16', 'node-26', 'node-26', 'node-24', 'node-25.2', 'bun-1.4', undefined],
  );
  assert.equal(notAboutTheRuntime('queue.test.cjs'), false);
  assert.match(notAboutTheRuntime('worker-page.test.cjs'), /browser/);
});
