'use strict';
// Going back to claude-mem 6.0.2: once `native/` and the `native_` tables are gone, its own statements work as on a
// file that this engine has never seen. They are written here from the interface alone (names, arguments, what is
// stored and answered), run by another process with a SQLite of its own, and compared with what 6.0.2 answered.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');

const { openMemory } = require('..');
const { dataDirectory, withoutFixtures } = require('./data-directory.cjs');
const foreign = require('./foreign/index.cjs');
const { message, next, until } = require('./opened-memory.cjs');

const FIXTURES = path.join(__dirname, '../../shared/fixtures');
const REFERENCE = 'claude-mem-6.0.2.db';
const TABLES = ['schema_versions', 'sdk_sessions', 'observations', 'session_summaries', 'user_prompts'];
const FULL_TEXT = ['observations_fts', 'session_summaries_fts', 'user_prompts_fts'];

/** A value as a SQL literal. Text crosses as its bytes: NULs and halves of surrogate pairs arrive as with a binding. */
function literal(value) {
  if (value === null || value === undefined) return 'NULL';
  if (typeof value === 'number') return String(value);
  return `CAST(x'${Buffer.from(value, 'utf8').toString('hex')}' AS TEXT)`;
}

const sql = (parts, ...values) => parts.reduce((text, part, at) => text + literal(values[at - 1]) + part);

/** 6.0.2's statements on one file. */
class Plain {
  #file;
  #clock = 1_764_000_000_000;

  constructor(file) {
    this.#file = file;
  }

