'use strict';
// A process that dies in compact(): every row is there, the files are whole, and the next one goes on from there.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const { test } = require('node:test');

const { openMemory } = require('..');
const { runChild } = require('./children/run-child.cjs');
const foreign = require('./foreign/index.cjs');
const { openedMemory } = require('./opened-memory.cjs');

const DIED = process.platform === 'win32' ? 134 : 'SIGABRT';
const MUCH = `
  WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 500)
  INSERT INTO observations(sdk_session_id, project, text, type, title, created_at, created_at_epoch)
    SELECT 'claude', 'project', hex(zeroblob(2000)), 'change', 'title n' || i, '', i FROM n;
  DELETE FROM observations WHERE id % 10 <> 0;`;
const ROWS = 'SELECT id, text, title, created_at_epoch FROM observations ORDER BY id';

// Between queue.db and claude-mem.db; when claude-mem.db was written anew and its log is not emptied yet; after it.
for (const fault of ['compact-file=abort-1', 'compact-vacuumed=abort-1', 'compact-file=abort-2']) {
  test(`dies at ${fault}`, async (t) => {
    const { memory, session, put, directory, database } = await openedMemory(t, { indexing: 'manual' });
    const id = await session();
    await put(id, 'a', 'b');
    await foreign.execute(database, MUCH);
    const rows = await foreign.query(database, ROWS);
    await memory.dispose();
    const before = fs.statSync(database).size;

    const env = { CLAUDE_MEM_NATIVE_FAULT: fault, RUST_BACKTRACE: '0' };
    const child = await runChild('compact-crash.cjs', { args: [directory], env });
    assert.equal(child.signal ?? child.code, DIED, `${fault} was never passed: ${child.stderr}`);

    const again = await openMemory({ dataDir: directory });
    t.after(() => again.dispose());
    assert.deepEqual(await foreign.query(database, ROWS), rows);
    assert.equal(again.queue.depth(id), 2);
    assert.equal((await again.store.searchObservations('title n500')).length, 1);
    assert.deepEqual((await again.checkIntegrity()).findings, []);
    await again.compact();
    assert.ok(fs.statSync(database).size * 4 < before, 'in the end the space is given back');
    assert.deepEqual(await foreign.query(database, ROWS), rows);
  });
}
