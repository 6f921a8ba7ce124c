'use strict';
// What doctor finds as a client that only reads: the database and its schema, the queue, dead letters, vectors and model.

const { setTimeout: sleep } = require('node:timers/promises');

const { chromaDirectory } = require('../chroma-directory.cjs');
const { firstLine } = require('../faults.cjs');
const { asClient, asQueueClient, dataDirectory, databaseOf, exists } = require('../opening.cjs');
const { bytes, counted, duration, number } = require('../output.cjs');
const { finding } = require('./finding.cjs');

/** A message that waits longer than this is not being worked on. */
const LONG_MS = 3_600_000;

const REMEDIES = {
  ERR_SCHEMA_UNSUPPORTED: 'install the claude-mem-native that knows this claude-mem',
  ERR_CORRUPT: 'stop the worker and restore a backup: "claude-mem-native restore FOLDER --overwrite"',
  ERR_IO: 'look at the disk and at the permissions of the file',
  ERR_BUSY: 'end whoever holds the file, and run this again',
  ERR_NATIVE_BINDING: 'run "npm install claude-mem-native" on this machine; in a clone, "npm run build"',
};

function failed(check, error) {
  if (error.missingStep) return older(error.missingStep - 1, error.missingStep);
  return finding(
    check,
    'error',
    `${error.code ?? 'error'}: ${firstLine(error)}`,
    REMEDIES[error.code] ?? 'run "claude-mem-native check"',
  );
}

/** A schema that an owner brings up to date. */
const older = (step, missing) =>
  finding(
    'schema',
    'warning',
    `step ${step}; step ${missing} is missing`,
    'start the worker once, which brings it up to date and keeps a copy as claude-mem.db.pre-native',
  );

/** Free pages worth a word: so many bytes of them, and so large a share of the file. */
const MUCH_FREE = 20_000_000;
const MUCH_OF_FILE = 0.25;
/** SQLite's default, which claude-mem keeps. */
const PAGE = 4_096;
/** How long figures from disk are waited for. */
const SAMPLED_WITHIN_MS = 2_000;

/** What the file could give back; nothing where that is little, or not told in time. */
async function ofFreePages(memory) {
  const until = performance.now() + SAMPLED_WITHIN_MS;
  let { database } = await memory.health();
  while (database.sampledAtEpoch === null && performance.now() < until) {
    await sleep(20);
    ({ database } = await memory.health());
  }
  const free = database.freePages * PAGE;
  if (free < MUCH_FREE || free < database.bytes * MUCH_OF_FILE) return [];
  const said = `${bytes(free)} of the ${bytes(database.bytes)} of claude-mem.db are free, and used again by later rows`;
  return [finding('database', 'info', said, 'stop the worker and run "claude-mem-native compact" to have them back')];
}

async function ofDatabase(memory) {
  const { store } = memory;
  const { observations, sessions, summaries, prompts } = await store.getStats();
  // The search in full text fails where its tables are missing.
  await store.searchObservations('doctor', { limit: 1 });
  return [
    finding(
      'database',
      'ok',
      `${counted(sessions, 'session')}, ${counted(observations, 'observation')}, ${counted(summaries, 'summary', 'summaries')}, ${counted(prompts, 'prompt')}`,
    ),
    ofSchema(await store.getSchema()),
    ...(await ofFreePages(memory)),
  ];
}

function ofSchema({ step, missingStep, recorded, nativeFormat }) {
  if (missingStep !== null) return older(step, missingStep);
  const unrecorded = Array.from({ length: step - 3 }, (_, index) => index + 4).filter(
    (each) => !recorded.includes(each),
  );
  const later = recorded.filter((each) => each > step);
  const said = [
    `step ${step}, all that claude-mem 6.0.2 has; its text index answers`,
    ...(later.length > 0 ? [`recorded by later versions: ${later.join(', ')}`] : []),
    ...(unrecorded.length > 0 ? [`not recorded, though done: ${unrecorded.join(', ')}`] : []),
    nativeFormat === null
      ? "the engine's own tables are not there yet"
      : `the engine's own tables: format ${nativeFormat}`,
  ];
  return finding('schema', 'ok', said.join('; '));
}

