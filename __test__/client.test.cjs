'use strict';
// openMemory({role: 'client'}): what a client has, what it answers of the rest, and which files it makes or leaves.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { execFile } = require('node:child_process');
const { describe, test } = require('node:test');
const { promisify } = require('node:util');
const { Worker } = require('node:worker_threads');

const { openMemory } = require('..');
const { contents, dataDirectory, withoutFixtures } = require('./data-directory.cjs');
const foreign = require('./foreign/index.cjs');
const { message, next, openedMemory, settled, until } = require('./opened-memory.cjs');

const REFERENCE = 'claude-mem-6.0.2.db';

/** A client of a directory, disposed after the test. */
async function openedClient(t, dataDir, options) {
  const client = await openMemory({ dataDir, role: 'client', ...options });
  t.after(() => client.dispose());
  return client;
}

const coded =
  (code, words = /./) =>
  (error) => {
    assert.equal(error.code, code, error.message);
    assert.match(error.message, words);
    return true;
  };

describe('opening', () => {
  test('takes no lock: any number beside an owner, and without one', async (t) => {
    const opened = await openedMemory(t);
    const clients = await Promise.all([1, 2, 3].map(() => openedClient(t, opened.directory)));
    for (const client of clients) assert.deepEqual(await client.store.getAllProjects(), []);
    assert.deepEqual([opened.memory.role, clients[0].role], ['owner', 'client']);
    await opened.memory.dispose();
    await clients[0].store.createSDKSession('claude', 'project', 'prompt');
    // An owner opens at once beside them.
    const owner = await openMemory({ dataDir: opened.directory, lockWaitMs: 0 });
    assert.deepEqual(await owner.store.getAllProjects(), ['project']);
    await owner.dispose();
    assert.deepEqual(await clients[1].store.getAllProjects(), ['project']);
  });

  test('opens nothing before it is needed', async (t) => {
    const { directory } = dataDirectory(t);
    const client = await openedClient(t, directory);
    assert.deepEqual(await client.store.getRecentObservations('project'), []);
    assert.equal(await client.store.getObservationById(1), null);
    assert.deepEqual(await client.queue.discover(), []);
    assert.deepEqual(fs.readdirSync(directory), [], 'reading makes no file');
  });

  test('options: role, readOnly and their names', async (t) => {
    const { directory: dataDir } = dataDirectory(t);
    await assert.rejects(openMemory({ dataDir, role: 'guest' }), coded('ERR_INVALID_ARG', /'owner'.*'client'/));
    await assert.rejects(openMemory({ dataDir, readOnly: true }), coded('ERR_INVALID_ARG', /role: 'client'/));
    await assert.rejects(openMemory({ dataDir, role: 'client', readonly: true }), coded('ERR_INVALID_ARG', /readOnly/));
    assert.deepEqual(fs.readdirSync(dataDir), []);
  });

  test('the time it takes (a figure, not a bound)', { skip: withoutFixtures(REFERENCE) }, async (t) => {
    const { directory: dataDir } = dataDirectory(t, REFERENCE);
    const times = [];
    for (let n = 0; n < 50; n += 1) {
      const startedAt = performance.now();
      const client = await openMemory({ dataDir, role: 'client' });
      times.push(performance.now() - startedAt);
      await client.dispose();
    }
    times.sort((a, b) => a - b);
    t.diagnostic(`median of 50: ${times[25].toFixed(2)} ms, slowest ${times[49].toFixed(2)} ms`);
    assert.equal(times.length, 50);
  });
});

