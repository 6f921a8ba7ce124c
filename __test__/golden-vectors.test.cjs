'use strict';
// The vectors that Chroma has stored, read here from its files without our importer, against those that we answer.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');

const { openMemory } = require('..');
const { dataDirectory, withoutFixtures } = require('./data-directory.cjs');

const FIXTURES = path.join(__dirname, '../../shared/fixtures');
const CHROMA = path.join(FIXTURES, 'chroma');
const DATABASE = 'claude-mem-6.0.2.db';
// Its text was rewritten in the vector store.
const STALE = 'obs_162_fact_0';
// Its vector was, alone: the log has an update of it without metadata, by a vector that the model does not make of its text.
const REPLACED = 'obs_45_narrative';
const skip = withoutFixtures(DATABASE, 'chroma', 'golden-vector-queries.json');

/** Rows of a table of an SQLite file (no journal): [rowid, ...columns], by its b-tree. */
function* rowsOf(file, table) {
  const size = file.readUInt16BE(16) === 1 ? 65536 : file.readUInt16BE(16);
  const usable = size - file[20];
  const varint = (bytes, at) => {
    let value = 0;
    for (let n = 0; n < 8; n += 1) {
      value = value * 128 + (bytes[at + n] & 127);
      if (bytes[at + n] < 128) return [value, at + n + 1];
    }
    return [value * 256 + bytes[at + 8], at + 9];
  };
  function payload(at, length) {
    if (length <= usable - 35) return file.subarray(at, at + length);
    const least = Math.floor(((usable - 12) * 32) / 255) - 23;
    const wanted = least + ((length - least) % (usable - 4));
    const local = wanted <= usable - 35 ? wanted : least;
    const parts = [file.subarray(at, at + local)];
    let next = file.readUInt32BE(at + local);
    for (let rest = length - local; rest > 0; rest -= usable - 4) {
      const start = (next - 1) * size;
      parts.push(file.subarray(start + 4, start + 4 + Math.min(rest, usable - 4)));
      next = file.readUInt32BE(start);
    }
    return Buffer.concat(parts);
  }
  function record(bytes) {
    let [end, at] = varint(bytes, 0);
    const values = [];
    const header = end;
    while (at < header) {
      let type;
      [type, at] = varint(bytes, at);
      const width = type >= 12 ? (type - (12 + (type % 2))) / 2 : [0, 1, 2, 3, 4, 6, 8, 8, 0, 0][type];
      const part = bytes.subarray(end, end + width);
      end += width;
      if (type >= 12) values.push(type % 2 ? part.toString() : part);
      else if (type >= 8) values.push(type - 8);
      else if (type === 0) values.push(null);
      else values.push(width > 6 ? Number(part.readBigInt64BE()) : part.readIntBE(0, width));
    }
    return values;
  }
  function* walk(page) {
    const start = (page - 1) * size;
    const head = start + (page === 1 ? 100 : 0);
    const inner = file[head] === 5;
    for (let n = 0; n < file.readUInt16BE(head + 3); n += 1) {
      const cell = start + file.readUInt16BE(head + (inner ? 12 : 8) + 2 * n);
      if (inner) {
        yield* walk(file.readUInt32BE(cell));
      } else {
        const [length, after] = varint(file, cell);
        const [rowid, at] = varint(file, after);
        yield [rowid, ...record(payload(at, length))];
      }
    }
    if (inner) yield* walk(file.readUInt32BE(head + 8));
  }
  if (table === undefined) return yield* walk(1);
  for (const [, type, name, , root] of rowsOf(file)) if (type === 'table' && name === table) yield* walk(root);
}

const floats = (bytes) => Float32Array.from({ length: 384 }, (_, n) => bytes.readFloatLE(4 * n));

/** document id => the vector that the Chroma directory holds for it. */
function storedVectors() {
  const sqlite = fs.readFileSync(path.join(CHROMA, 'chroma.sqlite3'));
  const segment = [...rowsOf(sqlite, 'segments')]
    .flat()
    .find((v) => fs.existsSync(path.join(CHROMA, `${v}`, 'header.bin')));
  const read = (name) => fs.readFileSync(path.join(CHROMA, segment, name));
  const [header, data, pickle] = ['header.bin', 'data_level0.bin', 'index_metadata.pickle'].map(read);
  const [rows, stride, label, offset] = [20, 28, 36, 44].map((at) => Number(header.readBigUInt64LE(at)));
  // id_to_label: texts (X, length, itself), each followed by its number (J); label_to_id is the other way round.
  const first = pickle.indexOf('id_to_label');
  const other = pickle.indexOf('label_to_id');
  const last = other > first ? other : pickle.length;
  const ids = new Map();
  for (let at = first; at < last - 5; at += 1) {
    const end = at + 5 + pickle.readUInt32LE(at + 1);
    if (pickle[at] !== 0x58 || end + 5 > pickle.length || pickle[end] !== 0x4a) continue;
    const id = pickle.toString('utf8', at + 5, end);
    if (/^(obs|summary|prompt)_\w+$/.test(id)) ids.set(pickle.readInt32LE(end + 1), id);
  }
  const vectors = new Map();
  for (let row = 0; row < rows; row += 1) {
    const bytes = data.subarray(row * stride, (row + 1) * stride);
    const id = ids.get(Number(bytes.readBigUInt64LE(label)));
    if (!(bytes[2] & 1) && id) vectors.set(id, floats(bytes.subarray(offset)));
  }
  const upto = [...rowsOf(sqlite, 'max_seq_id')].find((row) => row.includes(segment)).at(-1);
  for (const [seq, , , operation, , id, vector] of rowsOf(sqlite, 'embeddings_queue')) {
    if (seq <= upto) continue;
    if (operation === 3) vectors.delete(id);
    else if (vector && (operation === 2 || vectors.has(id) === (operation === 1))) vectors.set(id, floats(vector));
  }
  return vectors;
}

