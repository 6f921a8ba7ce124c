'use strict';
// The guide is true: its links lead somewhere, the methods, codes and options that it names exist, and its programs
// print what they say.

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
const DOCUMENTS = [
  'README.md',
  'CHANGELOG.md',
  'CONTRIBUTING.md',
  'SECURITY.md',
  ...fs
    .readdirSync(path.join(ROOT, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
];
const GUIDE = DOCUMENTS.filter((name) => name.startsWith('docs/'));

const read = (name) => fs.readFileSync(path.join(ROOT, name), 'utf8').replaceAll('\r\n', '\n');
const withoutCode = (markdown) => markdown.replace(/^```[^]*?^```$/gm, '');

/** The anchors of a text's headings, as GitHub makes them. */
function anchors(markdown) {
  return [...withoutCode(markdown).matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
    heading
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

/** The body of a class or interface of index.d.ts. */
function bodyOf(types, name) {
  return new RegExp(`^export (?:declare class|interface) ${name}\\b[^{]*\\{\\n([^]*?)^\\}`, 'm').exec(types)?.[1] ?? '';
}

for (const name of DOCUMENTS) {
  test(`links of ${name}`, () => {
    const markdown = read(name);
    for (const [, target] of withoutCode(markdown).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(target)) continue;
      const [file, anchor] = target.split('#');
      const place = path.join(ROOT, path.dirname(name), file);
      assert.ok(file === '' || fs.existsSync(place), `${name} links to ${target}, which is not there`);
      if (anchor === undefined) continue;
      const there = file === '' ? markdown : fs.readFileSync(place, 'utf8');
      assert.ok(anchors(there).includes(anchor), `${name} links to ${target}, a heading that is not there`);
    }
  });
}

describe('names in the guide', () => {
  const types = read('index.d.ts');
  const classOf = Object.fromEntries(
    [...bodyOf(types, 'Memory').matchAll(/^ {2}get (\w+)\(\): (\w+)/gm)].map(([, getter, type]) => [getter, type]),
  );
  const codes = errorCodes();
  const options = [...['OpenOptions', 'ConsumeOptions', 'ReleaseOptions', 'PauseOptions', 'CommitAnswer']].flatMap(
    (name) => [...bodyOf(types, name).matchAll(/^ {2}(\w+)\??:/gm)].map(([, option]) => option),
  );

  for (const name of GUIDE) {
    test(name, () => {
      const markdown = read(name);
      for (const [call, owner, method] of markdown.matchAll(/\bmemory\.(?:(\w+)\.)?(\w+)\(/g)) {
        const type = owner === undefined ? 'Memory' : classOf[owner];
        assert.ok(type, `${call}: a memory has no ${owner}`);
        assert.match(bodyOf(types, type), new RegExp(`^ {2}${method}\\(`, 'm'), `${call}: ${type} has no such method`);
      }
      for (const [code] of markdown.matchAll(/\bERR_[A-Z_]+\b/g)) assert.ok(codes.includes(code), code);
      for (const [, option] of markdown.matchAll(/`(max[A-Z]\w*|\w+(?:Ms|Bytes|Budget))`/g)) {
        const known = options.includes(option) || new RegExp(`^ {2}${option}\\??:`, 'm').test(types);
        assert.ok(known, `\`${option}\` is no option and no figure`);
      }
    });
  }

  test('each method of the store and of the lists, and each route of the worker, has its place', () => {
    const reference = read('docs/methods-and-routes.md');
    for (const type of ['Store', 'Pages']) {
      for (const [, method] of bodyOf(types, type).matchAll(/^ {2}(\w+)\(/gm)) {
        assert.match(reference, new RegExp(`\\b${method}\\b`), `${type}.${method}`);
      }
    }
    const routes = fs.readdirSync(path.join(ROOT, 'examples/worker/routes'));
    const declared = routes.flatMap((file) => [
      ...read(`examples/worker/routes/${file}`).matchAll(/router\.(get|post|delete)\(\s*'([^']+)'/g),
    ]);
    assert.ok(declared.length > 20);
    // Those that 6.0.2 does not have.
    const ours = ['/:id/poke', '/sessions', '/api/metrics/history'];
    for (const [, verb, route] of declared.filter(([, , route]) => !ours.includes(route))) {
      assert.match(reference, new RegExp(`\`${verb.toUpperCase()} [^\`]*${route}\``), `${verb} ${route}`);
    }
  });

  test('what is checked is there to be checked', () => {
    const all = GUIDE.map(read).join('\n');
    assert.ok([...all.matchAll(/\bmemory\.\w+\.\w+\(/g)].length > 20);
    assert.ok(options.length > 40 && codes.length > 10 && Object.keys(classOf).length >= 6);
  });
});

describe('programs of the guide', () => {
  for (const name of GUIDE) {
    const programs = [...read(name).matchAll(/^```js\n([^]*?)^```$/gm)].map(([, code]) => code);
    for (const [at, code] of programs.filter((text) => text.startsWith('import ')).entries()) {
      test(`${name}, ${at + 1}`, async (t) => {
        const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'claude-mem-native-docs-'));
        t.after(() => removeTree(directory));
        fs.mkdirSync(path.join(directory, 'node_modules'));
        fs.symlinkSync(ROOT, path.join(directory, 'node_modules', 'claude-mem-native'), 'junction');
        fs.writeFileSync(path.join(directory, 'example.mjs'), code);
        const run = promisify(execFile)(process.execPath, [...SAME_CONSOLE, 'example.mjs'], {
          cwd: directory,
          timeout: 120_000,
        });
        const { stdout, stderr } = await run;
        assert.equal(stderr, '');
        const promised = [...code.matchAll(/\/\/ → (.*)$/gm)].map(([, text]) => text.trim());
        assert.ok(promised.length > 0, 'promises no output');
        assert.deepEqual(stdout.trimEnd().split('\n'), promised);
      });
    }
  }
});
