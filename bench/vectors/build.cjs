'use strict';
// Takes vectors in and prints how long that took, ms: a process of its own, so that what it leaves in memory is not
// counted with the index that is opened afterwards.

const { blocks } = require('./data.cjs');

async function main() {
  const [, , driverName, directory, count] = process.argv;
  const driver = require(`../drivers/${driverName}.cjs`);
  const vectors = await driver.openVectors(directory, Number(count));
  let building = 0;
  const timed = async (work) => {
    const startedAt = performance.now();
    await work();
    building += performance.now() - startedAt;
  };
  for (const { first, vectors: block } of blocks(Number(count))) await timed(() => vectors.add(first, block));
  await timed(() => vectors.built());
  await vectors.close();
  process.stdout.write(`\n${JSON.stringify({ building })}`);
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1);
});
