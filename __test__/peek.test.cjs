'use strict';
// queue.peek(): a look at what waits.

const assert = require('node:assert/strict');
const { test } = require('node:test');

const { openMemory } = require('..');
const { message, next, openedMemory } = require('./opened-memory.cjs');

test('a look claims nothing, and tells what of a message is worth knowing', async (t) => {
  const { memory, directory, session, put } = await openedMemory(t);
  const { queue } = memory;
  const [a, b] = [await session('a', 'one'), await session('b', 'two')];
  const before = Date.now();
  await put(a, 'first');
  await queue.enqueue(b, { type: 'summarize', last_user_message: 'é'.repeat(50_000) });
  await put(a, 'third');
  const client = await openMemory({ dataDir: directory, role: 'client', readOnly: true });
  t.after(() => client.dispose());
  assert.deepEqual(await client.queue.peek(), await queue.peek());
  const [first, second, third] = await queue.peek();
  const { id, enqueuedAtEpoch, bytes, preview, ...told } = first;
  assert.deepEqual(told, {
    sessionDbId: a,
    claudeSessionId: 'a',
    project: 'one',
    type: 'observation',
    promptNumber: 1,
    endsBatch: false,
    attempts: 0,
    error: null,
    leased: false,
  });
  assert.ok(id > 0 && enqueuedAtEpoch >= before - 1_000);
  assert.deepEqual(JSON.parse(preview), message('first'));
  assert.equal(bytes, Buffer.byteLength(preview));
  assert.deepEqual(
    [second.type, second.endsBatch, second.project, second.promptNumber],
    ['summarize', true, 'two', null],
  );
  assert.ok(second.bytes > 100_000);
  assert.ok(Buffer.byteLength(second.preview) <= 200 && Buffer.byteLength(second.preview) >= 199);
  assert.match(second.preview, /^\{"type":"summarize","last_user_message":"é+$/);

  const ids = async (options) => (await client.queue.peek(options)).map((each) => each.id);
  const all = [first.id, second.id, third.id];
  assert.deepEqual(await ids({ sessionDbId: b }), [second.id]);
  assert.deepEqual(await ids({ project: 'one' }), [first.id, third.id]);
  assert.deepEqual(await ids({ after: first.id }), all.slice(1));
  assert.deepEqual(await ids({ limit: 2 }), all.slice(0, 2));
  assert.equal((await queue.peek({ sessionDbId: b, previewBytes: 65_536 }))[0].preview.length > 30_000, true);
  assert.equal((await queue.peek({ previewBytes: 0 }))[0].preview, '');

  const batch = await next(queue.consume(a, { maxBatch: 1 }));
  assert.equal(batch.messages[0].attempts, 0, 'nobody has counted an attempt');
  assert.deepEqual(
    (await client.queue.peek()).map(({ leased }) => leased),
    [true, false, false],
  );
  await batch.commit();
  assert.deepEqual(await ids(), all.slice(1));
});

test('options are checked', async (t) => {
  const { memory } = await openedMemory(t);
  for (const options of [
    { limit: 0 },
    { limit: 1_001 },
    { previewBytes: 65_537 },
    { sessionDbId: 0 },
    { session: 1 },
    7,
  ])
    await assert.rejects(memory.queue.peek(options), { code: 'ERR_INVALID_ARG' });
  await memory.dispose();
  await assert.rejects(memory.queue.peek(), { code: 'ERR_DISPOSED' });
});
