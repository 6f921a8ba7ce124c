'use strict';
// What becomes of claude-mem.db when a memory is opened on it: new, older, untruthful, newer, foreign, damaged.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { test } = require('node:test');

const { openMemory } = require('..');
const { contents, dataDirectory, withoutFixtures } = require('./data-directory.cjs');
const foreign = require('./foreign/index.cjs');

const REFERENCE = 'claude-mem-6.0.2.db';
const OLDER = ['schema-v4-rows.db', 'schema-v7-rows.db', 'schema-v8-rows.db', 'schema-v9-rows-nofts.db'];
const NEWER = ['newer-v9.1.1-fresh.db', 'newer-v13.15.3-fresh.db'];
const OURS = "name NOT LIKE 'native\\_%' ESCAPE '\\'";

/** Everything about the tables that must agree with 6.0.2. `places` leaves out where a column stands. */
async function schema(database, { places = true } = {}) {
  const tables = (part, columns) =>
    `SELECT objects.name AS "table", ${columns} FROM sqlite_master AS objects, ${part}
     WHERE objects.type = 'table' AND objects.${OURS} ORDER BY 1, 2, 3`;
  const cid = places ? ', info.cid' : '';
  return {
    columns: await foreign.query(
      database,
      tables(
        'pragma_table_xinfo(objects.name) AS info',
        `info.name, info.type, info."notnull", info.dflt_value, info.pk, info.hidden${cid}`,
      ),
    ),
    indexes: await foreign.query(
      database,
      tables(
        'pragma_index_list(objects.name) AS list, pragma_index_xinfo(list.name) AS info',
        `list.name AS "index", info.seqno, list."unique", list.origin, list.partial, info.name, info."desc", info.coll, info.key${cid}`,
      ),
    ),
    foreignKeys: await foreign.query(database, tables('pragma_foreign_key_list(objects.name) AS info', 'info.*')),
    statements: (
      await foreign.query(
        database,
        "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' OR sql LIKE 'CREATE VIRTUAL%' ORDER BY name",
      )
    ).map(({ name, sql }) => [name, sql.toLowerCase().match(/\w+|[^\w\s]/g)]),
  };
}

/** The rows of the tables that every version has, with the columns that none has changed. */
async function oldRows(database) {
  return {
    sessions: await foreign.query(
      database,
      'SELECT id, claude_session_id, sdk_session_id, project, status FROM sdk_sessions ORDER BY id',
    ),
    observations: await foreign.query(
      database,
      'SELECT id, sdk_session_id, text, type, created_at_epoch FROM observations ORDER BY id',
    ),
    summaries: await foreign.query(
      database,
      'SELECT id, sdk_session_id, request, notes, created_at_epoch FROM session_summaries ORDER BY id',
    ),
  };
}

async function steps(database) {
  const rows = await foreign.query(database, 'SELECT version FROM schema_versions ORDER BY version');
  return rows.map(({ version }) => version);
}

async function openAndDispose(directory) {
  await (await openMemory({ dataDir: directory })).dispose();
}

/** Opening is refused, and leaves every byte and name in the directory as it was. */
async function assertRefused(directory, code) {
  const before = contents(directory);
  let refusal;
  await assert.rejects(openMemory({ dataDir: directory, lockWaitMs: 0 }), (error) => {
    refusal = error;
    return error.code === code;
  });
  assert.deepEqual(Object.keys(contents(directory)), Object.keys(before), 'nothing new lies beside it');
  assert.ok(JSON.stringify(contents(directory)) === JSON.stringify(before), 'no byte has changed');
  assert.ok(refusal.message.includes(path.join(directory, 'claude-mem.db')), refusal.message);
  return refusal;
}

test('a new database equals one of 6.0.2', { skip: withoutFixtures(REFERENCE) }, async (t) => {
  const reference = dataDirectory(t, REFERENCE);
  const { directory } = dataDirectory(t);
  // A directory that does not exist yet, with characters that would mean something in a URI.
  const dataDir = path.join(directory, '100% new #1');
  await openAndDispose(dataDir);
  const database = path.join(dataDir, 'claude-mem.db');
  assert.deepEqual(await schema(database), await schema(reference.database));
  assert.deepEqual(await steps(database), [4, 5, 6, 7, 8, 9, 10]);
});

test('only names with our prefix are added to a database of 6.0.2', { skip: withoutFixtures(REFERENCE) }, async (t) => {
  const reference = dataDirectory(t, REFERENCE);
  const { directory, database } = dataDirectory(t, REFERENCE);
  await openAndDispose(directory);
  assert.deepEqual(await schema(database), await schema(reference.database));
  const names = async (file) => (await foreign.query(file, 'SELECT name FROM sqlite_master')).map(({ name }) => name);
  const known = new Set(await names(reference.database));
  const added = (await names(database)).filter(
    (name) => !known.has(name) && !name.startsWith('sqlite_autoindex_native_'),
  );
  assert.deepEqual(added.sort(), ['native_ack', 'native_ledger']);
  assert.ok(!fs.existsSync(`${database}.pre-native`));
});

