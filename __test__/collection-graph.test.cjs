'use strict';
// A collection of so many vectors that a graph finds them, which is kept in a file between two opens: written once it
// rests, read by the owner and by clients, made anew where anything about it is wrong, and gone with its collection.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');

const { openMemory, restore } = require('..');
const { openedMemory, until } = require('./opened-memory.cjs');
const { direction, unit } = require('./directions.cjs');

// Above the number up to which every vector is compared.
const DOCUMENTS = 20_200;
const DIMENSIONS = 8;
const OPTIONS = {
  parts: ['vectors'],
  embedder: 'external',
  model: { name: 'numbers', dimensions: DIMENSIONS },
  deadlineMs: 60_000,
};

const embed = (number) => direction(number, DIMENSIONS);

const VECTORS = Array.from({ length: DOCUMENTS }, (_, number) => unit(embed(number + 1)));
const QUERIES = Array.from({ length: 10 }, (_, place) => unit(embed(1_000_000 + place)));

const cosine = (one, other) => one.reduce((sum, value, at) => sum + value * other[at], 0);

/** The cosine of the tenth nearest of all; less what 16 bits a number cannot tell apart. */
const WANTED = QUERIES.map((query) => {
  return (
    Float64Array.from(VECTORS, (vector) => cosine(query, vector))
      .sort()
      .at(-10) - 0.004
  );
});

test('the graph of a large collection lies in a file between two opens', { timeout: 600_000 }, async (t) => {
  const opened = await openedMemory(t, OPTIONS);
  const native = path.join(opened.directory, 'native');
  const graphs = () => fs.readdirSync(native).filter((file) => file.endsWith('.usearch'));
  /** The share of what is found that is as near as the ten nearest are. */
  const recall = async (memory) => {
    let found = 0;
    for (const [place, vector] of QUERIES.entries()) {
      const near = await memory.vectors.collection('own').query({ vector, k: 10, include: [] });
      found += near.filter(({ id }) => cosine(vector, VECTORS[Number(id)]) >= WANTED[place]).length;
    }
    return found / (QUERIES.length * 10);
  };
  // The graph is built, and some ten seconds later written.
  const written = async (but) => {
    for (let patience = 0; ; patience += 1) {
      try {
        return await until(() => graphs().length === 1 && graphs()[0] !== but);
      } catch (error) {
        if (patience === 3) throw error; // four minutes
      }
    }
  };

  const collection = opened.memory.vectors.collection('own');
  for (let first = 0; first < DOCUMENTS; first += 10_000) {
    const vectors = VECTORS.slice(first, first + 10_000);
    await collection.upsert(vectors.map((vector, place) => ({ id: String(first + place), vector })));
  }
  assert.deepEqual(graphs(), [], 'nothing is built before it is searched');
  assert.ok((await recall(opened.memory)) >= 0.98);
  await written();
  const [name] = graphs();
  assert.match(name, /^collection-\d+-1\.usearch$/);
  assert.ok((await recall(opened.memory)) >= 0.98);

  // A client reads it, beside the owner, and writes nothing.
  const client = await openMemory({ dataDir: opened.directory, ...OPTIONS, role: 'client' });
  t.after(() => client.dispose());
  assert.ok((await recall(client)) >= 0.98);
  await client.dispose();

  // It is in no backup: what is restored builds its own.
  const backup = path.join(opened.directory, 'backup');
  await opened.memory.backup(backup);
  assert.deepEqual(
    fs.readdirSync(backup).filter((file) => file.endsWith('.usearch')),
    [],
  );
  const restored = path.join(opened.directory, 'restored');
  await restore(backup, restored);
  const other = await openMemory({ dataDir: restored, ...OPTIONS });
  t.after(() => other.dispose());
  assert.ok((await recall(other)) >= 0.98);
  await other.dispose();

  // As it was written it is used, and stays.
  const bytes = fs.readFileSync(path.join(native, name));
  let memory = await opened.reopen();
  assert.ok((await recall(memory)) >= 0.98);
  await memory.dispose();
  assert.deepEqual(graphs(), [name]);
  assert.ok(fs.readFileSync(path.join(native, name)).equals(bytes));

  // One byte is another: it is thrown away, and there is a new one.
  const damaged = Buffer.from(bytes);
  damaged[damaged.length >> 1] ^= 1;
  fs.writeFileSync(path.join(native, name), damaged);
  memory = await opened.reopen();
  assert.ok((await recall(memory)) >= 0.98);
  const isDamaged = () =>
    fs.existsSync(path.join(native, name)) && fs.readFileSync(path.join(native, name)).equals(damaged);
  assert.ok(!isDamaged());
  await written();
  assert.ok(!isDamaged());

  // It goes with its collection.
  assert.equal(await memory.vectors.dropCollection('own'), true);
  assert.deepEqual(graphs(), []);
});
