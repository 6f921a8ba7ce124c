'use strict';
// memory.vectors.collection(): the caller's own documents, with vectors that are handed over; and with texts, where
// there is a model.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { spawn } = require('node:child_process');
const { describe, test } = require('node:test');

const { openMemory, restore } = require('..');
const { dataDirectory, withoutFixtures } = require('./data-directory.cjs');
const foreign = require('./foreign/index.cjs');
const { settled, until } = require('./opened-memory.cjs');

const VECTORS = { parts: ['vectors'] };

/** A memory with nothing but vectors, on a new directory, and without a model: also where this machine has one. */
async function vectorMemory(t, options = VECTORS) {
  const { directory, database } = dataDirectory(t);
  const models = path.join(directory, 'no-models');
  const opened = { directory, database, models };
  opened.open = async (others) => {
    const before = process.env.CLAUDE_MEM_MODEL_DIR;
    process.env.CLAUDE_MEM_MODEL_DIR = models;
    try {
      const memory = await openMemory({ dataDir: directory, ...options, ...others });
      t.after(() => memory.dispose());
      return memory;
    } finally {
      if (before === undefined) delete process.env.CLAUDE_MEM_MODEL_DIR;
      else process.env.CLAUDE_MEM_MODEL_DIR = before;
    }
  };
  opened.memory = await opened.open();
  opened.reopen = async (others) => {
    await opened.memory.dispose();
    opened.memory = await opened.open(others);
    return opened.memory;
  };
  return opened;
}

const ids = (documents) => documents.map(({ id }) => id);

/** `count` documents on a quarter of a circle, from 0° on. */
const circle = (count) =>
  Array.from({ length: count }, (_, number) => ({
    id: `${number}`,
    text: `note ${number}`,
    metadata: { number, even: number % 2 === 0, name: `n${number % 3}` },
    vector: new Float32Array([Math.cos((number / count) * 1.5), Math.sin((number / count) * 1.5)]),
  }));

