'use strict';
// The reference database with a vector for every document, or a part of it. Indexing takes minutes, so it is done once
// and kept in bench/results; what was interrupted is gone on with.

const fs = require('node:fs');
const path = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');
const { openMemory } = require('..');
const { copyReference, withoutReference } = require('./data.cjs');
const { modelFile, withoutModel } = require('./embedding/model.cjs');
const { observation } = require('./payload.cjs');

const PAGE = 100;

const whyNot = () => withoutReference() ?? withoutModel();

/** Ids of a project's observations, newest first. */
async function observationsOf(memory, project) {
  const ids = [];
  for (let page; page?.hasMore ?? true;) {
    page = await memory.pages.getObservations(ids.length, PAGE, project);
    ids.push(...page.items.map(({ id }) => id));
  }
  return ids;
}

/** Leaves so many observations: whole projects, the small ones first, with their summaries and prompts. */
async function reduce(memory, most) {
  const projects = [];
  for (const project of await memory.store.getAllProjects())
    projects.push({ project, ids: await observationsOf(memory, project) });
  projects.sort((a, b) => a.ids.length - b.ids.length);
  let left = most;
  for (const { project, ids } of projects) {
    if (left === 0) await memory.deleteProject(project);
    else if (ids.length > left) await memory.deleteObservations(ids.slice(left));
    left = Math.max(0, left - ids.length);
  }
}

/** A few rows in place of the reference database: enough to see whether a trial runs. */
async function makeFew(directory) {
  const memory = await openMemory({ dataDir: directory, indexing: 'manual' });
  const sessionDbId = await memory.store.createSDKSession('session', 'bench', 'a prompt');
  await memory.store.commitResponse({ sessionDbId, observations: [observation(1), observation(2)] });
  await memory.dispose();
}

/**
 * Puts the reference database into a directory, with so many of its observations where that is a number; a few rows
 * for a quick run.
 */
async function copyPart(directory, observations, quick) {
  if (quick) return makeFew(directory);
  copyReference(directory);
  if (observations === undefined) return;
  const memory = await openMemory({ dataDir: directory, indexing: 'manual' });
  await reduce(memory, observations);
  await memory.dispose();
}

/** Makes every vector that a directory owes, and the graph of them. Resolves how many documents there are. */
async function index(directory) {
  const memory = await openMemory({ dataDir: directory, indexing: 'manual', modelDir: path.dirname(modelFile()) });
  const { documents, pending, reason } = await memory.vectors.sync();
  await memory.vectors.search({ text: 'loads them', k: 1 });
  const kept = () => fs.readdirSync(path.join(directory, 'native')).some((file) => file.endsWith('.usearch'));
  for (let answers = 'rebuilding'; answers === 'rebuilding' || (answers === 'graph' && !kept()); await sleep(100))
    ({ answers } = await memory.vectors.status());
  await memory.dispose();
  if (pending > 0) throw new Error(`${pending} documents have no vector: ${reason}`);
  return documents;
}

/** Puts what `copyPart` makes into a directory, with all its vectors. Resolves how many documents there are. */
async function copyIndexed(directory, observations, quick) {
  if (quick) await makeFew(directory);
  else {
    const kept = path.join(__dirname, `results/indexed-${observations ?? 'all'}`);
    if (!fs.existsSync(kept)) {
      const making = `${kept}.making`;
      if (!fs.existsSync(making)) {
        // Renamed when it is whole: what is found under this name is gone on with.
        const part = `${making}.part`;
        fs.rmSync(part, { recursive: true, force: true });
        fs.mkdirSync(part, { recursive: true });
        await copyPart(part, observations, false);
        fs.renameSync(part, making);
      }
      await index(making);
      fs.renameSync(making, kept);
    }
    fs.cpSync(kept, directory, { recursive: true });
  }
  // Where it was kept by another version of this module something may be owed again.
  return index(directory);
}

/** The variants of a trial: a part of it always, all of it where the trial is named; or what `--observations` says. */
function variants() {
  const given = process.env.CLAUDE_MEM_BENCH_OBSERVATIONS;
  const part = (observations) => ({ title: `${observations.toLocaleString('en')} observations`, observations });
  if (given) return [part(Number(given))];
  return [part(300), { title: 'the whole reference database', named: true }];
}

module.exports = { copyIndexed, copyPart, variants, whyNot };