describe('a database', () => {
  test('of 6.0.2 that no owner has opened is used as it is', { skip: withoutFixtures(REFERENCE) }, async (t) => {
    const { directory, database } = dataDirectory(t, REFERENCE);
    const client = await openedClient(t, directory);
    const [row] = await client.store.getObservationsByIds([(await client.store.getAllRecentObservations(1))[0].id]);
    assert.equal((await client.store.searchObservations(row.title, { limit: 1 })).length, 1);
    const { items } = await client.pages.getObservations(0, 3, 'claude-mem');
    assert.equal(items.length, 3);
    const session = await client.store.createSDKSession('new', 'project', 'prompt');
    assert.equal((await client.queue.enqueue(session, message('Edit'))).depth, 1);
    await client.dispose();
    // No table of ours was made in it.
    const owner = await openMemory({ dataDir: directory });
    assert.equal(owner.queue.depth(session), 1);
    await owner.dispose();
    assert.ok(fs.statSync(database).size > 0);
  });

  test('without the full-text tables that only the search side makes is read; a search says what to do', async (t) => {
    const opened = await openedMemory(t);
    await opened.session();
    await opened.memory.dispose();
    // As 6.0.2's hooks alone leave it.
    const triggers = ['observations', 'session_summaries'].flatMap((name) =>
      ['ai', 'ad', 'au'].map((suffix) => `${name}_${suffix}`),
    );
    for (const trigger of triggers) await foreign.query(opened.database, `DROP TRIGGER ${trigger}`);
    for (const table of ['observations_fts', 'session_summaries_fts', 'native_ack', 'native_ledger'])
      await foreign.query(opened.database, `DROP TABLE ${table}`);
    const client = await openedClient(t, opened.directory);
    const { id } = await client.store.storeObservation('claude', 'project', { type: 'change', title: 'A change' });
    assert.equal((await client.store.getObservationById(id)).title, 'A change');
    await assert.rejects(
      client.store.searchObservations('change'),
      coded('ERR_SCHEMA_UNSUPPORTED', /observations_fts.*open the directory once as its owner/),
    );
    await client.queue.enqueue(1, message('Edit'));
    assert.equal((await client.queue.discover())[0].depth, 1);
    // An owner makes them, and the client has them at once.
    const owner = await openMemory({ dataDir: opened.directory });
    t.after(() => owner.dispose());
    assert.equal((await client.store.searchObservations('change')).length, 1);
    assert.equal(owner.queue.depth(1), 1);
  });

  for (const step of ['v4-rows', 'v7-rows', 'v8-rows']) {
    const fixture = `schema-${step}.db`;
    test(`at step ${step} is refused with the remedy, and left`, { skip: withoutFixtures(fixture) }, async (t) => {
      const { directory } = dataDirectory(t, fixture);
      const before = contents(directory);
      for (const readOnly of [true, false]) {
        await assert.rejects(openMemory({ dataDir: directory, role: 'client', readOnly }), (error) => {
          assert.ok(error.missingStep > 4);
          return coded('ERR_SCHEMA_UNSUPPORTED', /open the directory once as its owner/)(error);
        });
      }
      assert.deepEqual(contents(directory), before);
      // The remedy works.
      await (await openMemory({ dataDir: directory })).dispose();
      const client = await openedClient(t, directory);
      assert.ok((await client.store.getAllProjects()).length > 0);
    });
  }

  for (const fixture of ['newer-v9.1.1-fresh.db', 'newer-v13.15.3-fresh.db']) {
    test(`${fixture} is refused and left byte for byte`, { skip: withoutFixtures(fixture) }, async (t) => {
      const { directory } = dataDirectory(t, fixture);
      const before = contents(directory);
      for (const readOnly of [true, false]) {
        const opening = openMemory({ dataDir: directory, role: 'client', readOnly });
        await assert.rejects(opening, coded('ERR_SCHEMA_UNSUPPORTED', /does not know/));
      }
      assert.deepEqual(contents(directory), before);
    });
  }

  test('that is none is ERR_CORRUPT, and left', async (t) => {
    const { directory, database } = dataDirectory(t);
    fs.writeFileSync(database, 'this is no database, whatever its name says. '.repeat(100));
    const before = contents(directory);
    await assert.rejects(openMemory({ dataDir: directory, role: 'client' }), coded('ERR_CORRUPT'));
    assert.deepEqual(contents(directory), before);
  });

  test('that is missing is created by the first write, with the whole schema', async (t) => {
    const { directory, database } = dataDirectory(t);
    const client = await openedClient(t, path.join(directory, 'not', 'there'));
    const { sessionDbId } = await client.store.beginPrompt('claude', 'project', 'the first prompt');
    assert.equal((await client.queue.enqueue(sessionDbId, message('Edit'))).depth, 1);
    assert.equal((await client.store.searchUserPrompts('first prompt')).length, 1);
    await client.dispose();
    assert.ok(!fs.existsSync(database));
    const owner = await openMemory({ dataDir: path.join(directory, 'not', 'there') });
    assert.equal(owner.queue.depth(sessionDbId), 1);
    await owner.dispose();
  });

  test('is made once where many clients are the first', async (t) => {
    const { directory } = dataDirectory(t);
    const clients = await Promise.all(Array.from({ length: 6 }, () => openedClient(t, directory)));
    const begun = await Promise.all(
      clients.map(async (client, number) => {
        const { sessionDbId } = await client.store.beginPrompt(`claude-${number}`, 'project', 'prompt');
        return client.queue.enqueue(sessionDbId, message('Edit'));
      }),
    );
    assert.equal(new Set(begun.map(({ id }) => id)).size, 6);
    const owner = await openMemory({ dataDir: directory });
    assert.equal(owner.queue.depth(), 6);
    await owner.dispose();
  });
});

