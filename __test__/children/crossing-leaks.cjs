'use strict';
// Rounds of everything that crosses; afterwards the heaps and the number of handles are where they were.

const { CrossingProbe } = require('../fault/index.cjs');
const { collectGarbage } = require('../runtime.cjs');

const MEGABYTE = 1 << 20;

async function round(probe) {
  const settled = [probe.rows(['id', 'title', 'text'], 10, 20), probe.timeline(3), probe.list(3), probe.row(['id'], 1)];
  for (let i = 0; i < 50; i++) settled.push(probe.echo(i));
  const failed = [probe.fail(), probe.echo('x'), probe.json('{')].map((promise) => promise.catch(() => {}));
  await Promise.all([...settled, ...failed]);
}

async function sample() {
  for (let i = 0; i < 5; i++) {
    collectGarbage();
    await new Promise(setImmediate);
  }
  return process.memoryUsage();
}

async function main() {
  const probe = new CrossingProbe();
  for (let i = 0; i < 1_000; i++) await round(probe);
  const before = await sample();
  for (let i = 0; i < 10_000; i++) await round(probe);
  const after = await sample();
  probe.dispose();
  const grown = { heap: after.heapUsed - before.heapUsed, rss: after.rss - before.rss };
  // 10,000 rounds of one leaked handle or reference each would be megabytes.
  if (grown.heap > MEGABYTE / 2 || grown.rss > 24 * MEGABYTE) console.log(JSON.stringify(grown));
  else console.log('steady');
}

main();
