'use strict';
// Texts to embed: prose of the evaluation's notes, cut into pieces of some length.

const { notes } = require('../../eval/corpus.cjs');

const words = notes.flatMap(([, title, narrative, facts]) => [title, narrative, ...facts].join(' ').split(/\s+/));

/** `count` texts of `least` to `most` words, others for each `seed`. */
function texts(count, [least, most], seed) {
  return Array.from({ length: count }, (_, index) => {
    const length = least + ((index * 7) % (most - least + 1));
    const start = (seed * 104_729 + index * 7_919) % (words.length - length);
    return words.slice(start, start + length).join(' ');
  });
}

/** Lengths in words: a fact or a prompt, a narrative, and what is cut at the model's 256 tokens. */
const KINDS = {
  short: { count: 256, words: [12, 20] },
  long: { count: 96, words: [70, 150] },
  longest: { count: 48, words: [230, 260] },
};

/** Texts of each kind; few of them for a quick run. */
const corpus = (seed, quick) =>
  Object.fromEntries(
    Object.entries(KINDS).map(([kind, { count, words: lengths }]) => [kind, texts(quick ? 4 : count, lengths, seed)]),
  );

module.exports = { KINDS, corpus };
