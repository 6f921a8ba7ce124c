'use strict';
// Installs, builds and runs all tests: Rust, types, Node. `npm test -- queue` runs only the Node test files
// whose path contains that word.

const { runScript } = require('./script.cjs');

runScript(async () => {
  const fs = require('node:fs');
  const path = require('node:path');
  const { ROOT, run, say, seconds, toolPath } = require('./steps.cjs');
  const { cargoEnvironment, ensureFaultModule, ensureModule } = require('./native.cjs');

  const words = process.argv.slice(2);
  await require('./install.cjs').install();
  await ensureModule();
  await ensureFaultModule();
  await require('./embedding-model.cjs').ensureModel();

  function testFiles(directory) {
    return fs
      .readdirSync(directory, { withFileTypes: true })
      .flatMap((entry) => {
        const place = path.join(directory, entry.name);
        if (entry.isDirectory()) return entry.name === 'node_modules' ? [] : testFiles(place);
        return /\.test\.[cm]js$/.test(entry.name) ? [path.relative(ROOT, place)] : [];
      })
      .filter((file) => words.length === 0 || words.some((word) => file.includes(word)))
      .sort();
  }

  const results = [];
  async function phase(title, command, args, options) {
    say(`${title} …`);
    const startedAt = performance.now();
    const status = await run(command, args, options);
    results.push({ title, passed: status === 0, time: seconds(startedAt) });
  }

  const files = testFiles(path.join(ROOT, '__test__'));
  if (files.length === 0) throw new Error(`no test file in __test__ matches ${words.join(' or ')}`);

  if (words.length === 0) {
    await phase('Rust tests', 'cargo', ['test', '--release'], { env: cargoEnvironment() });
    for (const resolution of fs
      .readdirSync(path.join(ROOT, '__test__', 'types'))
      .filter((name) => /^tsconfig\..*\.json$/.test(name))) {
      const project = path.join('__test__', 'types', resolution);
      await phase(`type test, ${resolution}`, process.execPath, [toolPath('typescript', 'tsc'), '--project', project]);
    }
  }
  // A file that hangs is ended after ten minutes and counts as failed.
  await phase(`Node tests, ${files.length} files`, process.execPath, [
    '--test',
    '--test-reporter=spec',
    '--test-timeout=600000',
    ...files,
  ]);

  say('results:');
  for (const { title, passed, time } of results) {
    process.stdout.write(`  ${passed ? 'passed' : 'FAILED'}  ${title} (${time})\n`);
  }
  if (results.some(({ passed }) => !passed)) process.exitCode = 1;
});
