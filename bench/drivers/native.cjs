'use strict';
// This module.

const { openMemory } = require('../..');

module.exports = {
  title: 'claude-mem-native',
  provides: ['queue'],

  /** Opens the module on an empty directory. */
  async open(directory) {
    const memory = await openMemory({ dataDir: directory });
    return {
      createSession: (name) => memory.store.createSDKSession(name, 'bench', 'a prompt'),
      enqueue: (session, message) => memory.queue.enqueue(session, message),
      depth: () => memory.queue.depth(),
      close: () => memory.dispose(),
    };
  },
};