function cosine(a, b) {
  let [ab, aa, bb] = [0, 0, 0];
  for (let n = 0; n < a.length; n += 1) {
    ab += a[n] * b[n];
    aa += a[n] * a[n];
    bb += b[n] * b[n];
  }
  return ab / Math.sqrt(aa * bb);
}

/** A memory on the reference database; null where there is no model, which skips the test and says why. */
async function onReference(t) {
  const memory = await openMemory({ dataDir: dataDirectory(t, DATABASE).directory, indexing: 'manual' });
  t.after(() => memory.dispose());
  const { model } = await memory.vectors.status();
  if (model.availability !== 'missing') return memory;
  t.skip(model.reason);
  return null;
}

test('what was taken over is what Chroma has stored, within 16-bit rounding', { skip }, async (t) => {
  const memory = await onReference(t);
  if (memory === null) return;
  const stored = storedVectors();
  assert.equal(stored.size, 3155);
  const copy = dataDirectory(t).directory;
  fs.cpSync(CHROMA, copy, { recursive: true });
  for (const entry of fs.readdirSync(copy, { recursive: true })) fs.chmodSync(path.join(copy, entry), 0o700);
  await memory.vectors.importChroma(copy);
  let compared = 0;
  let least = 1;
  for (const [id, vector] of stored) {
    if (id === STALE) continue;
    const ours = await memory.vectors.get(id);
    assert.ok(ours, id);
    // Half a unit in the last of 11 binary places; below 2^-14 the steps no longer shrink.
    const off = vector.findIndex((value, n) => Math.abs(ours[n] - value) > Math.abs(value) * 2 ** -11 + 1e-6);
    assert.equal(off, -1, `${id}: number ${off} is ${ours[off]}, stored ${vector[off]}`);
    least = Math.min(least, cosine(ours, vector));
    compared += 1;
  }
  t.diagnostic(`${compared} vectors, least cosine ${least}`);
  assert.equal(compared, 3154);
  assert.ok(least >= 0.99999, `${least}`);
});

test('own vectors are those of the float model, and find the same', { skip }, async (t) => {
  const memory = await onReference(t);
  if (memory === null) return;
  const stored = storedVectors();
  stored.delete(STALE);
  stored.delete(REPLACED);
  const kept = new Set(
    [...stored.keys()]
      .filter((id) => id.startsWith('obs_'))
      .slice(0, 350)
      .map((id) => +id.split('_')[1])
      .slice(0, 100),
  );
  const others = Array.from({ length: 3600 }, (_, n) => n + 1).filter((id) => !kept.has(id));
  for (let n = 0; n < others.length; n += 500) {
    await memory.deleteObservations(others.slice(n, n + 500));
    await memory.deleteSummaries(others.slice(n, n + 500));
  }
  await memory.vectors.sync();
  const near = [];
  for (const [id, vector] of stored) {
    const ours = await memory.vectors.get(id);
    if (ours) near.push({ id, vector, cosine: cosine(ours, vector) });
  }
  near.sort((a, b) => a.cosine - b.cosine);
  const low = near.slice(0, 5).map((one) => `${one.id} ${one.cosine.toFixed(6)}`);
  t.diagnostic(`${near.length} documents, lowest: ${low.join(', ')}`);
  assert.ok(near.length >= 200, `${near.length} documents`);

  const { queries } = JSON.parse(fs.readFileSync(path.join(FIXTURES, 'golden-vector-queries.json'), 'utf8'));
  const of = new Set(near.map(({ id }) => id));
  let shared = 0;
  for (const { embedding } of queries) {
    const exact = near.map(({ id, vector }) => [id, cosine(vector, embedding)]).sort((a, b) => b[1] - a[1]);
    // Documents that Chroma does not have are left out of ours.
    const answer = await memory.vectors.search({ vector: Float32Array.from(embedding), k: 1000 });
    const ours = new Set(
      answer
        .map(({ documentId }) => documentId)
        .filter((id) => of.has(id))
        .slice(0, 50),
    );
    shared += exact.slice(0, 50).filter(([id]) => ours.has(id)).length;
  }
  t.diagnostic(`${shared} of ${50 * queries.length} nearest`);
  assert.ok(near[0].cosine >= 0.999, low.join(', '));
  assert.ok(shared >= 0.98 * 50 * queries.length, `${shared} of ${50 * queries.length}`);
});
