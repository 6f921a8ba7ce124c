'use strict';
// How good a ranking is, given which names answer the query.

/** Of those that answer, how many are among the first `depth`. */
function recall(ranked, answers, depth) {
  const found = ranked.slice(0, depth).filter((name) => answers.includes(name));
  return found.length / Math.min(answers.length, depth);
}

/** One over the place of the first that answers; 0 where none does. */
function reciprocalRank(ranked, answers) {
  const place = ranked.findIndex((name) => answers.includes(name));
  return place < 0 ? 0 : 1 / (place + 1);
}

/** Discounted cumulative gain of the first `depth`, as a part of what is possible. */
function ndcg(ranked, answers, depth) {
  const gain = (place) => 1 / Math.log2(place + 2);
  let sum = 0;
  let best = 0;
  ranked.slice(0, depth).forEach((name, place) => {
    if (answers.includes(name)) sum += gain(place);
  });
  for (let place = 0; place < Math.min(answers.length, depth); place += 1) best += gain(place);
  return sum / best;
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;

module.exports = { mean, ndcg, recall, reciprocalRank };
