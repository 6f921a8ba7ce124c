'use strict';
// What 6.0.2 answers, and what ours does: every call of the golden files, by the rules of their README.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');

const { openMemory } = require('..');
const { dataDirectory, withoutFixtures } = require('./data-directory.cjs');
const foreign = require('./foreign/index.cjs');

const REFERENCE = 'claude-mem-6.0.2.db';
const FIXTURES = path.join(__dirname, '../../shared/fixtures');
const readGolden = (name) => JSON.parse(fs.readFileSync(path.join(FIXTURES, name), 'utf8'));

const PART = { store: 'store', search: 'store', pagination: 'pages' };

/** Calls a method as the golden files write it down; resolves with {result} or {error}. */
async function call(memory, { target, method, args }) {
  try {
    return { result: await memory[PART[target]][method](...args) };
  } catch (error) {
    return { error };
  }
}

/** `undefined` as the golden files write it. */
const plain = (value) => (value === undefined ? { $undefined: true } : value);

/** The same value with rows of one millisecond in the order of their ids: they may change places. */
function withTiesInOrder(value) {
  if (Array.isArray(value)) {
    const items = value.map(withTiesInOrder);
    if (!items.every((item) => item !== null && typeof item === 'object' && 'created_at_epoch' in item)) return items;
    const ordered = [];
    for (let start = 0; start < items.length;) {
      let end = start;
      while (end < items.length && items[end].created_at_epoch === items[start].created_at_epoch) end += 1;
      ordered.push(...items.slice(start, end).sort((a, b) => a.id - b.id));
      start = end;
    }
    return ordered;
  }
  if (value === null || typeof value !== 'object') return value;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, withTiesInOrder(inner)]));
}

/** Equal in content, keys and order. */
const same = (a, b) => JSON.stringify(withTiesInOrder(plain(a))) === JSON.stringify(withTiesInOrder(plain(b)));

// What an independent reading of the rules expects where 6.0.2 itself fails.

/** What `json_each` finds in a column; nothing where the text cannot be read. */
function elements(text) {
  if (text === null) return [];
  try {
    const value = JSON.parse(text);
    return value !== null && typeof value === 'object' ? Object.values(value) : [value];
  } catch {
    return [];
  }
}

/** SQL's LIKE '%…%'. */
function like(value, part) {
  const pattern = part
    .replace(/[.*+?^${}()|[\]\\]/g, '\\$&')
    .replaceAll('%', '[^]*')
    .replaceAll('_', '[^]');
  return new RegExp(pattern, 'i').test(String(value));
}

const many = (value) => (Array.isArray(value) ? value : [value]);

function matching(rows, columns, options, files) {
  const { type, project, dateRange = {}, orderBy, limit = 50, offset = 0 } = options;
  const time = (bound) => (typeof bound === 'number' ? bound : Date.parse(bound));
  const hasFile = (row) =>
    columns.some((column) => elements(row[column]).some((value) => files.some((file) => like(value, file))));
  const found = rows.filter(
    (row) =>
      hasFile(row) &&
      (!project || row.project === project) &&
      (type === undefined || !('type' in row) || many(type).includes(row.type)) &&
      (!dateRange.start || row.created_at_epoch >= time(dateRange.start)) &&
      (!dateRange.end || row.created_at_epoch <= time(dateRange.end)),
  );
  const direction = orderBy === 'date_asc' ? 1 : -1;
  found.sort((a, b) => direction * (a.created_at_epoch - b.created_at_epoch) || a.id - b.id);
  return found.slice(offset, offset + limit);
}

/** What a call answers that 6.0.2 fails in over JSON that it cannot read. */
function expectedDespiteBadJson({ method, args: [value, options] }, tables) {
  const columns = ['files_read', 'files_modified'];
  if (method === 'findByFile') {
    return {
      observations: matching(tables.observations, columns, options, [value]),
      sessions: matching(
        tables.session_summaries,
        ['files_read', 'files_edited'],
        { ...options, orderBy: 'date_desc' },
        [value],
      ),
    };
  }
  assert.equal(method, 'findByType');
  return matching(tables.observations, columns, { ...options, type: value }, many(options.files));
}