describe('readOnly', () => {
  test('a missing file is an empty memory, until it is there', async (t) => {
    const { directory } = dataDirectory(t);
    const client = await openedClient(t, directory, { readOnly: true });
    assert.deepEqual(await client.store.getAllProjects(), []);
    assert.equal(await client.store.getSessionById(1), null);
    assert.equal(await client.store.getPromptCounter(1), 0);
    assert.equal((await client.store.getStats()).observations, 0);
    assert.deepEqual(await client.store.searchObservations('anything'), []);
    assert.deepEqual((await client.pages.getObservations(0, 10)).items, []);
    assert.deepEqual(await client.queue.discover(), []);
    assert.deepEqual(await client.queue.deadLetters(), []);
    assert.equal((await client.health()).role, 'client');
    assert.deepEqual(fs.readdirSync(directory), []);

    const owner = await openMemory({ dataDir: directory });
    t.after(() => owner.dispose());
    const session = await owner.store.createSDKSession('claude', 'project', 'prompt');
    await owner.queue.enqueue(session, message('Edit'));
    assert.deepEqual(await client.store.getAllProjects(), ['project']);
    assert.equal((await client.queue.discover())[0].depth, 1);
  });

  test('every write is ERR_READ_ONLY', async (t) => {
    const opened = await openedMemory(t);
    const session = await opened.session();
    const client = await openedClient(t, opened.directory, { readOnly: true });
    const writes = [
      () => client.store.createSDKSession('other', 'project', 'prompt'),
      () => client.store.storeObservation('claude', 'project', { type: 'change' }),
      () => client.store.markSessionCompleted(session),
      () => client.queue.enqueue(session, message('Edit')),
      () => client.queue.enqueueRaw(session, Buffer.from('{}')),
    ];
    for (const write of writes) await assert.rejects(write(), coded('ERR_READ_ONLY', /readOnly: true/));
    assert.equal(opened.memory.queue.depth(), 0);
    assert.equal((await client.store.getSessionById(session)).project, 'project');
  });

  test(
    'a file and a directory that may only be read',
    { skip: process.platform === 'win32' || process.getuid?.() === 0 ? 'this user may write everything' : false },
    async (t) => {
      const opened = await openedMemory(t);
      await opened.session();
      await opened.memory.dispose();
      fs.chmodSync(opened.database, 0o400);
      fs.chmodSync(opened.directory, 0o500);
      t.after(() => fs.chmodSync(opened.directory, 0o700));
      const client = await openedClient(t, opened.directory, { readOnly: true });
      assert.deepEqual(await client.store.getAllProjects(), ['project']);
    },
  );
});

