'use strict';
// A message of 50 MB goes in as bytes and is read in its beginning, on a heap that could not hold it.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { openMemory } = require('../..');
const { removeTree } = require('../remove-tree.cjs');

async function main() {
  const dataDir = fs.mkdtempSync(path.join(os.tmpdir(), 'claude-mem-native-test-'));
  process.on('exit', () => removeTree(dataDir));
  const memory = await openMemory({ dataDir });
  const id = await memory.store.createSDKSession('claude', 'project', 'ask');
  const head = Buffer.from('{"tool_name":"Read","tool_response":"the beginning ');
  const body = Buffer.alloc(50 * 1024 * 1024 - 32, 'x');
  head.copy(body);
  body.write('"}', body.length - 2);
  const fields = { tool_name: 'text', tool_response: 'jsonText' };
  await memory.queue.enqueueRaw(id, body, { type: 'observation', fields });
  for await (const batch of memory.queue.consume(id, { keepAlive: true, idleTimeoutMs: 100 })) {
    const [message] = batch.messages;
    const title = `${message.tool_name}: ${batch.readText(0, 'tool_response', 0, 13)}`;
    if (batch.readRaw(0).length < body.length) throw new Error('the raw message is too short');
    await batch.commit({ observations: [{ type: 'discovery', title }] });
  }
  const [{ title }] = await memory.store.getAllRecentObservations(1);
  if (title !== 'Read: the beginning') throw new Error(`stored ${title}`);
  await memory.dispose();
  fs.writeSync(1, 'stored');
}

main();
