'use strict';
// The proof in a minute: a worker in a fresh directory is sent thousands of real messages, is killed with SIGKILL in
// the middle and started again. Afterwards every acknowledged message must be stored, and none twice.
const fs = require('node:fs/promises');
const os = require('node:os');
const path = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');
const { openMemory } = require('../..');
const { countStored, compare } = require('./audit.cjs');
const { Gauges } = require('./gauges.cjs');
const { closeConnections, requestJson } = require('./http-client.cjs');
const { toolCalls, MARK, ROOT } = require('./input.cjs');
const { report } = require('./report.cjs');
const { indexed, searches } = require('./searches.cjs');
const { Sender } = require('./sender.cjs');
const { WorkerProcess } = require('./worker-process.cjs');

const SESSIONS = 120;
const MESSAGES = 3_600;
const STALLED_EVERY = 30;
const ABANDONED_EVERY = 4;
const KILL_AT_SHARE = 0.5;
const AGENT_TIMEOUT_MS = 1_500;
const DRAIN_MS = 120_000;

const say = (line) => process.stdout.write(`${line}\n`);

/** Sessions are rows of the database before the worker hears of them: the prompt hook writes them. */
async function createSessions(dataDir) {
  const memory = await openMemory({ dataDir });
  try {
    const sessions = [];
    for (let index = 0; index < SESSIONS; index += 1) {
      const isStalled = index % STALLED_EVERY === 7;
      const project = isStalled ? 'stalled' : `demo-${index % 6}`;
      const prompt = `Explain how part ${index} of ${path.basename(ROOT)} works`;
      const { sessionDbId } = await memory.store.beginPrompt(`demo-session-${index}`, project, prompt);
      sessions.push({ sessionDbId, prompt, isStalled, isAbandoned: !isStalled && index % ABANDONED_EVERY === 2 });
    }
    return sessions;
  } finally {
    await memory.dispose();
  }
}

/** What each session sends, in order: init, its tool calls, and unless it is abandoned the summary and the end. */
function planSessions(sessions) {
  const plans = sessions.map(({ sessionDbId, prompt }) => [
    { path: `/sessions/${sessionDbId}/init`, body: { userPrompt: prompt, promptNumber: 1 }, number: null },
  ]);
  let number = 0;
  for (const body of toolCalls(MESSAGES)) {
    const at = number % sessions.length;
    plans[at].push({
      path: `/sessions/${sessions[at].sessionDbId}/observations`,
      body: { ...body, dedupe_key: `demo-${number}` },
      number,
    });
    number += 1;
  }
  sessions.forEach(({ sessionDbId, isAbandoned }, index) => {
    if (isAbandoned) return;
    plans[index].push({
      path: `/sessions/${sessionDbId}/summarize`,
      body: {
        last_user_message: `Summarize, please (${MARK} ${number})`,
        last_assistant_message: 'The files were read. Next, the tests should be extended.',
        prompt_number: 1,
        dedupe_key: `demo-${number}`,
      },
      number,
    });
    number += 1;
    plans[index].push({ path: `/sessions/${sessionDbId}/complete`, body: {}, number: null });
  });
  return plans;
}

/** Waits until nothing is queued or leased. */
async function drained(worker) {
  const giveUpAt = Date.now() + DRAIN_MS;
  for (;;) {
    const { isProcessing, queueDepth } = await requestJson(worker.port, 'GET', '/api/processing-status');
    if (!isProcessing) return;
    if (Date.now() > giveUpAt)
      throw new Error(`After ${DRAIN_MS / 1000} s there are still ${queueDepth} messages waiting.`);
    await sleep(200);
  }
}

async function demonstrate(dataDir, worker) {
  const startedAt = performance.now();
  await fs.writeFile(
    path.join(dataDir, 'settings.json'),
    JSON.stringify({
      env: { CLAUDE_MEM_AGENT_TIMEOUT_MS: String(AGENT_TIMEOUT_MS), CLAUDE_MEM_MAX_CONCURRENT_AGENTS: '2' },
    }),
  );
  const sessions = await createSessions(dataDir);
  const plans = planSessions(sessions);
  const total = plans.flat().filter(({ number }) => number !== null).length;

  await worker.start();
  const getPort = () => worker.port;
  const gauges = new Gauges(getPort);
  await gauges.read();
  gauges.watch();
  say(`Worker on port ${worker.port}, data in ${dataDir}`);
  say(`Sending ${total} messages over ${SESSIONS} sessions …`);

  const sender = new Sender(getPort);
  const kill = { acknowledged: 0, waiting: 0, restartMs: 0 };
  let killing = null;
  async function killAndRestart() {
    kill.acknowledged = sender.acknowledged.size;
    kill.waiting = (await requestJson(worker.port, 'GET', '/api/processing-status')).queueDepth;
    await worker.end('SIGKILL');
    say(
      `Killed with SIGKILL after ${kill.acknowledged} acknowledged messages, ${kill.waiting} of them waiting; starting again …`,
    );
    const downAt = performance.now();
    await worker.start();
    kill.restartMs = performance.now() - downAt;
  }
  await sender.send(plans, (acknowledged) => {
    if (acknowledged >= total * KILL_AT_SHARE) killing ??= killAndRestart();
  });
  await killing;
  say('All sent; waiting until the queue is empty …');
  await drained(worker);
  await gauges.read();
  gauges.stop();

  const audit = compare(sender.acknowledged, await countStored(worker.port));
  say('Waiting, a minute at most, until what was stored is embedded …');
  const found = { waiting: await indexed(worker.port, sleep), answers: await searches(worker.port) };
  closeConnections();
  const exitCode = await worker.end('SIGTERM');
  say('');
  say(
    report({
      sender,
      gauges,
      audit,
      kill,
      sessions: {
        all: sessions.length,
        abandoned: sessions.filter(({ isAbandoned }) => isAbandoned).length,
        stalled: sessions.filter(({ isStalled }) => isStalled).length,
      },
      seconds: (performance.now() - startedAt) / 1000,
    }),
  );
  say(`\nSearch in what was stored${found.waiting > 0 ? `, ${found.waiting} documents not embedded yet` : ''}:`);
  say(found.answers);
  if (exitCode !== 0) throw new Error(`The worker ended with exit code ${exitCode} after SIGTERM.`);
  if (audit.lost.length > 0 || audit.duplicated.length > 0 || audit.stored !== sender.sent) {
    throw new Error(
      `Lost: ${audit.lost.slice(0, 10).join(', ') || 'none'}; duplicated: ${audit.duplicated.slice(0, 10).join(', ') || 'none'}; stored ${audit.stored} of ${sender.sent}.`,
    );
  }
}

async function main() {
  const dataDir = await fs.mkdtemp(path.join(os.tmpdir(), 'claude-mem-demo-'));
  const worker = new WorkerProcess(dataDir);
  const interrupt = () => {
    worker.child?.kill('SIGKILL');
    process.exit(130);
  };
  process.once('SIGINT', interrupt);
  process.once('SIGTERM', interrupt);
  try {
    await demonstrate(dataDir, worker);
    say('\nEvery acknowledged message is stored exactly once.');
  } finally {
    await worker.end('SIGKILL');
    closeConnections();
    await fs.rm(dataDir, { recursive: true, force: true, maxRetries: 5, retryDelay: 100 });
  }
}

main().catch((error) => {
  process.stderr.write(`\nThe demonstration failed: ${error.message}\n`);
  process.exitCode = 1;
});