for (const name of OLDER) {
  test(
    `${name} comes to step 10 with its rows, after a copy was made`,
    { skip: withoutFixtures(name, REFERENCE) },
    async (t) => {
      const fresh = dataDirectory(t);
      await openAndDispose(fresh.directory);
      const { directory, database } = dataDirectory(t, name);
      const before = await oldRows(dataDirectory(t, name).database);
      assert.ok(before.observations.length > 0);

      const memory = await openMemory({ dataDir: directory });
      const [session] = before.sessions.filter((row) => row.sdk_session_id);
      const { id } = await memory.store.storeObservation(session.sdk_session_id, 'p', {
        type: 'change',
        narrative: 'zweiundzwanzig',
      });
      const found = await memory.store.searchObservations('zweiundzwanzig');
      assert.deepEqual(
        found.map((row) => row.id),
        [id],
      );
      await memory.dispose();

      assert.deepEqual(await schema(database, { places: false }), await schema(fresh.database, { places: false }));
      assert.deepEqual(await steps(database), [4, 5, 6, 7, 8, 9, 10]);
      const after = await oldRows(database);
      assert.equal(after.observations.pop().id, id);
      assert.deepEqual(after, before);

      const copy = `${database}.pre-native`;
      assert.deepEqual(await oldRows(copy), before);
      assert.ok(!(await steps(copy)).includes(10));
      if (process.platform !== 'win32') assert.equal(fs.statSync(copy).mode & 0o777, 0o600);
      const copied = fs.readFileSync(copy);
      await openAndDispose(directory);
      assert.ok(copied.equals(fs.readFileSync(copy)), 'the copy is made once');
    },
  );
}

test(
  'a ledger that claims a step which the schema lacks is not believed',
  { skip: withoutFixtures(REFERENCE) },
  async (t) => {
    const reference = dataDirectory(t, REFERENCE);
    const lies = [
      'ALTER TABLE sdk_sessions DROP COLUMN worker_port',
      'ALTER TABLE session_summaries DROP COLUMN prompt_number',
      'DROP TABLE user_prompts_fts; DROP TABLE user_prompts',
      'DROP INDEX idx_observations_created',
    ];
    for (const lie of lies) {
      const { directory, database } = dataDirectory(t, REFERENCE);
      await foreign.execute(database, lie);
      await openAndDispose(directory);
      const [found, wanted] = [
        await schema(database, { places: false }),
        await schema(reference.database, { places: false }),
      ];
      assert.deepEqual(found, wanted, lie);
      assert.deepEqual(await steps(database), [4, 5, 6, 7, 8, 9, 10], lie);
      assert.ok(fs.existsSync(`${database}.pre-native`), lie);
    }
  },
);

test(
  'a database of 7.4.5 works, and what is its own stays',
  { skip: withoutFixtures('newer-v7.4.5-fresh.db') },
  async (t) => {
    const original = dataDirectory(t, 'newer-v7.4.5-fresh.db');
    const { directory, database } = dataDirectory(t, 'newer-v7.4.5-fresh.db');
    const memory = await openMemory({ dataDir: directory });
    const id = await memory.store.createSDKSession('claude', 'project', 'prompt');
    await memory.store.saveUserPrompt('claude', 1, 'prompt');
    await memory.store.storeObservation('claude', 'project', { type: 'change', title: 'kept' });
    await memory.queue.enqueue(id, { type: 'observation', tool_name: 'Edit' });
    assert.equal((await memory.store.searchObservations('kept')).length, 1);
    await memory.dispose();
    assert.deepEqual(await schema(database), await schema(original.database));
    assert.deepEqual(await steps(database), [4, 5, 6, 7, 8, 9, 10, 11, 16]);
    assert.ok(!fs.existsSync(`${database}.pre-native`));
  },
);

for (const name of NEWER) {
  const skip = withoutFixtures(name);
  test(`${name} is refused and left as it is`, { skip }, async (t) => {
    const { directory } = dataDirectory(t, name);
    const error = await assertRefused(directory, 'ERR_SCHEMA_UNSUPPORTED');
    assert.match(error.message, /content_session_id.*update claude-mem-native/);
  });

  test(`${name} is refused and left as it is with a log beside it`, { skip }, async (t) => {
    for (const withIndex of [true, false]) {
      const { directory, database } = dataDirectory(t, name);
      await foreign.abandon(database, "UPDATE schema_versions SET applied_at = 'now'");
      if (!withIndex) fs.rmSync(`${database}-shm`);
      assert.ok(fs.statSync(`${database}-wal`).size > 0);
      await assertRefused(directory, 'ERR_SCHEMA_UNSUPPORTED');
    }
  });
}

test(
  'a database that was replaced by a newer one is refused as well',
  { skip: withoutFixtures(...NEWER) },
  async (t) => {
    const { directory, database } = dataDirectory(t);
    const newer = dataDirectory(t, NEWER[0]);
    await openAndDispose(directory);
    fs.copyFileSync(newer.database, database);
    await assertRefused(directory, 'ERR_SCHEMA_UNSUPPORTED');
  },
);

test('a newer schema that is only in the log is refused as well', { skip: withoutFixtures(REFERENCE) }, async (t) => {
  const { directory, database } = dataDirectory(t, REFERENCE);
  await foreign.abandon(
    database,
    `ALTER TABLE sdk_sessions RENAME COLUMN claude_session_id TO content_session_id;
     ALTER TABLE sdk_sessions RENAME COLUMN sdk_session_id TO memory_session_id`,
  );
  await assertRefused(directory, 'ERR_SCHEMA_UNSUPPORTED');
});

test('what is no database is refused and left as it is', async (t) => {
  const { directory, database } = dataDirectory(t);
  fs.writeFileSync(database, 'x'.repeat(10_000));
  const error = await assertRefused(directory, 'ERR_CORRUPT');
  assert.match(error.message, /restore/);
});

test('a directory in the place of the database is an I/O error', async (t) => {
  const { directory, database } = dataDirectory(t);
  fs.mkdirSync(database);
  await assertRefused(directory, 'ERR_IO');
});
