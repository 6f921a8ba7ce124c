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

async function search(words, options) {
  const answer = await asClient(
    options,
    async (memory) => {
      const { limit, offset, project, mode } = options;
      const asked = { limit, offset, mode, explain: true, ...(project !== undefined && { project }) };
      const found = await memory.search[KINDS[options.kind]](words.join(' '), asked);
      // In one kind the rows need not say what they are; here they do.
      return { ...found, results: found.results.map((row) => ({ ...row, kind: row.kind ?? options.kind })) };
    },
    { readOnly: true, clientModel: options.mode !== 'keyword' },
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
