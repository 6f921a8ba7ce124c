'use strict';
// Help, and what a wrong command line is told.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { describe, test } = require('node:test');

const { dataDirectory } = require('../data-directory.cjs');
const { ROOT, run, saidOnce, succeeds } = require('./running.cjs');

describe('help and mistakes', () => {
  test('every command is in the help, with a help of its own', async (t) => {
    const { directory } = dataDirectory(t);
    const help = await succeeds(directory, ['--help']);
    const readme = fs.readFileSync(path.join(ROOT, 'README.md'), 'utf8');
    for (const name of 'doctor health setup import-chroma search queue export import backup restore check repair compact'.split(
      ' ',
    )) {
      assert.match(help, new RegExp(`^ {2}${name}\\b`, 'm'));
      assert.match(readme, new RegExp(`^\\| \`${name}\\b`, 'm'), `README: ${name}`);
    }
    for (const name of ['list', 'show', 'retry', 'purge', 'pause', 'resume'])
      assert.match(
        await succeeds(directory, ['queue', name, '--help']),
        new RegExp(`^Usage: claude-mem-native queue ${name}`),
      );
    assert.equal(await succeeds(directory, ['--version']), `${require('../../package.json').version}\n`);
    assert.deepEqual(fs.readdirSync(directory), []);
  });

  test('a wrong command line is told with the right one, and exit code 64', async (t) => {
    const { directory } = dataDirectory(t);
    for (const [args, said] of [
      [['healht'], /Did you mean health\?/],
      [['health', '--interval', '0'], /whole number from 1 to 86400/],
      [['search'], /missing required argument/],
      [['search', 'x', '--kind', 'rows'], /Allowed choices are all, observation, summary, prompt/],
      [['queue', 'retry'], /name the dead letters/],
      [['queue', 'purge', '--all'], /say --yes/],
      [['queue', 'purge', '--waiting', '--yes'], /say which with --session/],
      [['queue', 'pause', '--for', 'soon'], /such as 30d/],
    ]) {
      const { code, stdout, stderr } = await run(directory, args);
      assert.equal(code, 64, args.join(' '));
      assert.match(stderr, said);
      assert.equal(stdout, '');
    }
    assert.deepEqual(fs.readdirSync(directory), []);
  });

  test('a directory without a database is not made into one', async (t) => {
    const { directory } = dataDirectory(t);
    for (const args of [
      ['search', 'x'],
      ['queue', 'list'],
      ['check'],
      ['repair'],
      ['compact'],
      ['export', path.join(directory, 'e')],
      ['queue', 'pause'],
      ['backup', path.join(directory, 'b')],
    ]) {
      const ended = await run(directory, args);
      assert.equal(ended.code, 1);
      saidOnce(ended, /there is no claude-mem\.db in .*--data-dir/);
    }
    assert.deepEqual(fs.readdirSync(directory), []);
  });
});
