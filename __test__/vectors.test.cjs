'use strict';
// memory.vectors: documents of the tables and their vectors, kept up to date whoever writes. The caller embeds here
// (embedder: 'external'), so that no model is needed; what needs one says so and is skipped where there is none.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { describe, test } = require('node:test');

const { openMemory } = require('..');
const { runChild } = require('./children/run-child.cjs');
const { dataDirectory, withoutFixtures } = require('./data-directory.cjs');
const foreign = require('./foreign/index.cjs');
const { openedMemory, settled, until } = require('./opened-memory.cjs');

const DIMENSIONS = 32;
const EXTERNAL = { embedder: 'external', model: { name: 'words', dimensions: DIMENSIONS } };

/** Each word points into a direction of its own; a text where its words point. The same everywhere. */
function embed(text) {
  const vector = new Float32Array(DIMENSIONS);
  for (const word of text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? ['']) {
    let state = [...word].reduce((hash, letter) => Math.imul(hash ^ letter.codePointAt(0), 16777619) >>> 0, 2166136261);
    for (let at = 0; at < DIMENSIONS; at++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      vector[at] += state / 2 ** 31 - 1;
    }
  }
  return vector;
}

const cosine = (one, other) => {
  const dot = (a, b) => a.reduce((sum, value, at) => sum + value * b[at], 0);
  return dot(one, other) / Math.sqrt(dot(one, one) * dot(other, other));
};

/** Embeds whatever is pending. */
async function embedAll(memory) {
  for (;;) {
    const pending = await memory.vectors.pending({ limit: 500 });
    if (pending.length === 0) return;
    const given = pending.map(({ documentId, revision, text }) => ({ documentId, revision, vector: embed(text) }));
    const { unknown } = await memory.vectors.put(given);
    assert.deepEqual(unknown, []);
  }
}

/** A memory with one row of each kind. */
async function filled(t, options) {
  const opened = await openedMemory(t, { ...EXTERNAL, ...options });
  const { memory } = opened;
  await memory.store.beginPrompt('claude', 'project', 'why does the worker leak memory');
  opened.observe = (narrative, others) =>
    opened.memory.store.storeObservation('claude', 'project', { type: 'bugfix', narrative, ...others });
  await opened.observe('the queue kept every payload', {
    facts: ['payloads stay on the heap', '', 'a lease ends'],
    concepts: ['memory'],
    files_read: ['/src/queue.ts'],
    files_modified: [],
  });
  await memory.store.storeSummary('claude', 'project', { request: 'find the leak', learned: 'heaps grow' });
  return opened;
}

const ids = (near) => near.map(({ documentId }) => documentId);
const nearest = async (memory, text, options) => ids(await memory.vectors.search({ vector: embed(text), ...options }));

