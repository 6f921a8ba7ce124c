'use strict';
// Leaves one promise pending and nothing else. Prints `settled` where the process has waited for it.

const { CrossingProbe } = require('../fault/index.cjs');

const probe = new CrossingProbe();
// A probe that is garbage ends its waits; this one is to be held until the end.
globalThis.probe = probe;
const kind = process.argv[2];
if (kind === 'wait') probe.hold().finally(() => console.log('settled'));
if (kind === 'operation') probe.slow(1, 300).then(() => console.log('settled'));
if (kind === 'wait-then-operation') {
  probe.hold().finally(() => console.log('wait settled'));
  probe.slow(1, 300).then(() => console.log('settled'));
}
if (kind === 'large-answer') probe.rows(['id', 'text'], 50_000, 10).then(() => console.log('settled'));
