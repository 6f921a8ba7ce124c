'use strict';
// Workers that are killed at any moment of enqueue, claim and commit: nothing acknowledged is lost, no row is stored
// twice, order and attempts stay right.

const assert = require('node:assert/strict');
const path = require('node:path');
const { spawn } = require('node:child_process');
const { test } = require('node:test');
const { setTimeout: sleep } = require('node:timers/promises');

const { openMemory } = require('..');
const { dataDirectory } = require('./data-directory.cjs');
const foreign = require('./foreign/index.cjs');
const { OPTIONS, observation } = require('./children/sigkill-options.cjs');

const KILLS = 112;
/** On a machine that is too slow for all of them it is left at fewer, ms. */
const KILLING_MS = 240_000;
const SESSIONS = 4;
/**
 * Half of the workers live up to this long once they have the directory, ms, and until up to so many enqueues were
 * acknowledged, however slow the machine is; the others a tenth of that time.
 */
const [LIFE_MS, LIFE_ENQUEUES] = [160, 60];

/** A worker that has Node and the module loaded, more or less, and waits for its orders. */
function standBy(directory) {
  const script = path.join(__dirname, 'children', 'sigkill-worker.cjs');
  const child = spawn(process.execPath, [script, directory], { stdio: ['pipe', 'pipe', 'pipe'] });
  child.stdin.on('error', () => {});
  let [said, complaint, opened, awaited] = ['', '', null, null];
  const open = new Promise((resolve) => (opened = resolve));
  const enqueued = () => said.match(/^E .*\n/gm)?.length ?? 0;
  child.stdout.setEncoding('utf8').on('data', (text) => {
    said += text;
    if (awaited && enqueued() >= awaited.count) awaited.resolve();
    if (said.startsWith('open ') && said.includes('\n')) opened(Number(said.slice(5, said.indexOf('\n'))));
  });
  child.stderr.setEncoding('utf8').on('data', (text) => (complaint += text));
  const ended = new Promise((resolve) => {
    child.on('close', (code, signal) => {
      opened(null);
      awaited?.resolve();
      // A line that was being written when the process died is no word that was given.
      resolve({
        code,
        signal,
        complaint,
        lines: said
          .slice(0, said.lastIndexOf('\n') + 1)
          .split('\n')
          .slice(0, -1),
      });
    });
  });
  return {
    open,
    ended,
    /** Once so many enqueues were acknowledged, or it has ended. */
    acknowledged: (count) =>
      new Promise((resolve) => {
        if (enqueued() >= count || child.exitCode !== null) resolve();
        else awaited = { count, resolve };
      }),
    start: (orders) => child.stdin.write(`${JSON.stringify(orders)}\n`),
    kill: () => child.kill('SIGKILL'),
  };
}

/** What was said over all rounds, checked against itself. */
class Ledger {
  enqueued = new Map(); // `session marker` → {round, id}
  committed = new Set();
  handedOut = new Map(); // how often a message was handed out before

  read(round, lines) {
    for (const line of lines) {
      const [what, session, ...words] = line.split(' ');
      if (what === 'E') this.enqueued.set(`${session} ${words[0]}`, { round, id: Number(words[1]) });
      if (what === 'C') for (const marker of words) this.#commit(`${session} ${marker}`);
      if (what === 'B') for (const word of words) this.#handOut(round, session, ...word.split('='));
    }
  }

  #commit(message) {
    assert.ok(!this.committed.has(message), `message ${message} was committed twice`);
    this.committed.add(message);
  }

  #handOut(round, session, marker, attempts) {
    const message = `${session} ${marker}`;
    assert.ok(!this.committed.has(message), `message ${message} came again after its commit was acknowledged`);
    const before = this.handedOut.get(message) ?? 0;
    const born = Number(marker.split('.')[0]);
    // Each hand-out that ended with its worker counts one; so does a claim that nobody could report any more.
    assert.ok(
      Number(attempts) >= before && Number(attempts) <= round - born,
      `message ${message} of round ${born} was handed out ${before} times and shows ${attempts} attempts in round ${round}`,
    );
    this.handedOut.set(message, before + 1);
  }
}

/** Rises for messages that were enqueued later. */
const order = (marker) => marker.split('.').reduce((sum, part) => sum * 1e6 + Number(part), 0);