describe('the documents of the tables', () => {
  test('are named, handed out, embedded by the caller, and found nearest first', async (t) => {
    const { memory } = await filled(t);
    const pending = await memory.vectors.pending();
    assert.deepEqual(pending.map(({ documentId, text }) => [documentId, text]).sort(), [
      ['obs_1_fact_0', 'payloads stay on the heap'],
      ['obs_1_fact_2', 'a lease ends'],
      ['obs_1_narrative', 'the queue kept every payload'],
      ['prompt_1', 'why does the worker leak memory'],
      ['summary_1_learned', 'heaps grow'],
      ['summary_1_request', 'find the leak'],
    ]);
    assert.equal((await memory.vectors.pending({ limit: 2 })).length, 2);
    const before = await memory.vectors.status();
    assert.deepEqual(
      [before.state, before.rows, before.documents, before.embedded, before.pending],
      ['waiting', 3, 6, 0, 6],
    );
    assert.match(before.reason, /vectors\.put\(\)/);
    assert.deepEqual(before.model, { name: 'words', dimensions: 32, availability: 'external', reason: null });
    await embedAll(memory);
    const after = await memory.vectors.status();
    assert.deepEqual([after.state, after.embedded, after.pending, after.inMemory], ['current', 6, 0, 6]);

    const found = await memory.vectors.search({ vector: embed('the queue kept every payload'), k: 6 });
    assert.equal(found.length, 6);
    const [first] = found;
    assert.deepEqual(
      { ...first, distance: Math.abs(first.distance) < 1e-2 },
      { documentId: 'obs_1_narrative', kind: 'observation', rowId: 1, field: 'narrative', distance: true },
    );
    const distances = found.map(({ distance }) => distance);
    assert.deepEqual(
      distances,
      [...distances].sort((a, b) => a - b),
    );
    for (const { documentId, distance } of found) {
      const vector = await memory.vectors.get(documentId);
      assert.ok(vector instanceof Float32Array && vector.length === DIMENSIONS);
      assert.ok(Math.abs(1 - cosine(vector, embed('the queue kept every payload')) - distance) < 1e-2);
    }
    assert.equal(await memory.vectors.get('obs_9_text'), null);
  });

  test('are narrowed by kinds and filters before they are ranked', async (t) => {
    const { memory, observe } = await filled(t);
    await memory.store.beginPrompt('other', 'elsewhere', 'why does the worker leak memory here');
    await observe('the queue kept it for long', { type: 'decision' });
    await embedAll(memory);
    const leak = 'why does the worker leak memory';
    assert.equal((await nearest(memory, leak, { k: 1 }))[0], 'prompt_1');
    assert.deepEqual(await nearest(memory, leak, { kinds: ['summary'], k: 1 }), ['summary_1_request']);
    assert.deepEqual(await nearest(memory, leak, { filter: { project: 'elsewhere' } }), ['prompt_2']);
    const of = async (filter) =>
      new Set((await nearest(memory, leak, { filter })).map((id) => id.split('_', 2).join('_')));
    assert.deepEqual(await of({ type: 'decision' }), new Set(['obs_2']));
    assert.deepEqual(await of({ concepts: 'memory' }), new Set(['obs_1']));
    assert.deepEqual(await of({ files: ['queue.ts'] }), new Set(['obs_1']));
    assert.deepEqual(await of({ dateRange: { end: 1 } }), new Set());
    // A filter that no kind asked for has is ignored.
    const prompts = await nearest(memory, leak, { kinds: ['prompt'], filter: { type: 'decision' } });
    assert.deepEqual(prompts, ['prompt_1', 'prompt_2']);
  });

  test('that the caller removes stay out until their text changes, or all is rebuilt', async (t) => {
    const { memory, database } = await filled(t);
    await embedAll(memory);
    assert.equal(await memory.vectors.remove(['obs_1_narrative', 'obs_7_text']), 1);
    const find = () => nearest(memory, 'the queue kept every payload', { k: 10 });
    assert.ok(!(await find()).includes('obs_1_narrative'));
    await memory.vectors.sync();
    assert.equal((await memory.vectors.pending()).length, 0);
    await foreign.execute(database, `UPDATE observations SET narrative = 'the queue kept every payload!' WHERE id = 1`);
    await embedAll(memory);
    assert.equal((await find())[0], 'obs_1_narrative');
    await memory.vectors.remove(['obs_1_narrative']);
    const report = await memory.vectors.rebuild();
    assert.deepEqual([report.rows, report.documents, report.pending, report.embedded], [3, 6, 6, 0]);
    assert.match(report.reason, /vectors\.put/);
    await embedAll(memory);
    assert.equal((await find())[0], 'obs_1_narrative');
  });

  test('take no vector of a text that has changed since, and no wrong vector', async (t) => {
    const { memory, database } = await filled(t);
    const [one] = (await memory.vectors.pending()).filter(({ documentId }) => documentId === 'obs_1_narrative');
    await foreign.execute(database, `UPDATE observations SET narrative = 'another text' WHERE id = 1`);
    const { documentId, revision, text } = one;
    assert.deepEqual(await memory.vectors.put([{ documentId, revision, vector: embed(text) }]), {
      stored: 0,
      stale: ['obs_1_narrative'],
      unknown: [],
    });
    assert.deepEqual(await memory.vectors.put([{ documentId: 'prompt_99', vector: embed('x') }]), {
      stored: 0,
      stale: [],
      unknown: ['prompt_99'],
    });
    for (const [vector, text] of [
      [new Float32Array(3).fill(1), /obs_1_narrative: .*3 numbers/],
      [new Float32Array(DIMENSIONS), /are 0/],
      [new Float32Array(DIMENSIONS).fill(NaN), /finite/],
      ['text', /Float32Array/],
    ]) {
      const given = [
        { documentId: 'prompt_1', vector: embed('fine') },
        { documentId, vector },
      ];
      await assert.rejects(memory.vectors.put(given), (error) => {
        assert.equal(error.code, 'ERR_INVALID_ARG');
        assert.match(error.message, text);
        return true;
      });
      assert.equal(await memory.vectors.get('prompt_1'), null, 'all or none');
    }
  });

  test('arguments and roles are checked', async (t) => {
    const { memory, directory, reopen } = await filled(t);
    const invalid = { code: 'ERR_INVALID_ARG' };
    for (const call of [
      () => memory.vectors.search({}),
      () => memory.vectors.search({ text: 'a', vector: embed('a') }),
      () => memory.vectors.search({ vector: embed('a'), k: 0 }),
      () => memory.vectors.search({ vector: new Float32Array(2).fill(1) }),
      () => memory.vectors.search({ vector: embed('a'), kinds: [] }),
      () => memory.vectors.search({ vector: embed('a'), kinds: ['observations'] }),
      () => memory.vectors.search({ vector: embed('a'), filters: {} }),
      () => memory.vectors.get('obs_1'),
      () => memory.vectors.remove('obs_1_text'),
      () => memory.vectors.remove(['summary_1_narrative']),
      () => memory.vectors.pending({ limit: 0 }),
      () => memory.vectors.put([{ documentId: 'prompt_1' }]),
    ]) {
      await assert.rejects(call(), invalid, `${call}`);
    }
    await assert.rejects(memory.vectors.search({ text: 'a' }), { code: 'ERR_NO_MODEL' });
    for (const option of [
      { indexing: 'sometimes' },
      { vectorPrecision: 'f32' },
      { vectorExpansion: { add: 1 } },
      { vectorMemoryBudget: 5 },
    ]) {
      await assert.rejects(openMemory({ dataDir: directory, ...option }), invalid, JSON.stringify(option));
    }
    const client = await openMemory({ dataDir: directory, role: 'client', ...EXTERNAL });
    t.after(() => client.dispose());
    const owners = { code: 'ERR_NOT_OPEN' };
    assert.throws(() => client.vectors.sync(), owners);
    assert.throws(() => client.vectors.rebuild(), owners);
    await assert.rejects(client.vectors.remove(['prompt_1']), owners);
    await assert.rejects(client.vectors.pending(), owners);
    const { vectors } = await reopen({ parts: ['store', 'queue'] });
    await assert.rejects(vectors.status(), { code: 'ERR_NOT_OPEN', part: 'vectors' });
    assert.throws(() => vectors.sync(), { code: 'ERR_NOT_OPEN', part: 'vectors' });
    const { vectors: alone } = await reopen({ parts: ['vectors'] });
    await assert.rejects(alone.get('prompt_1'), { code: 'ERR_NOT_OPEN', part: 'store' });
    const local = await reopen({});
    await assert.rejects(local.vectors.put([]), { code: 'ERR_MODEL_MISMATCH' });
    await local.dispose();
    await assert.rejects(local.vectors.status(), { code: 'ERR_DISPOSED' });
  });
});

