'use strict';
// Runs each example of README.md as it stands, as a user's program would run: in a directory of its own where
// the package is installed. What a `// → ` comment says must be what its line prints.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { execFile } = require('node:child_process');
const { describe, test } = require('node:test');
const { promisify } = require('node:util');

const { errorCodes } = require('./error-codes.cjs');
const { removeTree } = require('./remove-tree.cjs');
const { SAME_CONSOLE } = require('./runtime.cjs');

const ROOT = path.join(__dirname, '..');

/** The js blocks of a Markdown text, each with the heading above it. */
function examples(markdown) {
  const found = [];
  let heading = '';
  let code = null;
  for (const line of markdown.split(/\r?\n/)) {
    if (code) {
      if (line === '```') {
        found.push({ heading, code: code.join('\n') });
        code = null;
      } else {
        code.push(line);
      }
    } else if (line === '```js') {
      code = [];
    } else if (/^#+ /.test(line)) {
      heading = line.replace(/^#+ /, '');
    }
  }
  return found;
}

/** What the comments say that the program prints, in order. */
function promisedOutput(code) {
  return [...code.matchAll(/\/\/ → (.*)$/gm)].map(([, text]) => text.trim());
}

describe('examples of README.md', () => {
  const found = examples(fs.readFileSync(path.join(ROOT, 'README.md'), 'utf8'));

  test('there is one for each part', () => {
    assert.ok(found.length >= 8, `${found.length} examples`);
    for (const { heading, code } of found)
      assert.ok(promisedOutput(code).length > 0, `"${heading}" promises no output`);
  });

  for (const { heading, code } of found) {
    test(heading, async (t) => {
      const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'claude-mem-native-readme-'));
      t.after(() => removeTree(directory));
      fs.mkdirSync(path.join(directory, 'node_modules'));
      fs.symlinkSync(ROOT, path.join(directory, 'node_modules', 'claude-mem-native'), 'junction');
      fs.writeFileSync(path.join(directory, 'example.mjs'), code);

      const { stdout, stderr } = await promisify(execFile)(process.execPath, [...SAME_CONSOLE, 'example.mjs'], {
        cwd: directory,
        timeout: 60_000,
      });
      assert.equal(stderr, '');
      assert.deepEqual(stdout.trimEnd().split('\n'), promisedOutput(code));
    });
  }
});

/** The first column of the table below the line that begins with `above`: names in backquotes. */
function tableBelow(markdown, above) {
  const lines = markdown.split(/\r?\n/);
  const start = lines.findIndex((line) => line.startsWith(above));
  assert.notEqual(start, -1, `no line begins with "${above}"`);
  const header = lines.findIndex((line, index) => index > start && line.startsWith('|'));
  const names = [];
  for (let row = header + 2; lines[row].startsWith('|'); row += 1) names.push(/`([^`]+)`/.exec(lines[row])[1]);
  return names.sort();
}

describe('tables of README.md', () => {
  const markdown = fs.readFileSync(path.join(ROOT, 'README.md'), 'utf8');
  const types = fs.readFileSync(path.join(ROOT, 'index.d.ts'), 'utf8');
  const membersOf = (name) => {
    const [, body] = new RegExp(`^export interface ${name} \\{\\n([^]*?)^\\}`, 'm').exec(types);
    return [...body.matchAll(/^ {2}(\w+)\??:/gm)].map(([, member]) => member).sort();
  };

  test('options of openMemory', () => {
    assert.deepEqual(tableBelow(markdown, '## Options of `openMemory`'), membersOf('OpenOptions'));
  });

  test('options of queue.consume', () => {
    assert.deepEqual(tableBelow(markdown, 'Options of `queue.consume'), membersOf('ConsumeOptions'));
  });

  test('error codes', () => {
    assert.deepEqual(tableBelow(markdown, '## Errors'), errorCodes());
  });
});