describe('the queue', () => {
  test('enqueues, knows duplicates, and lists', async (t) => {
    const opened = await openedMemory(t);
    const session = await opened.session();
    const client = await openedClient(t, opened.directory);
    const first = await client.queue.enqueue(session, message('one'), { dedupeKey: 'k' });
    assert.deepEqual(first, { id: first.id, depth: 1, duplicate: false });
    const again = await client.queue.enqueue(session, message('one'), { dedupeKey: 'k' });
    assert.deepEqual(again, { id: first.id, depth: 1, duplicate: 'waiting' });
    const raw = Buffer.from(JSON.stringify({ type: 'observation', tool_name: 'two', prompt_number: 2 }));
    assert.equal((await client.queue.enqueueRaw(session, raw)).depth, 2);
    await client.queue.enqueue(session, message('three', { type: 'note' }), { endsBatch: true });
    const [waiting] = await client.queue.discover();
    assert.deepEqual([waiting.sessionDbId, waiting.depth, waiting.paused], [session, 3, false]);

    assert.equal(await opened.memory.queue.poke(session), 3);
    const consumer = opened.memory.queue.consume(session);
    const seen = [];
    for (let batch = await next(consumer); batch; batch = await next(consumer)) {
      seen.push(batch.messages.map(({ tool_name }) => tool_name));
      await batch.commit();
    }
    assert.deepEqual(seen, [['one'], ['two'], ['three']], 'a prompt each; the last one ends it');
    assert.equal(consumer.endReason, 'summary');
    assert.equal((await client.queue.enqueue(session, message('one'), { dedupeKey: 'k' })).duplicate, 'done');
    assert.deepEqual(await client.queue.discover(), []);
  });

  test('an unknown session, a bound and a wrong message are refused', async (t) => {
    const opened = await openedMemory(t);
    const session = await opened.session();
    const client = await openedClient(t, opened.directory, { maxSessionMessages: 2, maxMessageBytes: 2_000 });
    await assert.rejects(client.queue.enqueue(99, message('x')), coded('ERR_NOT_FOUND', /99/));
    await assert.rejects(client.queue.enqueueRaw(session, Buffer.from('[1]')), coded('ERR_INVALID_ARG'));
    await assert.rejects(client.queue.enqueue(session, message('x'.repeat(2_000))), coded('ERR_QUEUE_FULL', /2000/));
    await opened.put(session, 'a', 'b');
    await assert.rejects(client.queue.enqueue(session, message('c')), (error) => {
      assert.deepEqual([error.depth, error.limit], [2, 2]);
      return coded('ERR_QUEUE_FULL', /maxSessionMessages/)(error);
    });
  });

  test('what only an owner has says so', async (t) => {
    const opened = await openedMemory(t);
    const session = await opened.session();
    const memory = await openedClient(t, opened.directory);
    const { queue, sessions } = memory;
    assert.throws(() => queue.consume(session), coded('ERR_LOCKED', /owner/));
    assert.throws(() => memory.compact(), coded('ERR_NOT_OPEN', /owner/));
    for (const call of [
      () => queue.ready(),
      () => queue.depth(),
      () => queue.bytes(session),
      () => queue.isBusy(),
      () => queue.isReady(session),
      () => queue.hasConsumer(session),
      () => queue.metrics(),
      () => sessions.get(session),
      () => sessions.list(),
      () => sessions.count(),
    ])
      assert.throws(call, coded('ERR_NOT_OPEN', /owner/), `${call}`);
    for (const call of [
      () => queue.purge(session),
      () => queue.poke(),
      () => memory.repair(),
      () => sessions.initialize(session),
      () => sessions.delete(session),
    ])
      await assert.rejects(call(), coded('ERR_NOT_OPEN', /owner/), `${call}`);
    // The names of options and arguments are checked before.
    assert.throws(() => queue.consume('one'), coded('ERR_INVALID_ARG'));
  });

  test('lists and shows dead letters', async (t) => {
    const opened = await openedMemory(t);
    const session = await opened.session();
    await opened.put(session, 'bad');
    const batch = await next(opened.memory.queue.consume(session));
    await batch.deadLetter([batch.messages[0].id], 'of no use');
    const client = await openedClient(t, opened.directory);
    const [letter] = await client.queue.deadLetters();
    assert.equal(letter.error, 'of no use');
    assert.equal((await client.queue.getDeadLetter(letter.id)).message.tool_name, 'bad');
  });

  test('retries and throws away dead letters, which the owner counts', async (t) => {
    const opened = await openedMemory(t);
    const session = await opened.session();
    const { queue } = opened.memory;
    await opened.put(session, 'one', 'two');
    const consumer = queue.consume(session);
    const batch = await next(consumer);
    await batch.deadLetter(
      batch.messages.map(({ id }) => id),
      'of no use',
    );
    await batch.commit();
    const client = await openedClient(t, opened.directory);
    const [first, second] = (await client.queue.deadLetters()).map(({ id }) => id).sort((a, b) => a - b);
    const { depth, duplicate } = await client.queue.retryDeadLetter(first);
    assert.deepEqual([depth, duplicate], [1, false]);
    await assert.rejects(client.queue.retryDeadLetter(first), coded('ERR_NOT_FOUND'));
    assert.equal(await client.queue.purgeDeadLetters({ ids: [first, second] }), 1);
    await until(() => queue.depth(session) === 1 && queue.metrics().dead === 0);
    const again = await next(consumer);
    assert.equal(again.messages[0].tool_name, 'one');
    await again.commit();
  });

  test('pauses and resumes, which ends and lets go the consumers of the owner', async (t) => {
    const opened = await openedMemory(t);
    const session = await opened.session();
    const { queue } = opened.memory;
    const client = await openedClient(t, opened.directory);
    const consumer = queue.consume(session);
    const waiting = next(consumer);
    await client.queue.pause(session, { reason: 'quota' });
    assert.equal(await waiting, undefined);
    assert.equal(consumer.endReason, 'paused');
    await opened.put(session, 'one');
    assert.equal((await client.queue.discover())[0].paused, true);
    assert.equal(queue.isReady(session), false);
    await client.queue.resume(session);
    await until(() => queue.isReady(session));
    await client.queue.pause(null, { untilEpoch: Date.now() + 3_600_000 });
    await queue.poke();
    assert.equal(queue.isReady(session), false);
    const reading = await openedClient(t, opened.directory, { readOnly: true });
    await assert.rejects(reading.queue.resume(), coded('ERR_READ_ONLY'));
  });

  test('checks the files beside the owner, and leaves nothing behind', async (t) => {
    const opened = await openedMemory(t);
    const session = await opened.session();
    await opened.put(session, 'one');
    const client = await openedClient(t, opened.directory, { readOnly: true });
    const report = await client.checkIntegrity();
    assert.deepEqual([report.ok, report.findings], [true, []]);
    const copies = fs.readdirSync(path.join(opened.directory, 'native')).filter((name) => name.startsWith('check'));
    assert.deepEqual(copies, []);
    await foreign.execute(opened.database, 'DROP TRIGGER observations_ai');
    const { findings } = await client.checkIntegrity();
    assert.deepEqual(
      findings.map(({ kind }) => kind),
      ['trigger'],
    );
    // Where nobody has made anything yet there is nothing to find.
    const nobody = await openedClient(t, dataDirectory(t).directory);
    assert.deepEqual((await nobody.checkIntegrity()).findings, []);
  });

  test('exports beside the owner; what it gave away is known when it comes back', async (t) => {
    const opened = await openedMemory(t);
    const session = await opened.session();
    await opened.put(session, 'one', 'two');
    const file = path.join(opened.directory, 'out', 'all.jsonl');
    const reading = await openedClient(t, opened.directory, { readOnly: true });
    const first = await reading.exportTo(file);
    assert.deepEqual([first.sessions, first.messages], [1, 2]);
    const client = await openedClient(t, opened.directory);
    assert.deepEqual({ ...(await client.exportTo(file)), bytes: 0 }, { ...first, bytes: 0 });
    const batch = await next(opened.memory.queue.consume(session));
    await batch.commit();
    // Delivered since: not new.
    const { messages } = await opened.memory.importFrom(file);
    assert.deepEqual([messages.imported, messages.duplicate], [0, 2]);
    await assert.rejects(client.importFrom(file).result, coded('ERR_NOT_OPEN'));
  });

  test('exports a database that no owner has opened yet', async (t) => {
    const { directory } = dataDirectory(t);
    const client = await openedClient(t, directory);
    await client.store.createSDKSession('claude', 'project', 'prompt');
    await foreign.execute(path.join(directory, 'claude-mem.db'), 'DROP TABLE native_ack; DROP TABLE native_ledger');
    const again = await openedClient(t, directory, { readOnly: true });
    const { sessions, messages } = await again.exportTo(path.join(directory, 'all.jsonl'));
    assert.deepEqual([sessions, messages], [1, 0]);
    assert.equal(fs.existsSync(path.join(directory, 'native', 'queue.db')), false);
  });

  test('wakes a waiting consumer and ready(), with a poke and without', async (t) => {
    const opened = await openedMemory(t);
    const [one, two] = [await opened.session('one'), await opened.session('two')];
    const client = await openedClient(t, opened.directory);
    const { queue } = opened.memory;

    const consumer = queue.consume(one);
    const waiting = next(consumer);
    await client.queue.enqueue(one, message('poked'));
    assert.equal(await queue.poke(one), 1);
    const batch = await waiting;
    assert.equal(batch.messages[0].tool_name, 'poked');
    await batch.commit();

    const unpoked = next(consumer);
    const ready = next(queue.ready());
    await client.queue.enqueue(one, message('found'));
    await client.queue.enqueue(two, message('ready'));
    assert.deepEqual(await ready, { sessionDbId: two, depth: 1, attempts: 0 });
    const found = await unpoked;
    assert.equal(found.messages[0].tool_name, 'found');
    assert.equal(queue.depth(), 2);
    await found.commit();
    assert.equal(queue.depth(), 1, 'counted once');
    assert.equal(await queue.poke(), 1);
    assert.equal(queue.metrics(two).depth, 1);
  });

  test('counters of the owner become right by themselves', async (t) => {
    const opened = await openedMemory(t);
    const session = await opened.session();
    const client = await openedClient(t, opened.directory);
    const { bytes } = await client.queue
      .enqueue(session, message('x'))
      .then(async () => (await client.queue.discover())[0]);
    await until(() => opened.memory.queue.depth(session) === 1);
    assert.equal(opened.memory.queue.bytes(session), bytes);
    assert.ok(opened.memory.queue.isBusy() && opened.memory.queue.isReady(session));
    assert.equal(await opened.memory.queue.purge(session), 1);
    assert.equal(opened.memory.queue.depth(), 0);
  });
});

