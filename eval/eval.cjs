'use strict';
// Judges search by the set of this folder: stores its corpus, has it indexed, asks every query in every way, and prints
// recall@10, MRR and nDCG@10 for each group. Ends with 1 where hybrid search is more than one point (0.01 of nDCG@10)
// behind the best other way in a group. The same as JSON: eval/results.json.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { openMemory } = require('..');
const { notes } = require('./corpus.cjs');
const groups = require('./queries.cjs');
const { mean, ndcg, recall, reciprocalRank } = require('./measures.cjs');

const RESULTS = path.join(__dirname, 'results.json');
const PROJECT = 'eval';
const DEPTH = 10;
/** Of nDCG: by so much hybrid may be behind the best way of a group. */
const TOLERANCE = 0.01;

/** Stores the corpus and waits until all of it is indexed; which row is which note. */
async function store(memory) {
  const id = await memory.store.createSDKSession('eval', PROJECT, 'evaluation');
  await memory.store.updateSDKSessionId(id, 'eval-sdk');
  const names = new Map();
  for (const [name, title, narrative, facts, concepts, files] of notes) {
    const note = {
      type: 'discovery',
      title,
      subtitle: '',
      narrative,
      facts,
      concepts,
      files_read: [],
      files_modified: files,
    };
    const stored = await memory.store.storeObservation('eval-sdk', PROJECT, note, 1);
    names.set(stored.id, name);
  }
  const report = await memory.vectors.sync();
  return { names, report };
}

/** The ways to search: names of the rows that each finds, the best first; null where there is none. */
function ways(memory, names) {
  const named = (rows) => rows.map((row) => names.get(row.id));
  const mode = (wanted) => async (query) => {
    const answer = await memory.search.observations(query, { mode: wanted, limit: 100, project: PROJECT });
    return answer.mode === wanted ? named(answer.results) : null;
  };
  return {
    phrase: async (query) => named(await memory.store.searchObservations(query, { limit: 100, project: PROJECT })),
    keyword: mode('keyword'),
    semantic: mode('semantic'),
    hybrid: mode('hybrid'),
  };
}

/** Every group in every way. */
async function judge(memory, names) {
  const results = {};
  for (const [group, queries] of Object.entries(groups)) {
    results[group] = {};
    for (const [way, search] of Object.entries(ways(memory, names))) {
      const each = [];
      for (const [query, answers] of queries) {
        const ranked = await search(query);
        if (ranked === null) break;
        each.push({
          query,
          recall: recall(ranked, answers, DEPTH),
          mrr: reciprocalRank(ranked, answers),
          ndcg: ndcg(ranked, answers, DEPTH),
        });
      }
      if (each.length < queries.length) continue;
      const of = (measure) => mean(each.map((one) => one[measure]));
      const missed = each.filter((one) => one.recall < 1).map((one) => one.query);
      results[group][way] = { recall: of('recall'), mrr: of('mrr'), ndcg: of('ndcg'), missed };
    }
  }
  return results;
}

/** Groups in which hybrid search is behind another way. */
function behind(results) {
  return Object.entries(results).flatMap(([group, { hybrid, ...others }]) => {
    if (!hybrid) return [];
    const [way, best] = Object.entries(others).reduce((a, b) => (b[1].ndcg > a[1].ndcg ? b : a));
    return hybrid.ndcg + TOLERANCE < best.ndcg
      ? [`${group}: hybrid ${hybrid.ndcg.toFixed(3)}, ${way} ${best.ndcg.toFixed(3)}`]
      : [];
  });
}

function print(results) {
  console.log(`${'group'.padEnd(20)}${'way'.padEnd(10)}recall@10    MRR  nDCG@10`);
  for (const [group, ways] of Object.entries(results)) {
    for (const [way, { recall, mrr, ndcg }] of Object.entries(ways)) {
      const figures = [recall, mrr, ndcg].map((figure) => figure.toFixed(3));
      console.log(
        `${group.padEnd(20)}${way.padEnd(10)}${figures[0].padStart(9)}${figures[1].padStart(7)}${figures[2].padStart(9)}`,
      );
    }
  }
}

async function main() {
  const dataDir = fs.mkdtempSync(path.join(os.tmpdir(), 'claude-mem-native-eval-'));
  try {
    const memory = await openMemory({ dataDir, indexing: 'manual' });
    try {
      const { names } = await store(memory);
      const { pendingDocuments, mode, reason } = await memory.search.observations('a', { limit: 1 });
      if (mode !== 'hybrid')
        console.log(`Without a model only words can be judged: ${reason}\n(npm run model puts one in place.)\n`);
      const results = await judge(memory, names);
      print(results);
      const queries = Object.values(groups).flat().length;
      const summary = { notes: notes.length, queries, pendingDocuments, groups: results };
      fs.writeFileSync(RESULTS, `${JSON.stringify(summary, null, 2)}\n`);
      console.log(`\n${notes.length} notes, ${queries} queries; written to ${path.relative(process.cwd(), RESULTS)}`);
      const worse = behind(results);
      for (const line of worse) console.log(`Hybrid search is behind: ${line}`);
      if (worse.length > 0) process.exitCode = 1;
    } finally {
      await memory.dispose();
    }
  } finally {
    fs.rmSync(dataDir, { recursive: true, force: true, maxRetries: 5 });
  }
}

if (require.main === module) main();

module.exports = { behind, judge, store };
