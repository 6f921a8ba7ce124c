'use strict';
// Commands while somebody owns the data directory.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { describe, test } = require('node:test');

const { names, next, until } = require('../opened-memory.cjs');
const { filled, findingOf, owned, run, saidOnce, succeeds, worker } = require('./running.cjs');

describe('beside a running worker', () => {
  test('what a client may do works; what is the owner’s alone says so in one line', async (t) => {
    const { directory, session } = await filled(t);
    await owned(t, directory);

    const found = JSON.parse(await succeeds(directory, ['search', 'valid', 'tokens', '--mode', 'keyword', '--json']));
    assert.deepEqual([found.results.length, found.results[0].kind, found.mode], [1, 'observation', 'keyword']);

    const { waiting, dead } = JSON.parse(await succeeds(directory, ['queue', 'list', '--json']));
    assert.deepEqual(
      waiting.map(({ sessionDbId, depth }) => [sessionDbId, depth]),
      [[session, 1]],
    );
    assert.equal(dead.length, 2);
    const letter = JSON.parse(await succeeds(directory, ['queue', 'show', String(dead[0].id)]));
    assert.equal(letter.error, 'the model refused it');
    assert.ok(['first', 'second'].includes(letter.message.tool_name));

    const folder = path.join(directory, 'copy');
    const manifest = JSON.parse(await succeeds(directory, ['backup', folder, '--json']));
    assert.deepEqual(JSON.parse(fs.readFileSync(path.join(folder, 'manifest.json'), 'utf8')), manifest);

    const url = await worker(t, { status: 'ok' });
    const { stdout } = await run(directory, ['doctor', '--json', '--url', url]);
    assert.deepEqual(
      findingOf(stdout, 'integrity').map(({ severity }) => severity),
      ['ok'],
    );

    assert.deepEqual(JSON.parse(await succeeds(directory, ['check', '--json'])).findings, []);
    const file = path.join(directory, 'all.jsonl');
    const exported = JSON.parse(await succeeds(directory, ['export', file, '--json']));
    assert.deepEqual([exported.observations, exported.messages, exported.deadLetters], [1, 1, 2]);

    for (const args of [
      ['repair'],
      ['compact'],
      ['import', file],
      ['queue', 'purge', '--waiting', '--session', String(session), '--yes'],
      ['setup', '--no-chroma'],
    ]) {
      const ended = await run(directory, args);
      assert.equal(ended.code, 1, args.join(' '));
      saidOnce(ended, new RegExp(`process ${process.pid} \\(the worker\\) has .* open: stop the worker`));
    }
  });

  test('what changes the queue reaches the worker', async (t) => {
    const { directory, session } = await filled(t);
    const { queue } = await owned(t, directory);
    // What was broken off before comes after its backoff.
    await until(() => queue.isReady(session));

    assert.match(await succeeds(directory, ['queue', 'pause', '--reason', 'quota', '--for', '2h']), /paused for 2 h/);
    await until(() => !queue.isReady(session));
    assert.equal(await succeeds(directory, ['queue', 'resume']), 'deliveries of all sessions go on\n');
    await until(() => queue.isReady(session));

    assert.equal(await succeeds(directory, ['queue', 'retry', '--all']), '2 dead letters enqueued again\n');
    await until(() => queue.depth(session) === 3);
    const batch = await next(queue.consume(session, { maxBatch: 10 }));
    assert.deepEqual(names(batch), ['third', 'first', 'second'], 'in the order in which they died');
    const listed = JSON.parse(await succeeds(directory, ['queue', 'list', '--messages', '--json']));
    assert.deepEqual(
      listed.messages.map(({ id, leased, project }) => [id, leased, project]),
      batch.messages.map(({ id }) => [id, true, 'my-project']),
    );
    await batch.deadLetter([batch.messages[0].id], 'of no use');
    assert.equal(
      await succeeds(directory, ['queue', 'purge', String(batch.messages[0].id)]),
      '1 dead letter thrown away\n',
    );
    await until(() => queue.metrics().dead === 0);
    await batch.commit();
  });
});
