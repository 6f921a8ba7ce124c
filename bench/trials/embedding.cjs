'use strict';
// Texts that become vectors in a second of processor time, one thread, so that a busy machine does not decide (this
// module embeds documents at the lowest priority): of this module through a collection (its durable writes included),
// beside Python's onnxruntime with the same model file, and beside Chroma's way of padding. Both are asked in turns, for
// the same texts, a second each, and often: on a machine that others use, too, one round may take twice as long as the next.

const { corpus, KINDS } = require('../embedding/texts.cjs');
const { withoutModel } = require('../embedding/model.cjs');
const { installPython, openPeer } = require('../embedding/python.cjs');
const { observe } = require('../observe.cjs');
const { median } = require('../statistics.cjs');

const TITLES = {
  short: 'short texts (12 to 20 words)',
  long: 'long texts (70 to 150 words)',
  longest: 'texts cut at 256 tokens',
};
// The peers. Padding is many times slower: fewer texts tell as much.
const WAYS = {
  sorted: { peer: 'onnxruntime (Python)', rounds: 31, texts: 64, seed: 0, faster: { short: 1.1, long: 1.1 } },
  padded: { peer: "Chroma's way (Python)", rounds: 7, texts: 24, seed: 100, faster: { short: 15, long: 2 } },
};

/** Of each kind what this module does, and what the peer does in turns with it. */
const measuresOf = ([way, { peer, faster }]) =>
  Object.keys(KINDS).flatMap((kind) => [
    [
      `${way} ${kind}`,
      {
        title: `${TITLES[kind]}, in turns with ${peer}`,
        unit: 'texts/s',
        better: 'more',
        beside: `${way} ${kind} peer`,
        ...(faster[kind] ? { wanted: { faster: faster[kind] } } : {}),
      },
    ],
    [`${way} ${kind} peer`, { title: `${peer}, ${TITLES[kind]}`, unit: 'texts/s', better: 'more' }],
  ]);

/** Rates of both by kind: medians of the rounds. */
async function inTurns(ours, peer, { rounds, texts, seed }, quick) {
  const measured = {};
  // Other texts each time: those that are known might be found in place of being embedded.
  const some = (round, kind) => {
    const all = corpus(seed + round, quick)[kind];
    return all.slice(0, Math.min(texts, all.length / 4));
  };
  for (const kind of Object.keys(KINDS)) {
    const rates = { ours: [], peer: [] };
    await ours.prepare(some(0, kind));
    await peer?.prepare(some(0, kind));
    for (let round = 1; round <= (quick ? 1 : rounds); round += 1) {
      const turns = [
        async () => rates.ours.push(await ours.rate(some(round, kind))),
        async () => peer && rates.peer.push(await peer.rate(some(round, kind))),
      ];
      for (const turn of round % 2 ? turns : turns.reverse()) await turn();
    }
    measured[kind] = median(rates.ours);
    if (peer) measured[`${kind} peer`] = median(rates.peer);
  }
  return measured;
}

module.exports = {
  title: 'Embedding, one thread: texts in a second of processor time',
  install: installPython,
  unavailable: withoutModel,
  accepts: ({ id }) => id === 'native',
  // Its rounds are the repetitions.
  repetitions: 1,
  variants: [{ title: '' }],
  measures: Object.fromEntries(Object.entries(WAYS).flatMap(measuresOf)),
  async run(driver, { directory, quick }) {
    const measures = {};
    const observed = await observe(async () => {
      const ours = await driver.openEmbedding(directory);
      for (const [way, settings] of Object.entries(WAYS)) {
        const peer = process.env.CLAUDE_MEM_BENCH_NO_PEERS ? null : openPeer(way);
        for (const [kind, rate] of Object.entries(await inTurns(ours, peer, settings, quick)))
          measures[`${way} ${kind}`] = rate;
        await peer?.close();
      }
      await ours.close();
    });
    return { measures, process: observed.process };
  },
};
