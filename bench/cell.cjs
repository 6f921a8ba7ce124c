'use strict';
// One cell of the table, in a process of its own: runs a trial with a driver and prints its figures as JSON.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');

async function main() {
  const [, , trialName, driverName, variantIndex, quick] = process.argv;
  const trial = require(`./trials/${trialName}.cjs`);
  const driver = { ...require(`./drivers/${driverName}.cjs`), id: driverName };
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), 'claude-mem-native-bench-'));
  try {
    const variant = trial.variants[Number(variantIndex)];
    const figures = await trial.run(driver, { directory, variant, quick: quick === 'quick' });
    process.stdout.write(JSON.stringify(figures));
  } finally {
    fs.rmSync(directory, { recursive: true, force: true });
  }
}

main().catch((error) => {
  process.stderr.write(`${error.stack}\n`);
  process.exit(1); // whatever the trial has left open
});
