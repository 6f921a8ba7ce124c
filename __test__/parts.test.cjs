'use strict';
// openMemory({parts}): the queue beside a claude-mem.db of any version, which is not even opened; the store without a
// queue; and one directory that is opened now with both and now with one.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { spawn } = require('node:child_process');
const { describe, test } = require('node:test');
const { setTimeout: sleep } = require('node:timers/promises');

const { openMemory } = require('..');
const { dataDirectory, withoutFixtures } = require('./data-directory.cjs');
const foreign = require('./foreign/index.cjs');
const { NO_BACKOFF, message, names, next, openedMemory, settled, until } = require('./opened-memory.cjs');

const QUEUE = { parts: ['queue'] };

/** Files that this process has open, where the system tells. */
function openFiles() {
  if (process.platform !== 'linux') return [];
  return fs.readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [fs.readlinkSync(`/proc/self/fd/${fd}`)];
    } catch {
      return []; // closed since
    }
  });
}

/** What can be told of a place without opening it. */
function outside(place) {
  const stat = fs.lstatSync(place, { bigint: true, throwIfNoEntry: false });
  return stat && { ino: stat.ino, size: stat.size, mode: stat.mode, mtime: stat.mtimeNs, ctime: stat.ctimeNs };
}

/** A memory with only the queue, on a new directory; `prepare` is given the place of claude-mem.db first. */
async function queueMemory(t, options, prepare = () => {}) {
  const { directory, database } = dataDirectory(t);
  prepare(database);
  const opened = { directory, database, memory: await openMemory({ dataDir: directory, ...QUEUE, ...options }) };
  t.after(() => opened.memory.dispose());
  opened.reopen = async (others = { ...QUEUE, ...options }) => {
    await opened.memory.dispose();
    opened.memory = await openMemory({ dataDir: directory, ...others });
    return opened.memory;
  };
  return opened;
}

/** Everything that a queue does, on a memory without a store; leaves one waiting message in session 5. */
async function everything(opened) {
  let { memory } = opened;
  const put = (id, ...tools) => Promise.all(tools.map((tool) => memory.queue.enqueue(id, message(tool))));
  // Bounds, duplicates, JSON text, order.
  const first = await memory.queue.enqueue(1, message('a'), { dedupeKey: 'k' });
  assert.deepEqual(await memory.queue.enqueue(1, message('a'), { dedupeKey: 'k' }), {
    id: first.id,
    depth: 1,
    duplicate: 'waiting',
  });
  await memory.queue.enqueueRaw(1, Buffer.from(JSON.stringify(message('b'))));
  await put(1, 'c');
  await assert.rejects(memory.queue.enqueue(0, message('x')), { code: 'ERR_INVALID_ARG' });
  assert.deepEqual(
    (await memory.queue.discover()).map(({ sessionDbId, depth }) => [sessionDbId, depth]),
    [[1, 3]],
  );
  // Batches, releases with attempts, external commits.
  const offered = await next(memory.queue.ready());
  assert.deepEqual([offered.sessionDbId, offered.depth], [1, 3]);
  const consumer = memory.queue.consume(1, { maxBatch: 2 });
  await (await next(consumer)).release({ error: 'not now' });
  let batch = await next(consumer);
  assert.deepEqual([names(batch), batch.messages[0].attempts], [['a'], 1]);
  assert.deepEqual(await batch.commit({ external: true }), { observations: [], summary: null, depth: 2 });
  await assert.rejects(batch.commit({ external: true }), { code: 'ERR_LEASE_LOST' });
  assert.equal((await memory.queue.enqueue(1, message('a'), { dedupeKey: 'k' })).duplicate, 'done');
  // That one was in the released batch too, so it comes alone as well.
  batch = await next(consumer);
  assert.deepEqual(names(batch), ['b']);
  await batch.commit({ external: true });
  batch = await next(consumer);
  assert.equal(await batch.deadLetter([batch.messages[0].id], 'no use'), 1);
  assert.equal((await batch.commit({ external: true })).depth, 0);
  consumer.dispose();
  // Dead letters go back to the tail.
  const [letter] = await memory.queue.deadLetters();
  assert.deepEqual([letter.sessionDbId, letter.reason, letter.error], [1, 'rejected', 'no use']);
  assert.equal((await memory.queue.retryDeadLetter(letter.id)).depth, 1);
  // The iteration ends with a summarize message that was committed.
  await memory.queue.enqueue(1, { type: 'summarize', prompt_number: 1 });
  const ending = memory.queue.consume(1, { keepAlive: true });
  for await (const one of ending) await one.commit({ external: true });
  assert.deepEqual([ending.endReason, memory.queue.depth()], ['summary', 0]);
  // A pause, a purge and what waits outlive a restart.
  await put(2, 'd', 'e');
  await put(3, 'f', 'g');
  await put(5, 'h');
  await memory.queue.pause(2);
  memory = await opened.reopen();
  assert.deepEqual([memory.queue.depth(), memory.queue.isReady(2), memory.queue.isReady(3)], [5, false, true]);
  await memory.queue.resume(2);
  assert.equal(await memory.queue.purge(2), 2);
  assert.deepEqual(await memory.sessions.delete(3, { purge: true }), {
    existed: true,
    purged: 2,
    remaining: 0,
    draining: false,
  });
  assert.equal(memory.queue.depth(), 1);
}

