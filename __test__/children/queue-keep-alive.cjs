'use strict';
// Waits or works, and says on standard output how it went; the process ends when nothing keeps it.

const fs = require('node:fs');
const os = require('node:os');
const path = require('node:path');
const { openMemory } = require('../..');
const { removeTree } = require('../remove-tree.cjs');

const say = (text) => fs.writeSync(1, text);

async function main(how) {
  const dataDir = fs.mkdtempSync(path.join(os.tmpdir(), 'claude-mem-native-test-'));
  process.on('exit', () => removeTree(dataDir));
  const memory = await openMemory({ dataDir });
  const id = await memory.store.createSDKSession('claude', 'project', 'ask');
  switch (how) {
    case 'wait':
      await memory.queue.consume(id).next();
      return say('settled');
    case 'keep-alive': {
      const consumer = memory.queue.consume(id, { keepAlive: true, idleTimeoutMs: 300 });
      await consumer.next();
      return say(consumer.endReason);
    }
    case 'claimable':
      await memory.queue.enqueue(id, { type: 'observation' });
      await memory.queue.consume(id).next();
      return say('delivered');
    case 'ready':
      await memory.queue.ready().next();
      return say('settled');
    case 'enqueue':
      await memory.queue.enqueue(id, { type: 'observation' });
      return say('durable');
  }
}

main(process.argv[2]);
