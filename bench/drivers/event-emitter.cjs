'use strict';
// The way the worker keeps its queues without the module: an array a session on the V8 heap, and an event
// that wakes the reader. Nothing is durable.

const { EventEmitter } = require('node:events');

module.exports = {
  title: 'array + EventEmitter',
  provides: ['queue'],

  /** Makes an empty set of sessions; the directory is not used. */
  async open() {
    const sessions = new Map();
    return {
      async createSession(name) {
        const id = sessions.size + 1;
        sessions.set(id, { name, pendingMessages: [], arrived: new EventEmitter() });
        return id;
      },
      async enqueue(id, message) {
        const session = sessions.get(id);
        session.pendingMessages.push(message);
        session.arrived.emit('message');
      },
      depth: () => [...sessions.values()].reduce((sum, { pendingMessages }) => sum + pendingMessages.length, 0),
      close: async () => sessions.clear(),
    };
  },
};