  rows = (text) => foreign.query(this.#file, text);
  first = async (text) => (await this.rows(text))[0] ?? null;
  /** For what must fail: tells why. */
  execute = (text) => foreign.execute(this.#file, `PRAGMA foreign_keys=ON; ${text}`);

  /** Ids of what was written; a statement that is refused rejects with SQLite's own words. */
  async write(text) {
    try {
      return await this.rows(`${text} RETURNING id`);
    } catch (error) {
      await this.execute(text);
      throw error;
    }
  }

  #now() {
    const epoch = (this.#clock += 1);
    return [new Date(epoch).toISOString(), epoch];
  }

  async createSDKSession(claude, project, prompt) {
    const [iso, epoch] = this.#now();
    await this.write(sql`INSERT OR IGNORE INTO sdk_sessions
      (claude_session_id, sdk_session_id, project, user_prompt, started_at, started_at_epoch, status)
      VALUES (${claude}, ${claude}, ${project}, ${prompt}, ${iso}, ${epoch}, 'active')`);
    const row = await this.first(sql`SELECT id FROM sdk_sessions WHERE claude_session_id = ${claude}`);
    if (!row) throw new TypeError("Cannot read properties of undefined (reading 'id')");
    return row.id;
  }

  async incrementPromptCounter(id) {
    await this.write(sql`UPDATE sdk_sessions SET prompt_counter = COALESCE(prompt_counter, 0) + 1 WHERE id = ${id}`);
    return (await this.#session('prompt_counter', id))?.prompt_counter ?? 1;
  }

  #session = (columns, id) => this.first(`SELECT ${columns} FROM sdk_sessions WHERE id = ${literal(id)}`);

  getPromptCounter = async (id) => (await this.#session('prompt_counter', id))?.prompt_counter ?? 0;

  async saveUserPrompt(claude, number, text) {
    const [iso, epoch] = this.#now();
    const [{ id }] = await this.write(sql`INSERT INTO user_prompts
      (claude_session_id, prompt_number, prompt_text, created_at, created_at_epoch)
      VALUES (${claude}, ${number}, ${text}, ${iso}, ${epoch})`);
    return id;
  }

  async #ensureSession(sdk, project) {
    if (await this.first(sql`SELECT id FROM sdk_sessions WHERE sdk_session_id = ${sdk}`)) return;
    const [iso, epoch] = this.#now();
    await this.write(sql`INSERT INTO sdk_sessions
      (claude_session_id, sdk_session_id, project, started_at, started_at_epoch, status)
      VALUES (${sdk}, ${sdk}, ${project}, ${iso}, ${epoch}, 'active')`);
  }

  async storeObservation(sdk, project, given, promptNumber) {
    await this.#ensureSession(sdk, project);
    const [iso, epoch] = this.#now();
    const { type, title, subtitle, narrative } = given;
    const [facts, concepts, read, modified] = ['facts', 'concepts', 'files_read', 'files_modified'].map((name) =>
      JSON.stringify(given[name]),
    );
    const [{ id }] = await this.write(sql`INSERT INTO observations
      (sdk_session_id, project, type, title, subtitle, facts, narrative, concepts, files_read, files_modified,
       prompt_number, created_at, created_at_epoch)
      VALUES (${sdk}, ${project}, ${type}, ${title}, ${subtitle}, ${facts}, ${narrative}, ${concepts}, ${read}, ${modified},
       ${promptNumber || null}, ${iso}, ${epoch})`);
    return { id, createdAtEpoch: '<ts>' };
  }

  async storeSummary(sdk, project, given, promptNumber) {
    await this.#ensureSession(sdk, project);
    const [iso, epoch] = this.#now();
    const { request, investigated, learned, completed, next_steps: nextSteps, notes } = given;
    const [{ id }] = await this.write(sql`INSERT INTO session_summaries
      (sdk_session_id, project, request, investigated, learned, completed, next_steps, notes, prompt_number, created_at,
       created_at_epoch)
      VALUES (${sdk}, ${project}, ${request}, ${investigated}, ${learned}, ${completed}, ${nextSteps}, ${notes},
       ${promptNumber || null}, ${iso}, ${epoch})`);
    return { id, createdAtEpoch: '<ts>' };
  }

  updateSDKSessionId = async (id, sdk) =>
    (await this.write(sql`UPDATE sdk_sessions SET sdk_session_id = ${sdk} WHERE id = ${id} AND sdk_session_id IS NULL`))
      .length > 0;

  async setWorkerPort(id, port) {
    await this.write(sql`UPDATE sdk_sessions SET worker_port = ${port} WHERE id = ${id}`);
  }

  getWorkerPort = async (id) => (await this.#session('worker_port', id))?.worker_port ?? null;

  async #finish(id, status) {
    const [iso, epoch] = this.#now();
    await this.write(sql`UPDATE sdk_sessions
      SET status = ${status}, completed_at = ${iso}, completed_at_epoch = ${epoch} WHERE id = ${id}`);
  }

  markSessionCompleted = (id) => this.#finish(id, 'completed');
  markSessionFailed = (id) => this.#finish(id, 'failed');

  async reactivateSession(id, prompt) {
    await this.write(sql`UPDATE sdk_sessions
      SET status = 'active', user_prompt = ${prompt}, worker_port = NULL WHERE id = ${id}`);
  }

  findActiveSDKSession = (claude) =>
    this.first(sql`SELECT id, sdk_session_id, project, worker_port FROM sdk_sessions
      WHERE claude_session_id = ${claude} AND status = 'active' LIMIT 1`);

  async #search(table, query) {
    const phrase = `"${query.replaceAll('"', '""')}"`;
    const rows = await this.rows(
      `SELECT t.*, f.rank AS rank FROM ${table} t JOIN ${table}_fts f ON t.id = f.rowid
       WHERE ${table}_fts MATCH ${literal(phrase)} ORDER BY f.rank`,
    );
    const ranks = rows.map(({ rank }) => rank);
    const [low, high] = [Math.min(...ranks), Math.max(...ranks)];
    return rows.map((row) => ({ ...row, score: 1 - (row.rank - low) / (high - low || 1) }));
  }

  searchObservations = (query) => this.#search('observations', query);
  searchSessions = (query) => this.#search('session_summaries', query);
  searchUserPrompts = (query) => this.#search('user_prompts', query);

  /** A table that no version up to 6.0.2 makes: reading answers the defaults, writing fails. */
  async getSettings() {
    await assert.rejects(this.execute('SELECT * FROM viewer_settings'), /no such table: viewer_settings/);
    return { sidebarOpen: true, selectedProject: null, theme: 'system' };
  }

  updateSettings = () => this.execute('INSERT INTO viewer_settings DEFAULT VALUES');
}

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

/** Runs the golden calls as plain SQL; what each answered. */
async function run(plain, calls) {
  const answers = [];
  for (const call of calls) {
    try {
      const result = call.sql ? await plain.execute(call.sql) : await plain[call.method](...call.args);
      answers.push({ result: result === undefined ? { $undefined: true } : masked(result) });
    } catch (error) {
      answers.push({ error: error.message });
    }
  }
  return answers;
}

/** Everything about a file that a statement could depend on, beside its rows. */
async function frame(file) {
  const query = (text) => foreign.query(file, text);
  const objects = await query('SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name');
  const tables = {};
  for (const { name } of objects.filter(({ type }) => type === 'table')) {
    const indexes = await query(`PRAGMA index_list('${name}')`);
    tables[name] = {
      columns: await query(`PRAGMA table_xinfo('${name}')`),
      indexes: await Promise.all(
        indexes.map(async (index) => ({ ...index, columns: await query(`PRAGMA index_xinfo('${index.name}')`) })),
      ),
      foreignKeys: await query(`PRAGMA foreign_key_list('${name}')`),
    };
  }
  const pragmas = {};
  for (const name of ['user_version', 'application_id', 'encoding', 'journal_mode', 'auto_vacuum', 'page_size']) {
    pragmas[name] = (await query(`PRAGMA ${name}`))[0][name];
  }
  return { objects: objects.map(({ type, name, tbl_name }) => [type, name, tbl_name]), tables, pragmas };
}

/** Every row of every table, and of SQLite's own counters. */
async function content(file) {
  const tables = {};
  for (const table of TABLES) tables[table] = masked(await foreign.query(file, `SELECT * FROM ${table} ORDER BY id`));
  const sequence = await foreign.query(file, 'SELECT name, seq FROM sqlite_sequence ORDER BY name');
  return { tables, sequence };
}

async function assertIntact(file) {
  for (const table of FULL_TEXT) {
    // Fails where the text index and its table disagree.
    await foreign.execute(file, `INSERT INTO ${table}(${table}, rank) VALUES ('integrity-check', 1)`);
  }
  assert.deepEqual(await foreign.query(file, 'PRAGMA integrity_check'), [{ integrity_check: 'ok' }]);
  assert.deepEqual(await foreign.query(file, 'PRAGMA foreign_key_check'), []);
}

/** Opens a directory with the engine and uses all of it that writes; leaves work in the queue. */
async function use(directory, session) {
  const memory = await openMemory({ dataDir: directory, secureDelete: true });
  const id = await session(memory);
  for (const tool of ['a', 'b', 'c', 'd']) {
    await memory.queue.enqueue(id, message(tool), { dedupeKey: tool });
  }
  const consumer = memory.queue.consume(id, { maxBatch: 1 });
  await (await next(consumer)).commit();
  await (await next(consumer)).release({ error: 'later', delayMs: 1 });
  const batch = await next(consumer);
  await batch.deadLetter([batch.messages[0].id], 'no use');
  await batch.commit();
  await memory.queue.pause(id);
  assert.equal(memory.queue.depth(id), 2);
  await memory.dispose();
}

/** What the README tells a user to do. */
async function goBack(directory, database) {
  const ours = await foreign.query(
    database,
    "SELECT name FROM sqlite_master WHERE name LIKE 'native\\_%' ESCAPE '\\' AND type = 'table'",
  );
  assert.deepEqual(ours.map(({ name }) => name).sort(), ['native_ack', 'native_ledger']);
  fs.rmSync(path.join(directory, 'native'), { recursive: true });
  await foreign.execute(database, ours.map(({ name }) => `DROP TABLE ${name};`).join(' '));
  // On a busy machine a thread of the engine has the file open for a moment longer, and takes the log along.
  await until(() => fs.readdirSync(directory).length === 1);
  assert.deepEqual(fs.readdirSync(directory), ['claude-mem.db']);
}

/** A file as 6.0.2 itself leaves it before its first row: the statements that its schema is made of. */
async function stockFile(file) {
  const made = await foreign.query(
    path.join(FIXTURES, REFERENCE),
    "SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY rowid",
  );
  // A full-text table makes its own parts.
  const statements = made
    .filter(({ name }) => !/_fts_(data|idx|docsize|config|content)$/.test(name))
    .map((row) => row.sql);
  const ledger = await foreign.query(path.join(FIXTURES, REFERENCE), 'SELECT * FROM schema_versions ORDER BY id');
  const rows = ledger.map(
    ({ id, version, applied_at }) => sql`INSERT INTO schema_versions VALUES (${id}, ${version}, ${applied_at})`,
  );
  await foreign.execute(file, ['PRAGMA journal_mode=WAL', ...statements, ...rows].join(';\n'));
}

const skip = withoutFixtures(REFERENCE, 'golden-writes.json');
const golden = skip ? null : JSON.parse(fs.readFileSync(path.join(FIXTURES, 'golden-writes.json'), 'utf8'));

test('on a new file: every golden write, answer and table', { skip }, async (t) => {
  const stock = dataDirectory(t);
  await stockFile(stock.database);

  const ours = dataDirectory(t);
  await use(ours.directory, async ({ store }) => {
    const id = await store.createSDKSession('from-the-engine', 'p', 'q');
    await store.saveUserPrompt('from-the-engine', 1, 'q');
    await store.storeObservation('from-the-engine', 'p', { type: 'change', title: 'of the engine' });
    await store.storeSummary('from-the-engine', 'p', { request: 'of the engine' });
    return id;
  });
  await goBack(ours.directory, ours.database);
  // The golden calls start from a database without rows.
  const rows = ['observations', 'session_summaries', 'user_prompts', 'sdk_sessions'];
  await foreign.execute(
    ours.database,
    `${rows.map((table) => `DELETE FROM ${table};`).join(' ')} DELETE FROM sqlite_sequence;`,
  );
  await assertIntact(ours.database);

  const answers = await run(new Plain(ours.database), golden.calls);
  assert.deepEqual(await run(new Plain(stock.database), golden.calls), answers);
  golden.calls.forEach((call, at) => {
    if (call.sql) return assert.ok(!answers[at].error, call.sql);
    const context = `${call.method}(${JSON.stringify(call.args).slice(0, 200)})`;
    if (call.error)
      assert.ok(answers[at].error?.includes(call.error.message), `${context}: ${JSON.stringify(answers[at])}`);
    else assert.deepEqual(answers[at].result, call.result, context);
  });
  assert.equal(answers.length, 60);

  for (const file of [ours.database, stock.database]) {
    const { tables, sequence } = await content(file);
    for (const table of TABLES) assert.deepEqual(tables[table], golden.tables[table], `${file}: ${table}`);
    const order = (a, b) => (a.name < b.name ? -1 : 1);
    const counted = sequence.filter(({ name }) => name !== 'schema_versions').sort(order);
    assert.deepEqual(counted, golden.sequence.filter(({ name }) => name !== 'schema_versions').sort(order));
    await assertIntact(file);
  }
  assert.deepEqual(await frame(ours.database), await frame(stock.database));
});

test('on a file with rows: the same as on its untouched twin', { skip }, async (t) => {
  const twin = dataDirectory(t, REFERENCE);
  const ours = dataDirectory(t, REFERENCE);
  await use(ours.directory, async ({ store }) => (await store.findAnySDKSession('pending-sdk-1')).id);
  await goBack(ours.directory, ours.database);
  // Everything that was there is there, row by row.
  const [mine, theirs] = [await content(ours.database), await content(twin.database)];
  const changed = mine.tables.sdk_sessions.filter(
    (row, at) => JSON.stringify(row) !== JSON.stringify(theirs.tables.sdk_sessions[at]),
  );
  // A commit gives a session without an `sdk_session_id` its own, as 6.0.2's worker does with its agent's.
  for (const row of changed) assert.equal(row.sdk_session_id, row.claude_session_id);
  assert.ok(changed.length <= 1, JSON.stringify(changed));
  const id = changed[0]?.id;
  if (id)
    await foreign.execute(twin.database, `UPDATE sdk_sessions SET sdk_session_id = claude_session_id WHERE id = ${id}`);
  assert.deepEqual(mine, await content(twin.database));

  const answers = await run(new Plain(ours.database), golden.calls);
  assert.deepEqual(answers, await run(new Plain(twin.database), golden.calls));
  assert.deepEqual(await content(ours.database), await content(twin.database));
  assert.deepEqual(await frame(ours.database), await frame(twin.database));
  await assertIntact(ours.database);
});

test('and forth again: the engine opens such a file as if for the first time', { skip }, async (t) => {
  const { directory, database } = dataDirectory(t, REFERENCE);
  const session = async ({ store }) => (await store.findAnySDKSession('pending-sdk-1')).id;
  await use(directory, session);
  await goBack(directory, database);
  await use(directory, session);
  await goBack(directory, database);
  await assertIntact(database);
});

test('what waited was exported before, and comes when the engine is put back', async (t) => {
  const { directory, database } = dataDirectory(t);
  const elsewhere = dataDirectory(t);
  const file = path.join(elsewhere.directory, 'before-going-back.jsonl');
  await use(directory, ({ store }) => store.createSDKSession('goes-back', 'p', 'q'));
  const memory = await openMemory({ dataDir: directory });
  const { messages } = await memory.exportTo(file);
  assert.equal(messages, 2);
  await memory.dispose();
  await goBack(directory, database);

  // For people and scripts: a line each, in order.
  const lines = fs.readFileSync(file, 'utf8').trimEnd().split('\n').map(JSON.parse);
  assert.equal(lines.filter(({ kind }) => kind === 'message').length, 2);
  // 6.0.2 goes on with the file meanwhile.
  const plain = new Plain(database);
  assert.equal((await plain.first("SELECT id FROM sdk_sessions WHERE claude_session_id = 'goes-back'")).id, 1);
  await plain.createSDKSession('meanwhile', 'p', 'q');
  await assertIntact(database);

  const again = await openMemory({ dataDir: directory });
  t.after(() => again.dispose());
  assert.equal(again.queue.depth(), 0);
  assert.equal((await again.importFrom(file)).messages.imported, 2);
  const tools = [];
  const consumer = again.queue.consume(1, { maxBatch: 1 });
  while (again.queue.depth(1) > 0) {
    const batch = await next(consumer);
    tools.push(...batch.messages.map(({ tool_name }) => tool_name));
    await batch.commit();
  }
  assert.deepEqual(tools, ['c', 'd']); // 'a' was committed, 'b' is a dead letter
  assert.deepEqual(
    (await again.queue.deadLetters()).map(({ error }) => error),
    ['no use'],
  );
});