async function ofQueue({ queue }) {
  const [waiting, dead] = [await queue.discover(), await queue.deadLetters({ limit: 10_000 })];
  const findings = [];
  const messages = waiting.reduce((sum, { depth }) => sum + depth, 0);
  const oldest = Math.min(...waiting.map(({ oldestEpoch }) => oldestEpoch ?? Infinity));
  const age = Date.now() - oldest;
  const said = `${counted(messages, 'message')} of ${counted(waiting.length, 'session')}`;
  if (messages === 0) findings.push(finding('queue', 'ok', 'nothing waits'));
  else if (age > LONG_MS)
    findings.push(
      finding(
        'queue',
        'warning',
        `${said}; the oldest has waited for ${duration(age)}`,
        'start the worker; "claude-mem-native queue list" shows which are paused or failing',
      ),
    );
  else findings.push(finding('queue', 'ok', `${said}; the oldest has waited for ${duration(age)}`));
  const paused = waiting.filter((each) => each.paused).length;
  if (paused > 0)
    findings.push(
      finding(
        'queue',
        'warning',
        `${counted(paused, 'session')} with messages ${paused === 1 ? 'is' : 'are'} paused`,
        '"claude-mem-native queue resume" lets them go on; with --session the one that was paused for itself',
      ),
    );
  findings.push(
    dead.length === 0
      ? finding('dead letters', 'ok', 'none')
      : finding(
          'dead letters',
          'warning',
          `${number(dead.length)}; the newest: ${dead[0].error ?? dead[0].reason}`,
          '"claude-mem-native queue list" shows them; "queue retry" and "queue purge" end them',
        ),
  );
  return findings;
}

async function hasRows(store) {
  const { observations, summaries, prompts } = await store.getStats();
  return observations + summaries + prompts > 0;
}

async function ofVectors({ store, vectors }) {
  const { rows, documents, embedded, pending, model, otherModel, state, reason } = await vectors.status();
  const findings = [
    model.availability === 'missing'
      ? finding('model', 'warning', model.reason, '"claude-mem-native setup --model PLACE" puts one in place')
      : finding('model', 'ok', `${model.name}, ${model.availability}`),
  ];
  const said = `${number(embedded)} of ${counted(documents, 'document')} have a vector`;
  if (otherModel)
    findings.push(
      finding(
        'vectors',
        'warning',
        `they are of the model ${otherModel.name}`,
        'use that model, or run setup with a new one',
      ),
    );
  else if (state === 'failing')
    findings.push(
      finding('vectors', 'error', `${said}: ${reason}`, 'look at the disk; the index is made anew by itself'),
    );
  else if (pending > 0 || (rows === 0 && (await hasRows(store))))
    findings.push(
      finding(
        'vectors',
        'info',
        documents === 0 ? 'nothing is indexed yet' : said,
        'the worker does it in the background; "claude-mem-native setup" at once',
      ),
    );
  else findings.push(finding('vectors', 'ok', said));
  return findings;
}

function ofChroma(directory) {
  const found = chromaDirectory(directory);
  return found
    ? finding('Chroma', 'info', `${found} has vectors`, '"claude-mem-native import-chroma" takes them over')
    : finding('Chroma', 'ok', 'no directory of it');
}

async function ofMemory(options) {
  const directory = dataDirectory(options);
  const findings = [];
  if (!exists(databaseOf(directory))) {
    findings.push(
      finding(
        'database',
        'info',
        'there is none yet',
        'the worker makes it when it starts, and "claude-mem-native setup" now',
      ),
    );
  } else {
    const looks = [
      ['database', ofDatabase, ['store']],
      ['queue', ofQueue, null],
      ['vectors', ofVectors, ['store', 'vectors']],
    ];
    // Each for itself: a broken queue must not hide what there is to say of the database.
    for (const [check, look, parts] of looks) {
      try {
        const open = parts === null ? asQueueClient : asClient;
        findings.push(...(await open(options, look, { ...(parts && { parts }), readOnly: true, clientModel: true })));
      } catch (error) {
        // The tables are refused once, whoever asks for them.
        const said = error.code === 'ERR_SCHEMA_UNSUPPORTED' && check !== 'database';
        if (!said) findings.push(failed(check, error));
      }
    }
  }
  findings.push(ofChroma(directory));
  return findings;
}

module.exports = { failed, ofMemory };