test('documents are stored, found, read, counted and removed', async (t) => {
  const { memory, reopen } = await vectorMemory(t);
  const notes = memory.vectors.collection('notes');
  assert.equal(notes.name, 'notes');
  assert.deepEqual(await notes.query({ vector: [1, 0] }), [], 'what is not there yet is empty');
  assert.equal(await notes.count(), 0);
  assert.deepEqual(await memory.vectors.collections(), []);

  assert.deepEqual(await notes.upsert(circle(20)), { stored: 20, owed: 0, reason: null });
  const collectionBytes = async () => (await memory.health()).native.collectionBytes;
  assert.equal(await collectionBytes(), 0, 'nothing is in memory before the first search');
  const inMemory = async () => {
    const [{ answers, precision, memoryBytes }] = await memory.vectors.collections();
    return [answers, precision, memoryBytes === (await collectionBytes())];
  };
  assert.deepEqual(await inMemory(), ['fromFile', null, true]);
  const found = await notes.query({ vector: new Float32Array([2, 0]), k: 3 });
  assert.ok((await collectionBytes()) > 0);
  assert.deepEqual(await inMemory(), ['exact', 'i16', true]);
  assert.deepEqual(ids(found), ['0', '1', '2']);
  assert.deepEqual(found[1].metadata, { number: 1, even: false, name: 'n1' });
  assert.equal(found[1].text, 'note 1');
  assert.ok(Math.abs(found[1].distance - (1 - Math.cos(1.5 / 20))) < 1e-3, `${found[1].distance}`);
  assert.deepEqual(Object.keys(found[0]), ['id', 'text', 'metadata', 'distance']);
  assert.deepEqual(ids(await notes.query({ vector: [0, 1], k: 2, where: { even: true } })), ['18', '16']);
  assert.equal((await notes.query({ vector: [0, 1] })).length, 10);
  assert.deepEqual(ids(await notes.query({ vector: [1, 0], maxDistance: 0.004 })), ['0', '1']);
  const [bare] = await notes.query({ vector: [1, 0], k: 1, include: ['vector'] });
  assert.deepEqual([bare.text, bare.metadata, bare.vector], [null, null, new Float32Array([1, 0])]);

  assert.deepEqual(ids(await notes.get({ ids: ['7', 'none', '3'] })), ['3', '7'], 'in the order in which they came');
  assert.deepEqual(ids(await notes.get({ where: { number: { $gte: 5, $lt: 9 } }, limit: 2, offset: 1 })), ['6', '7']);
  assert.deepEqual(ids(await notes.get({ whereDocument: { $contains: 'note 1' }, limit: 3 })), ['1', '10', '11']);
  assert.deepEqual(ids(await notes.get({ ids: ['1', '2'], where: { even: true } })), ['2']);
  assert.equal(await notes.count({ where: { $or: [{ name: 'n0' }, { number: 1 }] } }), 8);

  // One that is there is replaced as a whole, and keeps its place.
  await notes.upsert([{ id: '3', vector: [0, -1] }]);
  const [, , , replaced] = await notes.get();
  assert.deepEqual(replaced, { id: '3', text: null, metadata: null });
  assert.equal(await notes.count({ where: { number: 3 } }), 0);
  assert.deepEqual(ids(await notes.query({ vector: [0, -1], k: 1 })), ['3']);

  assert.equal(await notes.delete({ ids: ['3', 'none'] }), 1);
  assert.equal(await notes.delete({ where: { even: true }, whereDocument: { $not_contains: '18' } }), 9);
  assert.equal(await notes.count(), 10);
  assert.deepEqual(ids(await notes.query({ vector: [1, 0], k: 3 })), ['1', '5', '7']);
  const again = await reopen();
  assert.deepEqual(ids(await again.vectors.collection('notes').query({ vector: [1, 0], k: 3 })), ['1', '5', '7']);
  const [listed] = await again.vectors.collections();
  assert.ok(Date.now() - listed.createdAtEpoch < 600_000);
  assert.ok(listed.memoryBytes > 0);
  assert.deepEqual(
    { ...listed, createdAtEpoch: 0, memoryBytes: 0 },
    {
      name: 'notes',
      count: 10,
      owed: 0,
      dimensions: 2,
      model: null,
      createdAtEpoch: 0,
      answers: 'exact',
      precision: 'i16',
      memoryBytes: 0,
    },
  );
  assert.ok((await again.health()).native.collectionBytes > 0);
  assert.equal(await again.vectors.dropCollection('notes'), true);
  assert.equal((await again.health()).native.collectionBytes, 0);
  assert.equal(await again.vectors.dropCollection('notes'), false);
  assert.deepEqual(await again.vectors.collections(), []);
});

test('without a model texts are kept, and found by their metadata', async (t) => {
  const { memory } = await vectorMemory(t);
  const notes = memory.vectors.collection('notes');
  const { stored, owed, reason } = await notes.upsert([{ id: 'a', text: 'the heap leaks', metadata: { kind: 'bug' } }]);
  assert.deepEqual([stored, owed, typeof reason], [1, 1, 'string']);
  assert.deepEqual(ids(await notes.get({ where: { kind: 'bug' } })), ['a']);
  await assert.rejects(notes.query({ text: 'memory' }), { code: 'ERR_NO_MODEL' });
  assert.equal((await memory.vectors.collections())[0].owed, 1);
  // Vectors of one's own, as long as the model's or not.
  await memory.vectors.createCollection('own', { dimensions: 384 });
  await memory.vectors.createCollection('own', { dimensions: 384 });
  const own = memory.vectors.collection('own');
  await assert.rejects(own.upsert([{ id: 'a', text: 'text' }]), { code: 'ERR_NO_MODEL', message: /hand one over/ });
  await assert.rejects(own.upsert([{ id: 'a', vector: [1, 2] }]), /'documents\[0\]\.vector' has 2 numbers/);
  await assert.rejects(own.query({ text: 'text' }), { code: 'ERR_NO_MODEL', message: /query it with a vector/ });
  await assert.rejects(memory.vectors.createCollection('own', { dimensions: 3 }), { code: 'ERR_INVALID_ARG' });
});

