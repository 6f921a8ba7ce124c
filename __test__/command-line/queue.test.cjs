'use strict';
// `queue`: what waits, what is dead, and what is done about it.

const assert = require('node:assert/strict');
const path = require('node:path');
const { describe, test } = require('node:test');

const foreign = require('../foreign/index.cjs');
const { NOBODY, filled, findingOf, run, saidOnce, succeeds } = require('./running.cjs');

describe('queue', () => {
  test('queue: retry, pause, resume, purge', async (t) => {
    const { directory, session } = await filled(t);
    const listed = async () => JSON.parse(await succeeds(directory, ['queue', 'list', '--json']));
    const [{ id }] = (await listed()).dead;

    assert.equal(await succeeds(directory, ['queue', 'retry', String(id)]), '1 dead letter enqueued again\n');
    saidOnce(await run(directory, ['queue', 'show', String(id)]), /no message and no dead letter has the id/);
    let { waiting, dead } = await listed();
    assert.deepEqual([waiting[0].depth, dead.length, waiting[0].paused], [2, 1, false]);

    await succeeds(directory, ['queue', 'pause', '--session', String(session), '--reason', 'tests']);
    assert.equal((await listed()).waiting[0].paused, true);
    const { stdout } = await run(directory, ['doctor', '--quick', '--json', ...NOBODY]);
    assert.ok(
      findingOf(stdout, 'queue').some(({ severity, message: text }) => severity === 'warning' && /paused/.test(text)),
    );
    await succeeds(directory, ['queue', 'resume', '--session', String(session)]);
    assert.equal((await listed()).waiting[0].paused, false);

    assert.equal(
      await succeeds(directory, ['queue', 'purge', '--older-than', '1d', '--yes']),
      '0 dead letters thrown away\n',
    );
    assert.equal(await succeeds(directory, ['queue', 'purge', '--all', '--yes']), '1 dead letter thrown away\n');
    const purge = ['queue', 'purge', '--waiting', '--session', String(session), '--yes'];
    assert.equal(await succeeds(directory, purge), '2 waiting messages thrown away\n');
    ({ waiting, dead } = await listed());
    assert.deepEqual([waiting, dead], [[], []]);
  });

  test('list and show: messages that wait, page by page', async (t) => {
    const { directory, session } = await filled(t);
    const { messages } = JSON.parse(
      await succeeds(directory, ['queue', 'list', '--session', String(session), '--json']),
    );
    assert.equal(messages.length, 1);
    const [{ id, type, leased, attempts, project, bytes, preview }] = messages;
    assert.deepEqual([type, leased, attempts, project, bytes], ['observation', false, 0, 'my-project', preview.length]);
    assert.equal(JSON.parse(preview).tool_name, 'third');
    assert.deepEqual(JSON.parse(await succeeds(directory, ['queue', 'show', String(id)])), messages[0]);
    const list = async (...more) =>
      JSON.parse(await succeeds(directory, ['queue', 'list', '--json', ...more])).messages;
    assert.deepEqual(await list('--messages', '--after', String(id)), []);
    assert.deepEqual(await list('--project', 'another'), []);
    assert.equal(await list(), undefined);
    const text = await succeeds(directory, ['queue', 'list', '--messages']);
    assert.match(
      text,
      new RegExp(`^${id} +${session} +observation .*waiting +\\{"type":"observation","tool_name":"third"`, 'm'),
    );
  });

  test('a session that is paused by itself stays so when all go on, and it is said', async (t) => {
    const { directory, session } = await filled(t);
    await succeeds(directory, ['queue', 'pause', '--session', String(session)]);
    await succeeds(directory, ['queue', 'pause']);
    assert.match(
      await succeeds(directory, ['queue', 'resume']),
      new RegExp(`but for 1 session paused by itself: resume with --session ${session}`),
    );
    assert.equal(
      await succeeds(directory, ['queue', 'resume', '--session', String(session)]),
      `deliveries of session ${session} go on\n`,
    );
  });

  test('tables of a version that is not known: the queue alone', async (t) => {
    const { directory } = await filled(t);
    await foreign.execute(
      path.join(directory, 'claude-mem.db'),
      'ALTER TABLE sdk_sessions RENAME COLUMN claude_session_id TO content_session_id',
    );
    const { dead, waiting } = JSON.parse(await succeeds(directory, ['queue', 'list', '--json']));
    assert.deepEqual([waiting.length, dead.length], [1, 2]);
    assert.equal(await succeeds(directory, ['queue', 'purge', '--all', '--yes']), '2 dead letters thrown away\n');
    const ended = await run(directory, ['search', 'tokens']);
    assert.equal(ended.code, 1);
    saidOnce(ended, /claude-mem\.db/);
  });
});