test(`${KILLS} workers killed over enqueue, claim and commit`, { timeout: 540_000 }, async (t) => {
  const { directory, database } = dataDirectory(t);
  const sessions = [];
  {
    const memory = await openMemory({ dataDir: directory, ...OPTIONS });
    for (let i = 0; i < SESSIONS; i++)
      sessions.push(await memory.store.createSDKSession(`claude-${i}`, 'project', 'prompt'));
    await memory.dispose();
  }
  const ledger = new Ledger();
  const takeOvers = [];
  const startedAt = performance.now();
  let next = standBy(directory);
  t.after(() => next.kill());
  let round = 0;
  for (; round < KILLS && performance.now() - startedAt < KILLING_MS; round++) {
    const worker = next;
    worker.start({ round, sessions });
    next = standBy(directory);
    // Every eighth is not given the time to open: recovery is interrupted as well.
    if (round % 8 === 7) await sleep(Math.random() * 20);
    else {
      const took = await worker.open;
      if (took !== null) takeOvers.push(took);
      const life = sleep(Math.random() * LIFE_MS * (round % 2 ? 1 : 0.1));
      if (round % 2 && took !== null) await worker.acknowledged(Math.random() * LIFE_ENQUEUES);
      await life;
    }
    worker.kill();
    const { signal, complaint, lines } = await worker.ended;
    assert.deepEqual({ signal, complaint }, { signal: 'SIGKILL', complaint: '' });
    ledger.read(round, lines);
  }
  next.kill();
  await next.ended;
  const killedFor = performance.now() - startedAt;

  // The last one drains what is left.
  const memory = await openMemory({ dataDir: directory, ...OPTIONS });
  const left = memory.queue.depth();
  await Promise.all(
    sessions.map(async (session) => {
      const consumer = memory.queue.consume(session, { maxBatch: 500, keepAlive: true });
      while (memory.queue.depth(session) > 0) {
        const { value: batch } = await consumer.next();
        ledger.read(round, [`B ${session} ${batch.messages.map((m) => `${m.marker}=${m.attempts}`).join(' ')}`]);
        await batch.commit({ observations: batch.messages.map(({ marker }) => observation(marker)) });
        ledger.read(round, [`C ${session} ${batch.messages.map(({ marker }) => marker).join(' ')}`]);
      }
    }),
  );
  const dead = await memory.queue.deadLetters({ limit: 1_000 });
  await memory.dispose();

  const rows = await foreign.query(
    database,
    `SELECT o.title AS marker, s.id AS session FROM observations o
     JOIN sdk_sessions s ON s.sdk_session_id = o.sdk_session_id ORDER BY o.id`,
  );
  const stored = rows.map(({ session, marker }) => `${session} ${marker}`);
  const once = new Set(stored);
  t.diagnostic(
    `${ledger.enqueued.size} acknowledged, ${stored.length} stored, ${left} of them by the last worker; ` +
      `${(killedFor / 1e3).toFixed(1)} s for ${round} kills, take-over within ` +
      `${takeOvers.sort((a, b) => a - b)[takeOvers.length >> 1].toFixed(0)} ms (median), ${takeOvers.at(-1).toFixed(0)} ms (longest)`,
  );
  assert.ok(
    round > KILLS / 10 && ledger.enqueued.size > 10 * round,
    'hardly anything was enqueued: this has tested nothing',
  );
  assert.deepEqual(
    [...ledger.enqueued.keys()].filter((message) => !once.has(message)),
    [],
    'acknowledged and lost',
  );
  assert.deepEqual(
    [...ledger.committed].filter((message) => !once.has(message)),
    [],
    'committed and lost',
  );
  assert.equal(once.size, stored.length, 'rows were stored twice');
  assert.deepEqual(dead, [], 'nothing has failed often enough to die');
  for (const session of sessions) {
    const markers = rows.filter((row) => row.session === session).map(({ marker }) => marker);
    const wrong = markers.findIndex((marker, place) => place > 0 && order(markers[place - 1]) >= order(marker));
    assert.equal(wrong, -1, `session ${session}: ${markers[wrong]} was stored after ${markers[wrong - 1]}`);
  }
  const ids = [...ledger.enqueued].map(([, { id }]) => id);
  assert.equal(new Set(ids).size, ids.length, 'an id was given twice');
  for (const file of [database, path.join(directory, 'native', 'queue.db')]) {
    assert.deepEqual(await foreign.query(file, 'PRAGMA integrity_check'), [{ integrity_check: 'ok' }]);
    assert.deepEqual(await foreign.query(file, 'PRAGMA foreign_key_check'), []);
  }
  const waiting = await foreign.query(
    path.join(directory, 'native', 'queue.db'),
    'SELECT (SELECT count(*) FROM leases) AS leases, (SELECT count(*) FROM attempts) AS attempts',
  );
  assert.deepEqual(waiting, [{ leases: 0, attempts: 0 }], 'what is finished leaves nothing behind');
});