const garbage = (place) => fs.writeFileSync(place, 'this is no database, and nobody asks it to be one\n'.repeat(100));
const copyOf = (fixture) => (place) =>
  fs.writeFileSync(place, fs.readFileSync(path.join(__dirname, '../../shared/fixtures', fixture)));
const PLACES = [
  ...['newer-v7.4.5-fresh.db', 'newer-v9.1.1-fresh.db', 'newer-v13.15.3-fresh.db', 'claude-mem-6.0.2.db'].map(
    (name) => [name, copyOf(name), withoutFixtures(name)],
  ),
  ['a file that is no database', garbage],
  ['a directory in its place', (place) => fs.mkdirSync(place)],
  ['a link to nowhere', (place) => fs.symlinkSync('nowhere', place), process.platform === 'win32' && 'needs rights'],
  [
    'a file that nobody may open',
    (place) => {
      garbage(place);
      fs.chmodSync(place, 0);
    },
  ],
  ['no file', () => {}],
];

describe("parts: ['queue'] works beside a claude-mem.db that it does not open:", () => {
  for (const [name, prepare, skip = false] of PLACES) {
    test(name, { skip }, async (t) => {
      let before;
      const opened = await queueMemory(t, NO_BACKOFF, (place) => {
        prepare(place);
        before = { outside: outside(place), content: fs.existsSync(place) && fs.statSync(place).isFile() };
        if (before.content) before.content = name.includes('nobody') ? null : fs.readFileSync(place);
      });
      const working = everything(opened);
      const seen = new Set();
      let done = false;
      const watching = (async () => {
        while (!done) {
          for (const file of openFiles()) seen.add(file);
          await sleep(1);
        }
      })();
      await settled(working.finally(() => (done = true)));
      await watching;
      const ours = [...seen].filter((file) => file.startsWith(fs.realpathSync(opened.directory)));
      if (process.platform === 'linux') assert.ok(ours.some((file) => file.endsWith('queue.db')));
      assert.deepEqual(
        ours.filter((file) => path.basename(file).startsWith('claude-mem.db')),
        [],
      );
      await opened.memory.dispose();
      assert.deepEqual(outside(opened.database), before.outside);
      if (before.content) assert.ok(fs.readFileSync(opened.database).equals(before.content));
      assert.deepEqual(
        fs.readdirSync(opened.directory).filter((file) => !['native', 'claude-mem.db'].includes(file)),
        [],
      );
      const again = await opened.reopen();
      assert.deepEqual(names(await next(again.queue.consume(5))), ['h']);
    });
  }
});

test('a write lock that another process holds on claude-mem.db is nobody’s business', async (t) => {
  const { directory, database } = dataDirectory(t);
  await foreign.execute(database, 'PRAGMA journal_mode=WAL; CREATE TABLE theirs(x)');
  const holder = await foreign.hold(database);
  t.after(() => holder.kill());
  const memory = await openMemory({ dataDir: directory, ...QUEUE, deadlineMs: 1_000 });
  t.after(() => memory.dispose());
  await memory.queue.enqueue(1, message('a'));
  await (await next(memory.queue.consume(1))).commit({ external: true });
  assert.equal(memory.queue.depth(), 0);
});

