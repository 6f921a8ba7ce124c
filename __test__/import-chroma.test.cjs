'use strict';
// memory.vectors.importChroma(): the vectors of directories that Chroma itself has written. Whether a directory can be
// damaged without harm is a matter of the Rust tests of its reader.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { describe, test } = require('node:test');

const { openMemory } = require('..');
const { dataDirectory, withoutFixtures } = require('./data-directory.cjs');

const FIXTURES = path.join(__dirname, '../../shared/fixtures');
const DATABASE = 'claude-mem-6.0.2.db';
const skip = withoutFixtures(DATABASE, 'chroma', 'chroma-small-0.6.3', 'golden-vector-queries.json');

/** A copy of a fixture that nobody else looks at, and what its files are. */
function copyOf(t, name) {
  const { directory } = dataDirectory(t);
  fs.cpSync(path.join(FIXTURES, name), directory, { recursive: true });
  // The fixtures may be read-only; a copy is not, so that writing to it would be noticed.
  for (const entry of fs.readdirSync(directory, { recursive: true })) fs.chmodSync(path.join(directory, entry), 0o700);
  return directory;
}

const contents = (directory) =>
  fs
    .readdirSync(directory, { recursive: true })
    .map((name) => [name, fs.statSync(path.join(directory, name))])
    .map(([name, stat]) => [name, stat.isFile() ? [stat.size, stat.mtimeMs] : null]);

/** A memory on the reference database. */
async function opened(t, options) {
  const memory = await openMemory({ dataDir: dataDirectory(t, DATABASE).directory, indexing: 'manual', ...options });
  t.after(() => memory.dispose());
  return memory;
}

/** The same; skips the test where there is no model, and says why. */
async function onReference(t) {
  const memory = await opened(t);
  const { model } = await memory.vectors.status();
  if (model.availability === 'missing') {
    t.skip(model.reason);
    return null;
  }
  return memory;
}

describe('importChroma', { skip }, () => {
  test('takes over every vector whose text is current, and finds what Chroma found', async (t) => {
    const memory = await onReference(t);
    if (memory === null) return;
    const directory = copyOf(t, 'chroma');
    const before = contents(directory);
    const job = memory.vectors.importChroma(directory);
    const steps = [];
    for await (const progress of job) steps.push(progress);
    const { sample, ...report } = await job.result;
    assert.deepEqual(report, {
      documents: 3155,
      imported: 3154,
      current: 0,
      stale: 1,
      orphaned: 0,
      rejected: 0,
      reasons: [{ reason: 'stale', count: 1, examples: ['obs_162_fact_0'] }],
    });
    assert.ok(sample.compared > 16 && sample.median > 0.999, JSON.stringify(sample));
    assert.deepEqual(steps.at(-1), { done: 3155, total: 3155 });
    assert.deepEqual(contents(directory), before, 'the directory is only read');

    const { queries } = JSON.parse(fs.readFileSync(path.join(FIXTURES, 'golden-vector-queries.json'), 'utf8'));
    for (const { text, embedding, exact_ids: exact, exact_sq_l2: distances } of queries) {
      const near = await memory.vectors.search({ vector: Float32Array.from(embedding), k: 100 });
      const found = new Set(near.map(({ documentId }) => documentId));
      const shared = exact.filter((id) => found.has(id)).length;
      assert.ok(shared >= 98, `${text}: ${shared} of the 100 nearest`);
      // |a - b|² = 2 (1 - cos) at unit length.
      assert.ok(Math.abs(near[0].distance - distances[0] / 2) < 1e-3, `${text}: ${near[0].distance}`);
    }

    const { sample: none, ...again } = await memory.vectors.importChroma(directory);
    assert.deepEqual([again.imported, again.current, again.stale, none], [0, 3154, 1, null], 'idempotent');
  });

  test('what the older writer has left, all of it still in its log', async (t) => {
    const memory = await onReference(t);
    if (memory === null) return;
    const report = await memory.vectors.importChroma(copyOf(t, 'chroma-small-0.6.3'));
    assert.equal(report.documents, 300);
    assert.equal(report.imported + report.stale + report.orphaned, 300);
    assert.ok(report.imported > 0, JSON.stringify(report));
  });

  test('says what is wrong, and takes nothing', async (t) => {
    const memory = await onReference(t);
    if (memory === null) return;
    const directory = copyOf(t, 'chroma-small-0.6.3');
    const rejects = (what, code, expression) =>
      assert.rejects(
        async () => await what(),
        (error) => {
          assert.equal(error.code, code, error.message);
          assert.match(error.message, expression);
          return true;
        },
      );
    const { vectors } = memory;
    await rejects(() => vectors.importChroma(path.join(directory, 'nowhere')), 'ERR_NOT_FOUND', /nowhere/);
    await rejects(() => vectors.importChroma(directory, { collection: 'other' }), 'ERR_NOT_FOUND', /cm__claude-mem/);
    assert.throws(() => vectors.importChroma(''), { code: 'ERR_INVALID_ARG' });
    assert.throws(() => vectors.importChroma(directory, { colection: 'x' }), { code: 'ERR_INVALID_ARG' });
    fs.truncateSync(path.join(directory, 'chroma.sqlite3'), 8192);
    await rejects(() => vectors.importChroma(directory), 'ERR_CORRUPT', /chroma\.sqlite3/);
    assert.equal((await vectors.status()).embedded, 0);
    await memory.dispose();
    assert.throws(() => vectors.importChroma(directory), { code: 'ERR_DISPOSED' });
  });
});

test('a memory without a model takes nothing over, and says so', { skip }, async (t) => {
  const memory = await opened(t, { modelDir: dataDirectory(t).directory });
  const job = memory.vectors.importChroma(copyOf(t, 'chroma-small-0.6.3'));
  await assert.rejects(async () => await job, { code: 'ERR_NO_MODEL' });
});