describe('what others write is picked up without anybody calling:', () => {
  test('a foreign process inserts, updates and deletes', async (t) => {
    const { memory, database } = await filled(t);
    await embedAll(memory);
    // Nothing but health() is asked, which looks at no table.
    const documents = async () => (await memory.health()).index.documents;
    await until(async () => (await documents()) === 6);
    const insert = (id, narrative) =>
      `INSERT INTO observations(id, sdk_session_id, project, type, narrative, created_at, created_at_epoch)
       SELECT ${id}, sdk_session_id, 'project', 'change', '${narrative}', '', 5 FROM observations LIMIT 1;`;
    await foreign.execute(database, insert(50, 'somebody else wrote this') + insert(40, 'and this'));
    await until(async () => (await documents()) === 8);
    await foreign.execute(database, 'DELETE FROM observations WHERE id = 40');
    await until(async () => (await documents()) === 7);
    await embedAll(memory);
    assert.equal((await nearest(memory, 'somebody else wrote this'))[0], 'obs_50_narrative');
    // In place: count and ids are as before, and so is the number of documents.
    await foreign.execute(database, `UPDATE observations SET narrative = 'and wrote it anew' WHERE id = 50`);
    await until(async () => (await memory.health()).index.pending === 1);
    assert.ok(!(await nearest(memory, 'somebody else wrote this', { k: 10 })).includes('obs_50_narrative'));
    await embedAll(memory);
    assert.equal((await nearest(memory, 'and wrote it anew'))[0], 'obs_50_narrative');
  });

  test('before a search, however short ago', async (t) => {
    const { memory, database } = await filled(t, { indexing: 'manual' });
    for (let round = 0; round < 20; round++) {
      await foreign.execute(database, `UPDATE observations SET narrative = 'wording${round}' WHERE id = 1`);
      assert.equal((await memory.search.observations(`wording${round}`, { mode: 'keyword' })).results.length, 1);
    }
    await foreign.execute(database, 'DELETE FROM observations WHERE id = 1');
    assert.equal((await memory.search.observations('wording19', { mode: 'keyword' })).results.length, 0);
  });

  test('this memory stores, and deletes', async (t) => {
    const { memory, observe } = await filled(t);
    await observe('a second one');
    assert.ok((await memory.vectors.pending()).some(({ documentId }) => documentId === 'obs_2_narrative'));
    await embedAll(memory);
    await memory.deleteObservations([1]);
    assert.ok(
      !(await nearest(memory, 'the queue kept every payload', { k: 20 })).some((id) => id.startsWith('obs_1_')),
    );
    assert.equal(await memory.vectors.get('obs_1_narrative'), null);
    await memory.deleteProject('project');
    assert.deepEqual(await nearest(memory, 'anything'), []);
    const { rows, documents } = await memory.vectors.status();
    assert.deepEqual([rows, documents], [0, 0]);
  });

  test('with indexing manual nothing is looked at until somebody asks', async (t) => {
    const { memory } = await filled(t, { indexing: 'manual' });
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    assert.equal((await memory.health()).index.state, 'unopened');
    const progress = [];
    const job = memory.vectors.sync();
    for await (const step of job) progress.push(step);
    const report = await job.result;
    const { seconds, ...counts } = report;
    assert.ok(seconds >= 0);
    assert.deepEqual(
      { ...counts, reason: null },
      {
        rows: 3,
        documents: 6,
        embedded: 0,
        removed: 0,
        unchanged: 0,
        pending: 6,
        reason: null,
      },
    );
    assert.ok(progress.length > 0);
    assert.deepEqual(Object.keys(progress[0]), ['done', 'total', 'documentsPerSecond', 'etaMs']);
  });
});