test('what is of the wrong form is refused by name, and nothing is stored', async (t) => {
  const { memory } = await vectorMemory(t);
  const notes = memory.vectors.collection('notes');
  for (const [call, named] of [
    [() => notes.upsert('a'), /argument 'documents' must be an array/],
    [() => notes.upsert([{ vector: [1] }]), /'documents\[0\]\.id' is missing/],
    [() => notes.upsert([{ id: 1, vector: [1] }]), /'documents\[0\]\.id' must be a string, got 1/],
    [() => notes.upsert([{ id: 'é'.repeat(257), vector: [1] }]), /has 514 bytes; an id has 1 to 512/],
    [() => notes.upsert([{ id: 'a' }]), /'documents\[0\]\.text' is missing/],
    [() => notes.upsert([{ id: 'a', txt: 'x' }]), /'documents\[0\]\.txt' is not known/],
    [
      () =>
        notes.upsert([
          { id: 'a', vector: [1] },
          { id: 'a', vector: [1] },
        ]),
      /'documents\[1\]\.id' is 'a'/,
    ],
    [() => notes.upsert([{ id: 'a', vector: [1, NaN] }]), /'documents\[0\]\.vector\[1\]' must be a finite/],
    [() => notes.upsert([{ id: 'a', vector: new Float32Array([1, NaN]) }]), /'documents\[0\]\.vector'.*NaN/],
    [() => notes.upsert([{ id: 'a', vector: [0, 0] }]), /'documents\[0\]\.vector'.*are 0/],
    [() => notes.upsert([{ id: 'a', vector: new Float64Array([1]) }]), /must be a Float32Array or an array/],
    [() => notes.upsert([{ id: 'a', vector: new Float32Array(new SharedArrayBuffer(8)) }]), /not shared/],
    [() => notes.upsert([{ id: 'a', vector: [1], metadata: { x: [] } }]), /'documents\[0\]\.metadata\.x' must be/],
    [() => notes.upsert([{ id: 'a', vector: [1], metadata: { x: Infinity } }]), /metadata\.x' must be a finite/],
    [() => notes.upsert([{ id: 'a', vector: [1], metadata: { $x: 1 } }]), /operators of filters/],
    [() => notes.upsert(Array(10_001).fill({ id: 'a', vector: [1] })), /10001 documents in one call/],
    [() => notes.query({}), /either 'text' or 'vector'/],
    [() => notes.query({ text: 'a', vector: [1] }), /either 'text' or 'vector'/],
    [() => notes.query({ vector: [1], k: 0 }), /option 'k'/],
    [() => notes.query({ vector: [1], maxDistance: 3 }), /option 'maxDistance' must be a number from 0 to 2/],
    [() => notes.query({ vector: [1], limit: 3 }), /unknown option 'limit'/],
    [() => notes.query({ vector: [1], include: ['texts'] }), /got 'texts'; did you mean 'text'/],
    [() => notes.get({ where: {} }), /'where': must be an object with one condition/],
    [() => notes.get({ where: { a: { $gtt: 1 } } }), /'where\.a\.\$gtt': unknown operator/],
    [() => notes.get({ where: { a: NaN } }), /'where\.a': must be a string, a finite number/],
    [() => notes.get({ whereDocument: { $contains: '' } }), /'whereDocument\.\$contains': must be a string/],
    [() => notes.delete({}), /to remove all use dropCollection/],
    [() => memory.vectors.dropCollection(''), /argument 'name'/],
    [() => memory.vectors.createCollection('a', { dimensions: 4097 }), /option 'dimensions'/],
  ]) {
    await assert.rejects(call(), (error) => {
      assert.equal(error.code, 'ERR_INVALID_ARG', error.message);
      assert.match(error.message, named);
      return true;
    });
  }
  assert.throws(() => memory.vectors.collection('é'.repeat(257)), { code: 'ERR_INVALID_ARG' });
  assert.deepEqual(await memory.vectors.collections(), []);
});

describe('beside a claude-mem.db of any version, which is not opened:', () => {
  for (const name of ['newer-v7.4.5-fresh.db', 'newer-v9.1.1-fresh.db', 'newer-v13.15.3-fresh.db']) {
    for (const parts of [['vectors'], ['queue', 'vectors']]) {
      test(`${name} with ${parts.join(' and ')}`, { skip: withoutFixtures(name) }, async (t) => {
        const { directory, database } = dataDirectory(t, name);
        const outside = () => {
          const { size, mtimeNs, ctimeNs, ino } = fs.statSync(database, { bigint: true });
          return { size, mtimeNs, ctimeNs, ino };
        };
        const before = [outside(), fs.readFileSync(database)];
        const memory = await openMemory({ dataDir: directory, parts });
        t.after(() => memory.dispose());
        const notes = memory.vectors.collection('notes');
        await notes.upsert(circle(10));
        assert.equal((await notes.query({ vector: [1, 0], k: 1 }))[0].id, '0');
        assert.equal((await memory.checkIntegrity()).ok, true);
        await assert.rejects(memory.store.getSessionById(1), { code: 'ERR_NOT_OPEN' });
        await memory.dispose();
        assert.deepEqual(outside(), before[0]);
        assert.ok(fs.readFileSync(database).equals(before[1]));
        assert.deepEqual(fs.readdirSync(directory).sort(), ['claude-mem.db', 'native']);
      });
    }
  }
});

test('the owner writes, clients read what it has committed', async (t) => {
  const { memory, open } = await vectorMemory(t);
  const client = await open({ role: 'client' });
  const reader = await open({ role: 'client', readOnly: true });
  assert.deepEqual(await client.vectors.collections(), []);
  const notes = memory.vectors.collection('notes');
  await notes.upsert(circle(10));
  for (const other of [client, reader]) {
    const theirs = other.vectors.collection('notes');
    assert.deepEqual(ids(await theirs.query({ vector: [1, 0], k: 2 })), ['0', '1']);
    await notes.delete({ ids: ['0'] });
    await notes.upsert([{ id: '1', vector: [0, 1] }]);
    assert.deepEqual(ids(await theirs.query({ vector: [1, 0], k: 2 })), ['2', '3']);
    for (const write of [
      () => theirs.upsert([{ id: 'x', vector: [1, 0] }]),
      () => theirs.delete({ ids: ['2'] }),
      () => other.vectors.createCollection('x', { dimensions: 1 }),
      () => other.vectors.dropCollection('notes'),
    ]) {
      await assert.rejects(write(), { code: 'ERR_NOT_OPEN', message: /only the owner/ });
    }
    await notes.upsert(circle(10));
  }
  const queue = await openMemory({ dataDir: dataDirectory(t).directory, parts: ['queue'] });
  t.after(() => queue.dispose());
  await assert.rejects(queue.vectors.collections(), { code: 'ERR_NOT_OPEN' });
  await assert.rejects(queue.vectors.collection('a').upsert([]), { code: 'ERR_NOT_OPEN' });
});

test('a worker that is killed loses nothing that was acknowledged', async (t) => {
  const { memory, directory, open } = await vectorMemory(t);
  await memory.dispose();
  const acknowledged = new Set();
  for (let round = 0; round < 4; round++) {
    const script = path.join(__dirname, 'children', 'collection-writer.cjs');
    const child = spawn(process.execPath, [script, directory], { stdio: ['ignore', 'pipe', 'inherit'] });
    t.after(() => child.kill('SIGKILL'));
    let said = '';
    child.stdout.setEncoding('utf8').on('data', (text) => (said += text));
    const ended = new Promise((resolve) => child.on('close', resolve));
    await until(() => said.split('\n').length > 20 * (round + 1));
    child.kill('SIGKILL');
    await settled(ended);
    // A line that was being written when the process died is no word that was given.
    for (const id of said.split('\n').slice(0, -1)) acknowledged.add(id);
    const after = await open();
    const notes = after.vectors.collection('notes');
    const kept = await notes.get({ limit: 100_000 });
    const byId = new Map(kept.map((document) => [document.id, document]));
    for (const id of acknowledged) {
      assert.deepEqual(byId.get(id), { id, text: `note ${id}`, metadata: { number: Number(id) } });
    }
    assert.equal((await notes.query({ vector: [1, 0], k: 10_000 })).length, kept.length, 'each with its vector');
    assert.equal(await notes.count({ where: { number: { $gte: 0 } } }), kept.length, 'and its metadata');
    assert.equal((await after.checkIntegrity()).ok, true);
    await after.dispose();
  }
});

test('dispose while upserts are in flight: each is stored whole or not at all, and says so', async (t) => {
  const { memory, reopen } = await vectorMemory(t);
  const notes = memory.vectors.collection('notes');
  const upserts = Array.from({ length: 50 }, (_, round) =>
    notes.upsert(circle(100).map((document) => ({ ...document, id: `${round}.${document.id}` }))),
  );
  const querying = notes.query({ vector: [1, 0] });
  const disposing = memory.dispose();
  const outcomes = await settled(Promise.allSettled(upserts));
  await settled(Promise.allSettled([querying]));
  await settled(disposing);
  await assert.rejects(notes.upsert([]), { code: 'ERR_DISPOSED' });
  await assert.rejects(notes.count(), { code: 'ERR_DISPOSED' });
  const after = (await reopen()).vectors.collection('notes');
  for (const [round, { status, value, reason }] of outcomes.entries()) {
    const stored = (await after.get({ ids: circle(100).map(({ id }) => `${round}.${id}`) })).length;
    if (status === 'fulfilled') assert.deepEqual([value.stored, stored], [100, 100]);
    else assert.deepEqual([reason.code, stored], ['ERR_DISPOSED', 0]);
  }
});

test('a lock that another process holds is waited for until the deadline', async (t) => {
  const { memory, directory } = await vectorMemory(t);
  const notes = memory.vectors.collection('notes');
  await notes.upsert(circle(2));
  const holder = await foreign.hold(path.join(directory, 'native', 'collections.db'));
  t.after(() => holder.kill());
  await assert.rejects(notes.upsert([{ id: 'x', vector: [1, 1] }], { deadlineMs: 50 }), { code: 'ERR_BUSY' });
  await assert.rejects(notes.delete({ ids: ['0'], deadlineMs: 50 }), { code: 'ERR_BUSY' });
  assert.deepEqual(ids(await notes.query({ vector: [1, 0] })), ['0', '1'], 'reads wait for nobody');
});

test('backup, restore and check', async (t) => {
  const { memory, directory, reopen } = await vectorMemory(t);
  const folder = path.join(directory, 'backup');
  await assert.rejects(memory.backup(folder).result, { code: 'ERR_IO' }, 'nothing was made yet');
  assert.deepEqual(await memory.checkIntegrity().then(({ ok, findings }) => [ok, findings]), [true, []]);
  const notes = memory.vectors.collection('notes');
  await notes.upsert(circle(10));
  const manifest = await memory.backup(folder);
  assert.deepEqual(
    manifest.files.map(({ name, place, rows }) => [name, place, rows]),
    [['collections.db', 'native/collections.db', { collections: 1, documents: 10 }]],
  );
  await notes.delete({ ids: ['0'] });
  await assert.rejects(restore(folder, directory, { overwrite: true, lockWaitMs: 0 }).result, { code: 'ERR_LOCKED' });
  await memory.dispose();
  const [restored] = (await restore(folder, directory, { overwrite: true })).files;
  assert.equal(restored.name, 'collections.db');
  const again = await reopen();
  assert.equal(await again.vectors.collection('notes').count(), 10);
  // Damage is found; what is derived is made again.
  const file = path.join(directory, 'native', 'collections.db');
  await foreign.execute(
    file,
    "UPDATE metadata SET name = 'other' WHERE name = 'number'; DELETE FROM vectors WHERE key = 2",
  );
  const report = await again.checkIntegrity();
  assert.deepEqual(
    [report.ok, report.findings.map(({ kind }) => kind).sort()],
    [false, ['metadata-differs', 'vector-missing']],
  );
  const repaired = await again.repair();
  assert.deepEqual(
    repaired.actions.map(({ table }) => table),
    ['metadata'],
  );
  assert.deepEqual(
    repaired.report.findings.map(({ kind }) => kind),
    ['vector-missing'],
  );
  assert.equal(await again.vectors.collection('notes').count({ where: { number: 3 } }), 1);
});

test('a collections.db of a later engine is refused and left as it was', async (t) => {
  const { memory, directory } = await vectorMemory(t);
  await memory.vectors.collection('notes').upsert(circle(1));
  await memory.dispose();
  const file = path.join(directory, 'native', 'collections.db');
  await foreign.execute(file, 'PRAGMA user_version=99');
  const before = fs.readFileSync(file);
  for (const role of ['owner', 'client']) {
    const refused = async () => {
      const opened = await openMemory({ dataDir: directory, ...VECTORS, role });
      t.after(() => opened.dispose());
      await opened.vectors.collections();
    };
    await assert.rejects(refused(), { code: 'ERR_SCHEMA_UNSUPPORTED', message: /format 99/ });
  }
  assert.ok(fs.readFileSync(file).equals(before));
});

test('deleted documents are overwritten with secureDelete', async (t) => {
  const { memory, directory } = await vectorMemory(t, { ...VECTORS, secureDelete: true });
  const notes = memory.vectors.collection('notes');
  const secret = 'a very secret text that nobody may read again';
  await notes.upsert([{ id: 'a', text: secret, metadata: { s: 'a secret value of it' }, vector: [1, 0] }]);
  await notes.upsert([{ id: 'b', text: 'another', vector: [1, 0] }]);
  await notes.delete({ ids: ['a'] });
  await memory.dispose();
  const bytes = fs.readFileSync(path.join(directory, 'native', 'collections.db'));
  assert.equal(bytes.includes('another'), true);
  assert.equal(bytes.includes(secret), false);
  assert.equal(bytes.includes('a secret value'), false);
});

test('texts are found by what they say', async (t) => {
  const { directory } = dataDirectory(t);
  const memory = await openMemory({ dataDir: directory, ...VECTORS });
  t.after(() => memory.dispose());
  const notes = memory.vectors.collection('notes');
  const documents = [
    { id: 'leak', text: 'The worker keeps growing until the machine runs out of memory.', metadata: { area: 'heap' } },
    { id: 'button', text: 'The submit button is blue and rounded.', metadata: { area: 'page' } },
    { id: 'login', text: 'Users are logged out when their token expires.', metadata: { area: 'auth' } },
  ];
  const { owed, reason } = await notes.upsert(documents);
  if (owed > 0) return t.skip(`there is no model on this machine: ${reason}`);
  assert.deepEqual(ids(await notes.query({ text: 'memory leak', k: 1 })), ['leak']);
  assert.deepEqual(ids(await notes.query({ text: 'session timeout', k: 1 })), ['login']);
  assert.deepEqual(ids(await notes.query({ text: 'memory leak', k: 1, where: { area: { $ne: 'heap' } } })).length, 1);
  await notes.upsert([{ id: 'leak', text: 'Cats like fish.' }]);
  assert.equal((await notes.query({ text: 'what do pets eat', k: 1 }))[0].id, 'leak');
});