describe('what is not open says so', () => {
  const READS = {
    store: [
      ['createSDKSession', 'a', 'p', 'q'],
      ['getAllProjects'],
      ['getObservationById', 1],
      ['searchObservations', 'x'],
      ['commitResponse', { sessionDbId: 1 }],
    ],
    pages: [
      ['getObservations', 0, 1],
      ['getSummaries', 0, 1],
      ['getPrompts', 0, 1],
    ],
  };

  test('store and pages in a memory with the queue alone', async (t) => {
    const { memory } = await queueMemory(t);
    for (const [part, calls] of Object.entries(READS)) {
      for (const [method, ...args] of calls) {
        await assert.rejects(memory[part][method](...args), (error) => {
          assert.deepEqual([error.code, error.part], ['ERR_NOT_OPEN', 'store'], `${part}.${method}`);
          assert.match(
            error.message,
            /without 'store', which this call needs; open it with parts: \['store', 'queue'\]$/,
          );
          return true;
        });
      }
    }
    // An argument of a wrong form is told first, as everywhere.
    await assert.rejects(memory.store.getObservationById('x'), { code: 'ERR_INVALID_ARG' });
    await memory.dispose();
    await assert.rejects(memory.store.getAllProjects(), { code: 'ERR_DISPOSED' });
  });

  test('queue and sessions in a memory with the store alone', async (t) => {
    const { directory, memory, session, reopen } = await openedMemory(t, { parts: ['store'] });
    const id = await session();
    assert.equal((await memory.store.getSessionById(id)).project, 'project');
    assert.ok(!fs.existsSync(path.join(directory, 'native', 'queue.db')));
    assert.deepEqual(
      openFiles().filter((file) => file.includes(fs.realpathSync(directory)) && file.includes('queue.db')),
      [],
    );
    const notOpen = { code: 'ERR_NOT_OPEN', part: 'queue' };
    const { queue, sessions } = memory;
    for (const call of [
      () => queue.enqueue(id, message('a')),
      () => queue.enqueueRaw(id, Buffer.from('{}')),
      () => queue.discover(),
      () => queue.pause(id),
      () => queue.resume(),
      () => queue.purge(id),
      () => queue.deadLetters(),
      () => queue.getDeadLetter(1),
      () => queue.retryDeadLetter(1),
      () => queue.purgeDeadLetters(),
      () => sessions.initialize(id),
      () => sessions.delete(id),
    ]) {
      await assert.rejects(call(), notOpen, `${call}`);
    }
    for (const call of [
      () => queue.consume(id),
      () => queue.ready(),
      () => queue.depth(),
      () => queue.bytes(),
      () => queue.isBusy(),
      () => queue.isReady(id),
      () => queue.hasConsumer(id),
      () => queue.metrics(),
      () => sessions.get(id),
      () => sessions.list(),
      () => sessions.count(),
    ]) {
      assert.throws(call, notOpen, `${call}`);
    }
    // Nothing is missing where both are asked for, in whichever order.
    const both = await reopen({ parts: ['queue', 'store', 'queue'] });
    await both.queue.enqueue(id, message('a'));
    assert.equal((await both.store.getSessionById(id)).id, id);
  });

  test('health shows null for it', async (t) => {
    const { memory, reopen } = await queueMemory(t);
    await until(async () => (await memory.health()).queueDatabase.sampledAtEpoch !== null);
    const alone = await memory.health();
    assert.deepEqual([alone.status, alone.database, alone.queue.depth, alone.sessions.active], ['ok', null, 0, 0]);
    const other = await reopen({ parts: ['store'] });
    await until(async () => (await other.health()).database.sampledAtEpoch !== null);
    const { database, queue, queueDatabase, sessions, handles } = await other.health();
    assert.deepEqual([queue, queueDatabase, sessions, handles.consumers], [null, null, null, 0]);
    assert.ok(database.bytes > 0);
  });

  test('the option is checked', async (t) => {
    const { directory } = dataDirectory(t);
    for (const [parts, text] of [
      [[], /names no part; known are 'store', 'queue', 'vectors'/],
      [['queues'], /did you mean 'queue'/],
      ['queue', /an array/],
      [[1], /'store' or 'queue' or 'vectors'/],
    ]) {
      await assert.rejects(openMemory({ dataDir: directory, parts }), (error) => {
        assert.equal(error.code, 'ERR_INVALID_ARG');
        assert.match(error.message, text);
        return true;
      });
    }
    assert.deepEqual(fs.readdirSync(directory), []);
  });

  test('the directory has one owner, whichever parts it opens', async (t) => {
    const { directory } = await queueMemory(t);
    for (const parts of [['queue'], ['store'], ['store', 'queue']]) {
      await assert.rejects(openMemory({ dataDir: directory, parts, lockWaitMs: 0 }), { code: 'ERR_LOCKED' });
    }
  });
});

