'use strict';
// Texts that become vectors in a second of processor time, one thread, so that a busy machine does not decide (this
// module embeds documents at the lowest priority): of this module through a collection (its durable writes included),
// beside Python's onnxruntime with the same model file, and beside Chroma's way of padding.

const { corpus, KINDS } = require('../embedding/texts.cjs');
const { withoutModel } = require('../embedding/model.cjs');
const { installPython } = require('../embedding/python.cjs');
const { observe } = require('../observe.cjs');

const ROUNDS = 2;
const TITLES = {
  short: 'short texts (12 to 20 words)',
  long: 'long texts (70 to 150 words)',
  longest: 'texts cut at 256 tokens',
};
const FASTER = { sorted: { short: 1.1, long: 1.1 }, padded: { short: 15, long: 2 } };

/** The measures of a peer: the same figures of ours are compared with each of the two. */
const measuresOf = (way, peer, title) =>
  Object.fromEntries(
    Object.keys(KINDS).map((kind) => [
      `${way} ${kind}`,
      {
        title: `${TITLES[kind]}${title}`,
        unit: 'texts/s',
        better: 'more',
        peer,
        ...(FASTER[way][kind] ? { wanted: { faster: FASTER[way][kind] } } : {}),
      },
    ]),
  );

module.exports = {
  title: 'Embedding, one thread: texts in a second of processor time',
  install: installPython,
  unavailable: withoutModel,
  accepts: (driver) => driver.provides.some((what) => what.startsWith('embedding')),
  repetitions: 3,
  variants: [{ title: '' }],
  measures: {
    ...measuresOf('sorted', 'onnxruntime', ''),
    ...measuresOf('padded', 'chroma-padding', ', beside padding'),
  },
  async run(driver, { directory, quick }) {
    const { result, process } = await observe(() =>
      driver.embeddingRates(directory, (seed) => corpus(seed, quick), quick ? 1 : ROUNDS),
    );
    const measures = {};
    for (const [kind, rate] of Object.entries(result)) {
      if (driver.provides.includes('embedding')) measures[`sorted ${kind}`] = rate;
      if (driver.provides.includes('embedding padded')) measures[`padded ${kind}`] = rate;
    }
    return { measures, process };
  },
};
