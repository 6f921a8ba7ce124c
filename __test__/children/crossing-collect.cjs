'use strict';
// Drops handles without disposing them. Their threads end, and settle what still waits.

const { CrossingProbe } = require('../fault/index.cjs');
const { collectGarbage } = require('../runtime.cjs');

async function main() {
  const waits = [];
  for (let i = 0; i < 20; i++) waits.push(new CrossingProbe().hold(true).catch((error) => error.code));
  // A finalizer runs some turns after the collection that has found its object.
  const collecting = setInterval(collectGarbage, 10);
  const codes = await Promise.all(waits);
  clearInterval(collecting);
  if (codes.every((code) => code === 'ERR_DISPOSED')) console.log('collected');
}

main();