/** Whether ours does what the rules say where 6.0.2 fails. */
async function agreesInFailure(memory, golden, ours, tables) {
  const { message } = golden.error;
  if (/malformed JSON/.test(message)) return same(ours.result, expectedDespiteBadJson(golden, tables));
  if (/syntax error/.test(message)) return ours.error?.code === 'ERR_INVALID_ARG';
  if (/unterminated string/.test(message)) {
    const [query, ...rest] = golden.args;
    const spaced = await call(memory, { ...golden, args: [query.replaceAll('\0', ' '), ...rest] });
    return ours.error === undefined && same(ours.result, spaced.result);
  }
  if (/no such column: s\.concepts/.test(message)) {
    const { concepts, ...options } = golden.args[1];
    assert.notEqual(concepts, undefined);
    const without = await call(memory, { ...golden, args: [golden.args[0], options] });
    return ours.error === undefined && same(ours.result, without.result);
  }
  return false;
}

test('golden reads', { skip: withoutFixtures(REFERENCE, 'golden-reads.json') }, async (t) => {
  const { directory, database } = dataDirectory(t, REFERENCE);
  const memory = await openMemory({ dataDir: directory });
  t.after(() => memory.dispose());
  const tables = {
    observations: await foreign.query(database, 'SELECT * FROM observations'),
    session_summaries: await foreign.query(database, 'SELECT * FROM session_summaries'),
  };
  const { calls } = readGolden('golden-reads.json');
  const disagreements = [];
  for (const golden of calls) {
    const ours = await call(memory, golden);
    const agrees = golden.error
      ? await agreesInFailure(memory, golden, ours, tables)
      : ours.error === undefined && same(ours.result, golden.result);
    if (!agrees) disagreements.push({ call: golden, ours });
  }
  t.diagnostic(`golden reads: ${calls.length - disagreements.length} of ${calls.length} agree`);
  assert.deepEqual(disagreements, []);
});

const isTime = (key) => key.endsWith('_at') || key.endsWith('_epoch') || key === 'createdAtEpoch';

/** The same value with times masked as in the golden file. */
function masked(value) {
  if (Array.isArray(value)) return value.map(masked);
  if (value === null || typeof value !== 'object') return value;
  const entries = Object.entries(value);
  return Object.fromEntries(
    entries.map(([key, inner]) => [key, isTime(key) && inner !== null ? '<ts>' : masked(inner)]),
  );
}

/** How ours names what 6.0.2 throws. */
const CODE = { SqliteError: 'ERR_CONSTRAINT', TypeError: 'ERR_INVALID_ARG' };

test('golden writes', { skip: withoutFixtures('golden-writes.json') }, async (t) => {
  const { directory, database } = dataDirectory(t);
  const golden = readGolden('golden-writes.json');
  const memory = await openMemory({ dataDir: directory });
  t.after(() => memory.dispose());
  const disagreements = [];
  let outOfScope = 0;
  for (const golden_ of golden.calls) {
    if (golden_.sql) {
      await foreign.execute(database, golden_.sql);
    } else if (golden_.target === 'settings') {
      outOfScope += 1;
    } else {
      const ours = await call(memory, golden_);
      const agrees = golden_.error
        ? ours.error?.code === CODE[golden_.error.name]
        : ours.error === undefined && JSON.stringify(masked(plain(ours.result))) === JSON.stringify(golden_.result);
      if (!agrees) disagreements.push({ call: golden_, ours });
    }
  }
  const inScope = golden.calls.length - outOfScope;
  t.diagnostic(
    `golden writes: ${inScope - disagreements.length} of ${inScope} agree, ` +
      `${outOfScope} calls of the viewer's settings are not part of the store`,
  );
  assert.deepEqual(disagreements, []);
  for (const [table, expected] of Object.entries(golden.tables)) {
    const rows = await foreign.query(database, `SELECT * FROM ${table} ORDER BY id`);
    assert.deepEqual(masked(rows), expected, table);
  }
  for (const table of Object.keys(golden.fts_integrity)) {
    // Fails where the text index and its table disagree.
    await foreign.execute(database, `INSERT INTO ${table}(${table}, rank) VALUES ('integrity-check', 1)`);
  }
  const order = (a, b) => (a.name < b.name ? -1 : 1);
  const sequence = await foreign.query(database, "SELECT name, seq FROM sqlite_sequence WHERE name NOT LIKE 'native%'");
  assert.deepEqual(sequence.sort(order), golden.sequence.sort(order));
});