describe('commit({ external: true })', () => {
  test('takes no rows, and without the store no rows are taken at all', async (t) => {
    const { memory } = await queueMemory(t);
    await memory.queue.enqueue(1, message('a'));
    const batch = await next(memory.queue.consume(1));
    const observations = [{ type: 'change', title: 'a row' }];
    for (const rows of [{ observations }, { summary: { request: 'r' } }, { completeSession: true }]) {
      await assert.rejects(batch.commit({ external: true, ...rows }), { code: 'ERR_INVALID_ARG' });
      await assert.rejects(batch.commit(rows), (error) => {
        assert.deepEqual([error.code, error.part], ['ERR_NOT_OPEN', 'store']);
        assert.match(error.message, /store them yourself and then commit\(\{ external: true \}\)/);
        return true;
      });
    }
    // Nothing of it was acknowledged, and the batch is still held.
    assert.equal(memory.queue.depth(1), 1);
    assert.equal((await batch.commit({ external: true })).depth, 0);
  });

  test('is an empty commit where the store is open', async (t) => {
    const { memory, database, session, put } = await openedMemory(t);
    const id = await session();
    await put(id, 'a');
    const batch = await next(memory.queue.consume(id));
    await assert.rejects(batch.commit({ external: true, observations: [{ type: 'change' }] }), {
      code: 'ERR_INVALID_ARG',
    });
    assert.deepEqual(await batch.commit({ external: true }), { observations: [], summary: null, depth: 0 });
    await memory.dispose();
    const [{ upto }] = await foreign.query(database, 'SELECT upto FROM native_ack');
    assert.equal(upto, batch.upto);
  });
});

describe('sessions without rows', () => {
  test('are what the caller tells of them', async (t) => {
    const { memory, reopen } = await queueMemory(t);
    const { startTime, ...bare } = await memory.sessions.initialize(9);
    assert.ok(Math.abs(startTime - Date.now()) < 60_000);
    assert.deepEqual(bare, {
      sessionDbId: 9,
      claudeSessionId: '',
      sdkSessionId: null,
      project: '',
      userPrompt: null,
      lastPromptNumber: null,
    });
    const told = { userPrompt: 'do it', promptNumber: 4, claudeSessionId: 'c', project: 'p' };
    await memory.sessions.initialize(9, told);
    const again = await (await reopen()).sessions.initialize(9, { promptNumber: 5 });
    assert.deepEqual([again.claudeSessionId, again.project, again.lastPromptNumber], ['c', 'p', 5]);
  });

  test('a number that was reused under another name hands out no foreign message', async (t) => {
    const { memory } = await queueMemory(t);
    await memory.queue.enqueue(1, message('old'), { claudeSessionId: 'first' });
    await memory.queue.enqueue(1, message('new'), { claudeSessionId: 'second' });
    const batch = await next(memory.queue.consume(1));
    assert.deepEqual(names(batch), ['new']);
    const [letter] = await memory.queue.deadLetters();
    assert.deepEqual([letter.claudeSessionId, letter.reason], ['first', 'session-gone']);
  });

  test('with the store open the name is checked against the row', async (t) => {
    const { memory, session } = await openedMemory(t);
    const id = await session('mine');
    await memory.queue.enqueue(id, message('a'), { claudeSessionId: 'mine' });
    const refusal = { code: 'ERR_NOT_FOUND', claudeSessionId: 'mine', sessionDbId: id };
    await assert.rejects(memory.queue.enqueue(id, message('b'), { claudeSessionId: 'other' }), refusal);
    await assert.rejects(memory.sessions.initialize(id, { claudeSessionId: 'other' }), refusal);
    await memory.sessions.initialize(id, { claudeSessionId: 'mine', project: 'the row says another' });
    assert.deepEqual([memory.queue.depth(id), memory.sessions.get(id).project], [1, 'project']);
  });
});