describe('native/index.db', () => {
  const file = (directory, name = 'index.db') => path.join(directory, 'native', name);
  const DAMAGES = {
    'is deleted': (place) => fs.rmSync(place),
    'is garbage': (place) => fs.writeFileSync(place, 'garbage'.repeat(5_000)),
    'is truncated': (place) => fs.truncateSync(place, 4_096 * 3),
    'is empty': (place) => fs.writeFileSync(place, ''),
  };
  for (const [damage, make] of Object.entries(DAMAGES)) {
    test(`made anew where it ${damage}`, async (t) => {
      const opened = await filled(t);
      await embedAll(opened.memory);
      await opened.memory.dispose();
      assert.deepEqual(
        fs.readdirSync(path.join(opened.directory, 'native')).filter((name) => name.startsWith('index')),
        ['index.db'],
      );
      make(file(opened.directory));
      const memory = await opened.reopen({ ...EXTERNAL });
      assert.equal((await memory.search.observations('payload', { mode: 'keyword' })).results.length, 1);
      await embedAll(memory);
      assert.equal((await nearest(memory, 'the queue kept every payload'))[0], 'obs_1_narrative');
      assert.equal((await memory.health()).status, 'ok');
    });
  }

  test('made anew where somebody deletes it while it is open', { skip: process.platform === 'win32' }, async (t) => {
    const { memory, directory } = await filled(t);
    await embedAll(memory);
    fs.rmSync(file(directory));
    await embedAll(memory);
    assert.equal((await nearest(memory, 'the queue kept every payload'))[0], 'obs_1_narrative');
    assert.ok(fs.existsSync(file(directory)));
    assert.equal((await memory.vectors.status()).remade, 2);
  });

  test('a client reads what the owner has committed, before there is a file too', async (t) => {
    const { directory } = dataDirectory(t);
    const client = await openMemory({ dataDir: directory, role: 'client', ...EXTERNAL });
    t.after(() => client.dispose());
    assert.deepEqual(await nearest(client, 'anything'), []);
    const memory = await openMemory({ dataDir: directory, ...EXTERNAL });
    t.after(() => memory.dispose());
    await memory.store.beginPrompt('claude', 'project', 'what a client may find');
    await embedAll(memory);
    assert.deepEqual(await nearest(client, 'what a client may find'), ['prompt_1']);
    assert.ok((await client.vectors.get('prompt_1')) instanceof Float32Array);
    assert.deepEqual((await client.vectors.status()).documents, 1);
    // Another file, made while the client has the first one open.
    await memory.vectors.rebuild();
    await embedAll(memory);
    assert.deepEqual(await nearest(client, 'what a client may find'), ['prompt_1']);
  });

  test('vectors of another model are kept, and not used, until others come', async (t) => {
    const opened = await filled(t);
    await embedAll(opened.memory);
    const other = { embedder: 'external', model: { name: 'others', dimensions: 4 } };
    const memory = await opened.reopen(other);
    const vector = Float32Array.of(1, 2, 3, 4);
    await assert.rejects(memory.vectors.search({ vector }), { code: 'ERR_MODEL_MISMATCH' });
    const status = await memory.vectors.status();
    assert.deepEqual([status.state, status.otherModel], ['waiting', { name: 'words', dimensions: 32 }]);
    assert.equal((await memory.health()).status, 'warn');
    assert.equal(await memory.vectors.get('prompt_1'), null);
    assert.equal((await nearest(await opened.reopen(EXTERNAL), 'find the leak'))[0], 'summary_1_request');
    const again = await opened.reopen(other);
    await again.vectors.put([{ documentId: 'prompt_1', vector }]);
    assert.deepEqual(ids(await again.vectors.search({ vector })), ['prompt_1']);
    assert.equal((await again.vectors.status()).pending, 5);
  });

  for (const [point, what] of [
    ['index-commit=abort-2', 'rows were being indexed'],
    ['index-write-commit=abort-2', 'vectors were being stored'],
    ['index-open=abort', 'it was being opened'],
  ]) {
    test(`a process that dies while ${what} leaves nothing wrong`, async (t) => {
      const { directory } = dataDirectory(t);
      const env = { CLAUDE_MEM_NATIVE_FAULT: point };
      const child = await runChild('vectors-worker.cjs', { args: [directory], env });
      assert.notEqual(child.code, 0, child.stdout);
      const whole = await runChild('vectors-worker.cjs', { args: [directory] });
      assert.deepEqual([whole.code, whole.stderr], [0, '']);
      const { documents, pending, found } = JSON.parse(whole.stdout.trim().split('\n').at(-1));
      assert.deepEqual([pending, found], [0, 'prompt_1']);
      assert.ok(documents >= 1);
    });
  }

  test('a panic of the indexer is told, and it goes on', async (t) => {
    const { directory } = dataDirectory(t);
    const env = { CLAUDE_MEM_NATIVE_FAULT: 'index-feed=panic-once' };
    const whole = await runChild('vectors-worker.cjs', { args: [directory], env });
    assert.equal(whole.code, 0, whole.stderr);
    assert.equal(JSON.parse(whole.stdout.trim().split('\n').at(-1)).found, 'prompt_1');
  });
});

