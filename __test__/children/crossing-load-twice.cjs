'use strict';
// Loads the module twice in one environment, as a cleared require cache does. Node gives each its own N-API
// environment.

const { CrossingProbe } = require('../fault/index.cjs');
const file = require.resolve('../fault/claude-mem-native-fault.node');
delete require.cache[file];
const again = require(file);

const probes = [new CrossingProbe(), new again.CrossingProbe()];
Promise.all(probes.map((probe) => probe.rows(['id', 'text'], 20_000, 10))).then((answers) => {
  for (const probe of probes) probe.dispose();
  if (answers.every((rows) => rows.length === 20_000)) console.log('settled');
});
