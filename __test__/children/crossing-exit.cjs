'use strict';
// Ends with thousands of promises of each kind in flight, some of them half built.

const { CrossingProbe } = require('../fault/index.cjs');

const probes = [new CrossingProbe(), new CrossingProbe(true)];
for (let i = 0; i < 2_500; i++) {
  for (const probe of probes) {
    probe.echo(i);
    probe.hold();
    if (i % 25 === 0) probe.rows(['id', 'title', 'text'], 2_000, 20);
    if (i % 50 === 0) probe.fail(); // would be an unhandled rejection if it settled after the exit began
  }
}
if (process.argv[2] === 'at-once') process.exit(0);
process.on('unhandledRejection', () => {}); // here some do settle before
setTimeout(() => process.exit(0), Number(process.argv[2]));
