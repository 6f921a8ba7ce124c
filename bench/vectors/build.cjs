'use strict';
// Takes vectors in and prints how long that took, ms: a process of its own, so that what it leaves in memory is not
// counted with the index that is opened afterwards.

const path = require('node:path');
const { promisify } = require('node:util');
const execFile = promisify(require('node:child_process').execFile);
const { blocks } = require('./data.cjs');
const { metadata } = require('./metadata.cjs');

/** Has a process of its own take `count` vectors in, with metadata where that is asked for; how long it took, ms. */
async function build(driver, directory, count, { withMetadata = false } = {}) {
  const args = [__filename, driver.id, directory, String(count), withMetadata ? 'metadata' : ''];
  const { stdout } = await execFile(process.execPath, args, { maxBuffer: 2 ** 24 });
  return JSON.parse(stdout.trim().split('\n').at(-1)).building;
}

async function main() {
  const [, , driverName, directory, number, kind] = process.argv;
  const driver = require(path.join(__dirname, '../drivers', `${driverName}.cjs`));
  const count = Number(number);
  const withMetadata = kind === 'metadata';
  const vectors = await driver.openVectors(directory, count, { withMetadata });
  let building = 0;
  const timed = async (work) => {
    const startedAt = performance.now();
    // A peer in a process of its own has measured itself.
    building += (await work()) ?? performance.now() - startedAt;
  };
  for (const { first, vectors: block } of blocks(count)) {
    const beside = withMetadata ? block.map((_, place) => metadata(first + place, count)) : undefined;
    await timed(() => vectors.add(first, block, beside));
  }
  await timed(() => vectors.built());
  await vectors.close();
  process.stdout.write(`\n${JSON.stringify({ building })}`);
}

if (require.main === module) {
  main().catch((error) => {
    process.stderr.write(`${error.stack}\n`);
    process.exit(1);
  });
}

module.exports = { build };
