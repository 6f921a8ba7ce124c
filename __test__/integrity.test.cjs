'use strict';
// memory.checkIntegrity and memory.repair.

const assert = require('node:assert/strict');
const path = require('node:path');
const { test } = require('node:test');

const foreign = require('./foreign/index.cjs');
const { openedMemory } = require('./opened-memory.cjs');

async function opened(t) {
  const memory = await openedMemory(t);
  memory.id = await memory.session();
  memory.queueFile = path.join(memory.directory, 'native', 'queue.db');
  await memory.memory.store.storeObservation('claude', 'project', {
    type: 'change',
    title: 'findable',
    facts: ['one'],
  });
  return memory;
}

const kinds = ({ findings }) => findings.map(({ kind }) => kind).sort();

test('where all is well nothing is found, and a repair touches nothing', async (t) => {
  const { memory, put, id, database } = await opened(t);
  await put(id, 'a', 'b');
  const report = await memory.checkIntegrity();
  assert.deepEqual([report.ok, report.findings], [true, []]);
  const before = await foreign.query(database, 'PRAGMA schema_version');
  const repaired = await memory.repair();
  assert.deepEqual([repaired.actions, repaired.blockedMs, repaired.report.ok], [[], 0, true]);
  assert.deepEqual(await foreign.query(database, 'PRAGMA schema_version'), before);
});

test('text indexes and triggers that are missing or wrong are found and made again as 6.0.2 has them', async (t) => {
  const { memory, database } = await opened(t);
  const schema =
    "SELECT name, sql FROM sqlite_master WHERE name LIKE 'observations_%' AND type = 'trigger' ORDER BY name";
  const made = await foreign.query(database, schema);
  await foreign.execute(
    database,
    `DROP TRIGGER observations_ai; DROP TABLE user_prompts_fts; DROP TRIGGER observations_ad;
     CREATE TRIGGER observations_ad AFTER DELETE ON observations BEGIN SELECT 1; END;`,
  );
  await memory.store.storeObservation('claude', 'project', { type: 'change', title: 'unseen' });
  assert.equal((await memory.store.searchObservations('unseen')).length, 0);
  const report = await memory.checkIntegrity();
  assert.equal(report.ok, false);
  assert.deepEqual(kinds(report), ['missing-text-index', 'text-index-differs', 'trigger', 'trigger']);
  for (const { severity, file, table, message, remedy } of report.findings) {
    assert.deepEqual([severity, file, remedy], ['error', database, 'call memory.repair()']);
    assert.ok(table && message);
  }
  const repaired = await memory.repair();
  assert.deepEqual(repaired.actions.map(({ table }) => table).sort(), ['observations_fts', 'user_prompts_fts']);
  assert.ok(repaired.blockedMs >= 0);
  assert.deepEqual([repaired.report.ok, repaired.report.findings], [true, []]);
  assert.equal((await memory.store.searchObservations('unseen')).length, 1);
  assert.deepEqual(await foreign.query(database, schema), made);
  assert.deepEqual((await memory.repair()).actions, []);
});

test('rows without their session, and text that is no JSON, are reported with ids', async (t) => {
  const { memory, database } = await opened(t);
  await foreign.execute(
    database,
    `PRAGMA foreign_keys=OFF;
     INSERT INTO user_prompts(id, claude_session_id, prompt_number, prompt_text, created_at, created_at_epoch)
     VALUES (77, 'nobody', 1, 'x', '', 0);
     UPDATE observations SET concepts = 'a, b';`,
  );
  const report = await memory.checkIntegrity();
  assert.equal(report.ok, true);
  assert.deepEqual(
    report.findings.map(({ kind, severity, table, count, ids }) => [kind, severity, table, count, ids]),
    [
      ['orphans', 'warning', 'user_prompts', 1, [77]],
      ['not-json', 'info', 'observations', 1, [1]],
    ],
  );
});

test("the queue's counters against its rows", async (t) => {
  const { memory, put, id, queueFile } = await opened(t);
  await put(id, 'a', 'b', 'c');
  await foreign.execute(queueFile, 'DELETE FROM messages WHERE id = (SELECT max(id) FROM messages)');
  const report = await memory.checkIntegrity();
  assert.deepEqual(kinds(report), ['queue-counters']);
  assert.match(report.findings[0].message, /counts 3 messages .* has 2 /);
  assert.equal(memory.queue.depth(id), 3);
  const { actions } = await memory.repair();
  assert.deepEqual(
    actions.map(({ table }) => table),
    ['queue'],
  );
  assert.deepEqual([memory.queue.depth(id), memory.queue.depth()], [2, 2]);
  assert.equal((await memory.checkIntegrity()).ok, true);
});

test("the queue's leases, attempts and dead letters against what they are about", async (t) => {
  const { memory, put, id, queueFile } = await opened(t);
  const waiting = await put(id, 'a', 'b');
  const consumer = memory.queue.consume(id, { maxBatch: 1, keepAlive: true });
  const { value: batch } = await consumer.next();
  await batch.deadLetter([batch.messages[0].id], 'on purpose');
  assert.deepEqual((await memory.checkIntegrity()).findings, [], 'a lease that is held, with nothing left in it');
  await foreign.execute(
    queueFile,
    `INSERT INTO leases(session_id, first_id, last_id, token) VALUES (99, 1, 2, 3);
     INSERT INTO attempts(message_id, session_id, count) VALUES (12345, ${id}, 2);
     DELETE FROM dead_letters`,
  );
  const report = await memory.checkIntegrity();
  assert.deepEqual(
    report.findings.map(({ kind, severity, table, count, ids }) => [kind, severity, table, count, ids]),
    [
      ['dead-letter-counter', 'error', 'dead_letters', null, []],
      ['stray-leases', 'warning', 'leases', 1, [99]],
      ['stray-attempts', 'warning', 'attempts', 1, [12345]],
    ],
  );
  const { actions, blockedMs } = await memory.repair();
  assert.deepEqual(
    actions.map(({ table }) => table),
    ['queue', 'leases', 'attempts'],
  );
  assert.equal(blockedMs, 0);
  assert.deepEqual((await memory.checkIntegrity()).findings, []);
  assert.ok(waiting);
  await batch.commit({ observations: [] });
});

test('a check blocks no writer, and ends with its memory', async (t) => {
  const { memory, database } = await opened(t);
  const writer = await foreign.write(database);
  for (let round = 0; round < 3; round += 1) {
    const report = await memory.checkIntegrity();
    assert.equal(report.ok, true);
  }
  assert.deepEqual((await writer.stop()).errors, []);
  const cut = memory.checkIntegrity().then(
    () => {},
    (error) => assert.equal(error.code, 'ERR_DISPOSED'),
  );
  await memory.dispose();
  await cut;
  await assert.rejects(memory.repair(), { code: 'ERR_DISPOSED' });
});
