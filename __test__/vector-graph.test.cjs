'use strict';
// So many documents that a graph finds them, which is kept in a file between two opens: written, checked, read again, and
// made anew where anything about it is wrong. The caller embeds, so that no model is needed.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');

const { openedMemory, until } = require('./opened-memory.cjs');
const { direction, unit } = require('./directions.cjs');

// Above the number up to which every document is compared.
const DOCUMENTS = 20_200;
const DIMENSIONS = 8;
const OPTIONS = { embedder: 'external', model: { name: 'numbers', dimensions: DIMENSIONS }, deadlineMs: 60_000 };

const embed = (number) => direction(number, DIMENSIONS);

const cosine = (one, other) => {
  const [a, b] = [unit(one), unit(other)];
  return a.reduce((sum, value, at) => sum + value * b[at], 0);
};

/** The cosine of the tenth nearest of all, compared one by one; less what 16 bits a number cannot tell apart. */
function least(query) {
  const cosines = Float64Array.from({ length: DOCUMENTS }, (_, place) => cosine(query, embed(place + 1)));
  return cosines.sort().at(-10) - 0.004;
}

/** Whether a file has these bytes still: a new one may have its name. */
const isThere = (file, bytes) => fs.existsSync(file) && fs.readFileSync(file).equals(bytes);

const QUERIES = Array.from({ length: 10 }, (_, place) => embed(1_000_000 + place));

test('the graph of many vectors lies in a file between two opens', { timeout: 600_000 }, async (t) => {
  const opened = await openedMemory(t, OPTIONS);
  let { memory } = opened;
  const native = path.join(opened.directory, 'native');
  const snapshots = () => fs.readdirSync(native).filter((file) => file.endsWith('.usearch'));
  const answers = async () => (await memory.vectors.status()).answers;
  const wanted = QUERIES.map(least);
  /** The share of what is found that is as near as the ten nearest are. */
  const recall = async () => {
    let found = 0;
    for (const [place, vector] of QUERIES.entries()) {
      const near = await memory.vectors.search({ vector, k: 10 });
      found += near.filter(({ rowId }) => cosine(vector, embed(rowId)) >= wanted[place]).length;
    }
    return found / (QUERIES.length * 10);
  };
  // The graph is built, and written: at once where there was none, else some ten seconds after the last change.
  const written = async (since) => {
    const isNew = (file) => (fs.statSync(path.join(native, file), { throwIfNoEntry: false })?.mtimeMs ?? 0) >= since;
    for (let patience = 0; ; patience += 1) {
      try {
        return await until(
          async () => (await answers()) === 'graph' && snapshots().length === 1 && snapshots().every(isNew),
        );
      } catch (error) {
        if (patience === 3) throw error; // four minutes
      }
    }
  };

  await memory.store.createSDKSession('claude', 'project', 'ask');
  const rows = Array.from({ length: DOCUMENTS }, (_, place) => place + 1);
  await Promise.all(rows.map((number) => memory.store.saveUserPrompt('claude', number, `number ${number}`)));
  for (;;) {
    const pending = await memory.vectors.pending({ limit: 10_000 });
    if (pending.length === 0) break;
    const given = pending.map(({ documentId, revision }) => {
      return { documentId, revision, vector: embed(Number(documentId.split('_')[1])) };
    });
    await memory.vectors.put(given);
  }
  await written(Date.now());
  const [first] = snapshots();
  assert.ok((await recall()) >= 0.98);

  // As it was written it is there at once, and the file stays.
  memory = await opened.reopen();
  await memory.vectors.sync();
  assert.equal(await answers(), 'graph');
  assert.deepEqual(snapshots(), [first]);
  assert.ok((await recall()) >= 0.98);

  // One byte is another: it is not used. Until there is a new one every vector is compared.
  await memory.dispose();
  const file = path.join(native, first);
  const bytes = fs.readFileSync(file);
  bytes[bytes.length >> 1] ^= 1;
  fs.writeFileSync(file, bytes);
  const damagedAt = Date.now();
  memory = await opened.reopen();
  await memory.vectors.sync();
  if ((await answers()) !== 'graph') assert.equal(await recall(), 1);
  assert.ok(!isThere(file, bytes), 'it is thrown away');
  await written(damagedAt);
  const [second] = snapshots();
  assert.ok((await recall()) >= 0.98);

  // Gone, or cut off: the same.
  await memory.dispose();
  const rest = fs.readFileSync(path.join(native, second)).subarray(0, 100);
  fs.writeFileSync(path.join(native, second), rest);
  memory = await opened.reopen();
  await memory.vectors.sync();
  assert.equal((await memory.vectors.status()).inMemory, DOCUMENTS);
  assert.ok(!isThere(path.join(native, second), rest));
  assert.ok((await recall()) >= 0.98);
});
