'use strict';
// search "text": what the memory has on it, beside a running worker.

const { Option } = require('commander');
const { asClient } = require('../opening.cjs');
const { paint, plain, print, printJson, shortened } = require('../output.cjs');
const { wholeNumber } = require('../arguments.cjs');

const KINDS = { all: 'all', observation: 'observations', summary: 'summaries', prompt: 'prompts' };

const titleOf = (row) => row.title ?? row.request ?? row.prompt_text ?? row.completed ?? row.text ?? '';

function show({ results, total, mode, reason }) {
  for (const row of results) {
    const score = row.score === null ? '' : row.score.toFixed(2);
    const where = [row.created_at?.slice(0, 10), row.project, row.type].filter(Boolean).map(plain).join(' · ');
    print(`${paint('bold', shortened(titleOf(row), 100))}  ${paint('dim', score)}`);
    print(`  ${paint('dim', `${row.kind} ${row.id} · ${where}`)}`);
    const snippet = row.explain?.snippet?.text;
    if (snippet && plain(snippet) !== plain(titleOf(row))) print(`  ${shortened(snippet, 160)}`);
  }
  if (results.length === 0) print('nothing was found');
  const note = `${results.length} of ${total}, by ${mode}${reason ? ` (${reason})` : ''}`;
  process.stderr.write(`${paint('dim', note, process.stderr)}\n`);
}

/**
 * The tables' own text index, for a directory that no owner has indexed yet: a client makes no index. It finds the query
 * as a phrase, the newest first across the kinds.
 */
async function inTables(store, query, { kind, limit, offset, project }) {
  const asked = { limit: limit + offset, ...(project !== undefined && { project }) };
  const searches = {
    observation: () => store.searchObservations(query, asked),
    summary: () => store.searchSessions(query, asked),
    prompt: () => store.searchUserPrompts(query, asked),
  };
  const kinds = kind === 'all' ? Object.keys(searches) : [kind];
  const found = [];
  for (const each of kinds) found.push(...(await searches[each]()).map((row) => ({ ...row, kind: each })));
  if (kinds.length > 1) found.sort((one, other) => other.created_at_epoch - one.created_at_epoch);
  return {
    results: found.slice(offset, offset + limit),
    total: found.length,
    mode: 'keyword',
    reason:
      'the index is not made yet: the words were looked for as a phrase; the worker makes it, and "claude-mem-native setup"',
    pendingDocuments: 0,
  };
}

/** Whether there are rows, and none of them is in the index. */
async function notIndexed({ store, vectors }) {
  if ((await vectors.status()).rows > 0) return false;
  const { observations, summaries, prompts } = await store.getStats();
  return observations + summaries + prompts > 0;
}

async function search(words, options) {
  const query = words.join(' ');
  const answer = await asClient(
    options,
    async (memory) => {
      if (await notIndexed(memory)) return inTables(memory.store, query, options);
      const { limit, offset, project, mode } = options;
      const asked = { limit, offset, mode, explain: true, ...(project !== undefined && { project }) };
      const found = await memory.search[KINDS[options.kind]](query, asked);
      // In one kind the rows need not say what they are; here they do.
      return { ...found, results: found.results.map((row) => ({ ...row, kind: row.kind ?? options.kind })) };
    },
    { parts: ['store', 'vectors'], readOnly: true, clientModel: options.mode !== 'keyword' },
  );
  if (options.json) printJson(answer);
  else show(answer);
}

function register(program) {
  program
    .command('search')
    .description('search observations, summaries and prompts, by words and by meaning')
    .argument('<text...>', 'what to look for')
    .addOption(new Option('--kind <kind>', 'only these').choices(Object.keys(KINDS)).default('all'))
    .addOption(new Option('--mode <mode>', 'how').choices(['hybrid', 'semantic', 'keyword']).default('hybrid'))
    .option('--project <name>', 'only of this project')
    .option('--limit <n>', 'rows at most', wholeNumber(1, 1_000), 10)
    .option('--offset <n>', 'rows to leave out first', wholeNumber(0, 1_000_000), 0)
    .option('--json', 'the whole rows as JSON')
    .action((words, _options, command) => search(words, command.optsWithGlobals()));
}

module.exports = { register };
