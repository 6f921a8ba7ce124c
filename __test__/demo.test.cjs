'use strict';
// What the demonstration's verdict rests on: its input, its marks and its count.

const assert = require('node:assert/strict');
const { test } = require('node:test');
const { compare } = require('../examples/demo/audit.cjs');
const { markedNumber, toolCalls, MARK } = require('../examples/demo/input.cjs');
const { createAgent } = require('../examples/demo/demo-agent.cjs');
const { Sender } = require('../examples/demo/sender.cjs');
const http = require('node:http');

test('the input is of 1 to 64 KB, the same in every run, and each message names itself', () => {
  const calls = [...toolCalls(200)];
  const again = [...toolCalls(200)];
  assert.deepEqual(calls, again);
  calls.forEach((call, number) => {
    const bytes = Buffer.byteLength(JSON.stringify(call));
    assert.ok(bytes >= 1024 && bytes <= 65536, `message ${number} has ${bytes} bytes`);
    assert.equal(markedNumber(JSON.parse(call.tool_input).note), number);
  });
  assert.ok(new Set(calls.map(({ tool_name: tool }) => tool)).size >= 3);
});

test('the agent makes exactly one row of each message, which names it', async () => {
  const messages = [...toolCalls(12)].map((call) => ({ type: 'observation', ...call }));
  messages.push({ type: 'observation', tool_name: 'TodoWrite', tool_input: JSON.stringify({ note: `${MARK} 12` }) });
  messages.push({ type: 'summarize', last_user_message: `Summarize (${MARK} 13)` });
  const { observations, summary } = await createAgent().observe(messages, { project: 'demo-1', sessionDbId: 1 });
  assert.deepEqual(
    observations.map(({ facts }) => markedNumber(facts.join('\n').slice(facts.join('\n').lastIndexOf(MARK)))),
    Array.from({ length: 13 }, (_, number) => number),
  );
  assert.equal(markedNumber(summary.next_steps), 13);
});

test('what is lost and what is there twice is counted', () => {
  const stored = new Map([
    [1, 1],
    [2, 2],
    [4, 1],
  ]);
  assert.deepEqual(compare(new Set([1, 2, 3]), stored), { stored: 3, lost: [3], duplicated: [2] });
  assert.deepEqual(compare(new Set([1]), new Map([[1, 1]])), { stored: 1, lost: [], duplicated: [] });
});

test('a message without an answer is sent again with the same key; a refused one is not', async (t) => {
  const seen = [];
  const server = http.createServer((request, response) => {
    let text = '';
    request.on('data', (chunk) => {
      text += chunk;
    });
    request.on('end', () => {
      const { dedupe_key: key } = JSON.parse(text);
      seen.push(key);
      if (seen.length === 1) request.socket.destroy();
      else response.writeHead(key === 'refused' ? 400 : 200).end('{}');
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    server.close();
    server.closeAllConnections();
  });
  const sender = new Sender(() => server.address().port);
  await sender.send([[{ path: '/x', body: { dedupe_key: 'a' }, number: 0 }]], () => {});
  assert.deepEqual(seen, ['a', 'a']);
  assert.deepEqual([sender.sent, sender.sentAgain, sender.acknowledged.size], [1, 1, 1]);
  await assert.rejects(sender.deliver({ path: '/x', body: { dedupe_key: 'refused' }, number: 1 }), /answered 400/);
});