test('a job ends with its memory', async (t) => {
  const { memory } = await filled(t);
  const job = memory.vectors.rebuild();
  const [ended] = await Promise.all([Promise.allSettled([job.result]), memory.dispose()]);
  if (ended[0].status === 'rejected') assert.equal(ended[0].reason.code, 'ERR_DISPOSED');
  assert.throws(() => memory.vectors.sync(), { code: 'ERR_DISPOSED' });
});

test(
  'the reference database: every row is indexed in the background',
  {
    skip: withoutFixtures('claude-mem-6.0.2.db'),
  },
  async (t) => {
    const { directory } = dataDirectory(t, 'claude-mem-6.0.2.db');
    const memory = await openMemory({ dataDir: directory, ...EXTERNAL });
    t.after(() => memory.dispose());
    await until(async () => (await memory.health()).index.rows === 3_496 + 420 + 900);
    const since = performance.now();
    const { results } = await settled(memory.search.all('token refresh', { mode: 'keyword' }));
    t.diagnostic(`one search: ${(performance.now() - since).toFixed(1)} ms`);
    assert.ok(results.length > 0);
    assert.ok((await memory.vectors.status()).documents > 17_000);
  },
);

test('with the model: what is stored is embedded in the background and found by its meaning', async (t) => {
  const { memory } = await openedMemory(t);
  const { model } = await memory.vectors.status();
  if (model.availability === 'missing') return t.skip(model.reason);
  await memory.store.beginPrompt('claude', 'project', 'the cat sleeps on the sofa');
  await memory.store.beginPrompt('claude', 'project', 'compile the kernel with debug symbols');
  await until(async () => (await memory.vectors.status()).state === 'current');
  const [first] = await memory.vectors.search({ text: 'a pet is resting' });
  assert.equal(first.documentId, 'prompt_1');
  const job = memory.vectors.rebuild();
  const report = await job;
  assert.deepEqual([report.embedded, report.pending, report.reason], [2, 0, null]);
});