describe('the end', () => {
  test('dispose, twice and with work under way', async (t) => {
    const opened = await openedMemory(t);
    const session = await opened.session();
    const client = await openMemory({ dataDir: opened.directory, role: 'client' });
    const pending = Array.from({ length: 20 }, (_, n) => client.queue.enqueue(session, message(`${n}`)));
    await Promise.all([client.dispose(), client.dispose()]);
    const done = await Promise.allSettled(pending);
    assert.ok(
      done.every(({ status }) => status === 'fulfilled'),
      'what was accepted is finished',
    );
    for (const call of [
      () => client.store.getAllProjects(),
      () => client.store.createSDKSession('x', 'y', 'z'),
      () => client.queue.enqueue(session, message('late')),
      () => client.queue.discover(),
      () => client.health(),
    ])
      await assert.rejects(call(), coded('ERR_DISPOSED'));
    assert.equal(await opened.memory.queue.poke(), 20);
  });

  test('of one that was never used', async (t) => {
    const { directory } = dataDirectory(t);
    const client = await openMemory({ dataDir: directory, role: 'client' });
    await client.dispose();
    assert.deepEqual(fs.readdirSync(directory), []);
  });

  test('health counts it, and figures come from the file', async (t) => {
    const opened = await openedMemory(t);
    const session = await opened.session();
    await opened.put(session, 'a', 'b');
    const client = await openMemory({ dataDir: opened.directory, role: 'client' });
    assert.equal((await opened.memory.health()).role, 'owner');
    const before = (await client.health()).handles.memories;
    // Both files are sampled, each by a thread of its own.
    await until(async () => {
      const { queue, database } = await client.health();
      return queue.depth === 2 && database.sampledAtEpoch > 0;
    });
    const health = await client.health();
    assert.equal(health.role, 'client');
    assert.equal(health.database.path, opened.database);
    assert.ok(health.queueDatabase.sampledAtEpoch > 0 && health.database.bytes > 0);
    await client.dispose();
    assert.equal((await opened.memory.health()).handles.memories, before - 1);
  });

  test('a process ends by itself with a client open', async (t) => {
    const { directory } = dataDirectory(t);
    const script = `
      const { openMemory } = require(${JSON.stringify(path.join(__dirname, '..'))});
      openMemory({ dataDir: ${JSON.stringify(directory)}, role: 'client' }).then(async (client) => {
        const { sessionDbId } = await client.store.beginPrompt('claude', 'project', 'prompt');
        client.queue.enqueue(sessionDbId, { type: 'observation' }).then(({ depth }) => console.log(depth));
      });`;
    const { stdout } = await promisify(execFile)(process.execPath, ['-e', script], { timeout: 60_000 });
    assert.equal(stdout, '1\n', 'what was pending has kept it alive');
  });

  test('garbage-collected and in a worker thread that is terminated', async (t) => {
    const opened = await openedMemory(t);
    const session = await opened.session();
    const script = `
      const { openMemory } = require(${JSON.stringify(path.join(__dirname, '..'))});
      const { parentPort } = require('node:worker_threads');
      (async () => {
        for (let n = 0; n < 20; n += 1) {
          const client = await openMemory({ dataDir: ${JSON.stringify(opened.directory)}, role: 'client' });
          await client.queue.enqueue(${session}, { type: 'observation' });
        }
        globalThis.gc?.();
        const last = await openMemory({ dataDir: ${JSON.stringify(opened.directory)}, role: 'client' });
        await last.queue.enqueue(${session}, { type: 'observation' });
        parentPort.postMessage('done');
        for (;;) await last.queue.enqueue(${session}, { type: 'more' });
      })();`;
    const worker = new Worker(script, { eval: true, execArgv: [] });
    await settled(new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject)));
    await settled(worker.terminate());
    assert.ok((await opened.memory.queue.poke(session)) >= 21);
    await opened.put(session, 'after');
  });
});