test('one directory, now with the store and now without: nothing twice, nothing swallowed', async (t) => {
  const opened = await openedMemory(t);
  const id = await opened.session();
  const seen = [];
  let count = 0;
  for (let turn = 0; turn < 8; turn += 1) {
    const external = turn % 2 === 1;
    const memory = await opened.reopen(external ? QUEUE : {});
    const put = Array.from({ length: 5 }, () => memory.queue.enqueue(id, message(`m${count++}`)));
    await Promise.all(put);
    const consumer = memory.queue.consume(id, { maxBatch: 2 });
    // Leaves some for the next turn, and one batch in somebody's hands.
    for (let commits = 0; commits < 2; commits += 1) {
      const batch = await next(consumer);
      seen.push(...names(batch));
      await batch.commit(
        external ? { external } : { observations: names(batch).map((title) => ({ type: 'change', title })) },
      );
    }
    await next(consumer);
  }
  const memory = await opened.reopen({});
  const consumer = memory.queue.consume(id, { maxBatch: 100 });
  const rest = await next(consumer);
  seen.push(...names(rest));
  await rest.commit();
  assert.deepEqual(
    seen,
    Array.from({ length: count }, (_, n) => `m${n}`),
  );
  assert.equal(memory.queue.depth(), 0);
});

test('workers that are killed at any moment lose nothing they were promised', async (t) => {
  const { directory } = dataDirectory(t);
  garbage(path.join(directory, 'claude-mem.db'));
  const script = path.join(__dirname, 'children', 'parts-worker.cjs');
  const [enqueued, committed, unsure] = [new Set(), new Set(), new Set()];
  let handedOut = 0;
  for (let round = 0; round < 12; round += 1) {
    const child = spawn(process.execPath, [script, directory, String(round)], { stdio: ['ignore', 'pipe', 'inherit'] });
    t.after(() => child.kill('SIGKILL'));
    let said = '';
    let isOpen;
    const open = new Promise((resolve) => (isOpen = resolve));
    child.stdout.setEncoding('utf8').on('data', (text) => {
      said += text;
      if (said.includes('\n')) isOpen();
    });
    const ended = new Promise((resolve) => child.on('close', resolve));
    ended.then(isOpen);
    await settled(open);
    await sleep(20 + round * 25);
    child.kill('SIGKILL');
    await settled(ended);
    let held = [];
    for (const line of said.slice(0, said.lastIndexOf('\n')).split('\n')) {
      const [what, ...markers] = line.split(' ');
      if (what === 'B') held = markers;
      if (what === 'C') held = [];
      for (const marker of markers) {
        if (what === 'E') enqueued.add(marker);
        if (what === 'C') committed.add(marker);
        if (what === 'B') {
          handedOut += 1;
          assert.ok(!committed.has(marker), `${marker} was handed out after its commit was acknowledged`);
        }
      }
    }
    // Its commit may have been stored without a word.
    for (const marker of held) unsure.add(marker);
  }
  assert.ok(enqueued.size > 100 && committed.size > 100, `${enqueued.size} enqueued, ${committed.size} committed`);
  const memory = await openMemory({ dataDir: directory, ...QUEUE, ...NO_BACKOFF });
  t.after(() => memory.dispose());
  while (memory.queue.depth(1) > 0) {
    const consumer = memory.queue.consume(1, { maxBatch: 100 });
    const batch = await next(consumer);
    for (const { marker } of batch.messages) {
      assert.ok(!committed.has(marker), `${marker} again`);
      handedOut += 1;
      committed.add(marker);
    }
    await batch.commit({ external: true });
    consumer.dispose();
  }
  for (const marker of enqueued) {
    assert.ok(committed.has(marker) || unsure.has(marker), `${marker} was lost`);
  }
  assert.deepEqual(await memory.queue.deadLetters(), []);
  t.diagnostic(
    `${enqueued.size} messages acknowledged, ${handedOut} handed out, ${unsure.size} in somebody's hands at a kill`,
  );
});

