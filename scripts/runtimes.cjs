'use strict';
// Runs the Node test files on other runtimes and prints what became of them, file by runtime.
//
//   npm run runtimes                         all files on all runtimes
//   npm run runtimes -- oldest bun           on these: 20.16, 22, 24, 25.2, 26, bun, oldest, current
//   npm run runtimes -- --files queue,exit   only files whose path contains one of the words
//   npm run runtimes -- --ci                 without the files that are not about the runtime
//   npm run runtimes -- --jobs 2             so many files at a time
//   npm run runtimes -- --readme             and writes the matrix into README.md

const { runScript } = require('./script.cjs');

runScript(async () => {
  const { parseArgs } = require('node:util');
  const { Missing } = require('./requirements.cjs');
  const { RUNTIMES, runtimeCalled } = require('./runtimes/versions.cjs');

  const options = {
    files: { type: 'string' },
    jobs: { type: 'string' },
    ci: { type: 'boolean' },
    readme: { type: 'boolean' },
  };
  let given;
  try {
    given = parseArgs({ options, allowPositionals: true });
  } catch (error) {
    throw new Missing(error.message);
  }
  const runtimes = given.positionals.map((name) => {
    const found = runtimeCalled(name);
    if (!found)
      throw new Missing(`there is no runtime "${name}"; there are ${RUNTIMES.map(({ id }) => id).join(', ')}`);
    return found;
  });
  const jobs = Number(given.values.jobs ?? 1);
  if (!(Number.isInteger(jobs) && jobs >= 1))
    throw new Missing(`--jobs must be a number from 1, is ${given.values.jobs}`);

  await require('./install.cjs').install();
  const { ensureFaultModule, ensureModule } = require('./native.cjs');
  await ensureModule();
  await ensureFaultModule();
  await require('./embedding-model.cjs').ensureModel();

  await require('./runtimes/main.cjs').runMatrix({
    runtimes: runtimes.length > 0 ? runtimes : RUNTIMES,
    words: given.values.files?.split(',') ?? [],
    onlyRuntime: given.values.ci === true,
    readme: given.values.readme === true,
    jobs,
  });
});