describe('the format of queue.db', () => {
  const FORMAT_1 = `
    PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL;
    CREATE TABLE messages(id INTEGER PRIMARY KEY, session_id INTEGER NOT NULL, claude_session_id TEXT NOT NULL, type TEXT,
      prompt_number INTEGER, ends_batch INTEGER NOT NULL, enqueued_at_epoch INTEGER NOT NULL, bytes INTEGER NOT NULL,
      payload TEXT NOT NULL);
    CREATE INDEX messages_session ON messages(session_id);
    CREATE TABLE leases(session_id INTEGER PRIMARY KEY, first_id INTEGER NOT NULL, last_id INTEGER NOT NULL, token INTEGER NOT NULL);
    CREATE TABLE attempts(message_id INTEGER PRIMARY KEY, session_id INTEGER NOT NULL, count INTEGER NOT NULL, error TEXT);
    CREATE TABLE backoffs(session_id INTEGER PRIMARY KEY, ready_at_epoch INTEGER NOT NULL);
    CREATE TABLE pauses(session_id INTEGER PRIMARY KEY, until_epoch INTEGER, reason TEXT);
    CREATE TABLE dedupe_keys(session_id INTEGER NOT NULL, key TEXT NOT NULL, message_id INTEGER NOT NULL,
      created_at_epoch INTEGER NOT NULL, PRIMARY KEY(session_id, key)) WITHOUT ROWID;
    CREATE INDEX dedupe_keys_created ON dedupe_keys(created_at_epoch);
    CREATE TABLE dead_letters(id INTEGER PRIMARY KEY, session_id INTEGER NOT NULL, claude_session_id TEXT NOT NULL, type TEXT,
      prompt_number INTEGER, ends_batch INTEGER NOT NULL, enqueued_at_epoch INTEGER NOT NULL, dead_at_epoch INTEGER NOT NULL,
      attempts INTEGER NOT NULL, reason TEXT NOT NULL, error TEXT, bytes INTEGER NOT NULL, payload TEXT NOT NULL);
    CREATE INDEX dead_letters_session ON dead_letters(session_id);
    CREATE INDEX dead_letters_dead ON dead_letters(dead_at_epoch);
    CREATE TABLE meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
    INSERT INTO messages VALUES (41, 1, 'claude', 'observation', 1, 0, 1, 24, '{"tool_name":"old","n":1}');
    INSERT INTO dead_letters VALUES (40, 1, 'claude', 'observation', 1, 0, 1, ${Date.now()}, 5, 'max-attempts', NULL, 2, '{}');
    INSERT INTO meta VALUES ('id_floor', 65536);
    PRAGMA user_version=1;`;

  for (const options of [{}, QUEUE]) {
    test(`an older one is brought up with what waits, opened with ${JSON.stringify(options)}`, async (t) => {
      const { directory } = dataDirectory(t);
      const first = await openMemory({ dataDir: directory });
      const id = await first.store.createSDKSession('claude', 'p', 'q');
      assert.equal(id, 1);
      await first.dispose();
      const file = path.join(directory, 'native', 'queue.db');
      for (const suffix of ['', '-wal', '-shm']) fs.rmSync(file + suffix, { force: true });
      await foreign.execute(file, FORMAT_1);
      const memory = await openMemory({ dataDir: directory, ...options });
      t.after(() => memory.dispose());
      const batch = await next(memory.queue.consume(id));
      assert.deepEqual([names(batch), batch.messages[0].id], [['old'], 41]);
      await batch.commit({ external: true });
      assert.equal((await memory.queue.deadLetters())[0].id, 40);
      assert.ok((await memory.queue.enqueue(id, message('new'))).id > 65_536);
      await memory.dispose();
      assert.deepEqual(await foreign.query(file, 'PRAGMA user_version'), [{ user_version: 2 }]);
    });
  }

  test('a newer one is refused and left as it was', async (t) => {
    const { directory, memory } = await queueMemory(t);
    await memory.queue.enqueue(1, message('a'));
    await memory.dispose();
    const file = path.join(directory, 'native', 'queue.db');
    await foreign.execute(file, 'PRAGMA user_version=3');
    const before = fs.readFileSync(file);
    for (const parts of [['queue'], ['store', 'queue']]) {
      await assert.rejects(openMemory({ dataDir: directory, parts }), (error) => {
        assert.deepEqual(
          [error.code, error.path, error.format, error.supportedFormat],
          ['ERR_SCHEMA_UNSUPPORTED', file, 3, 2],
        );
        assert.ok(
          error.message.startsWith(file) && /newer claude-mem-native, or move the file away/.test(error.message),
        );
        return true;
      });
    }
    assert.ok(fs.readFileSync(file).equals(before));
    // The tables do not need it.
    await (await openMemory({ dataDir: directory, parts: ['store'] })).dispose();
  });
});
