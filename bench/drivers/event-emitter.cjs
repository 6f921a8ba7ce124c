'use strict';
// The way the worker keeps its queues without the module: an array a session on the V8 heap, and an event
// that wakes the reader. Nothing is durable. As in claude-mem 6.0.2 each wait also adds a listener to the session's
// abort signal that nothing removes.

const { EventEmitter } = require('node:events');

module.exports = {
  title: 'array + EventEmitter',
  provides: ['queue', 'wake-up'],
  unavailable: () => null,

  /** Makes an empty set of sessions; the directory is not used. */
  async open() {
    process.removeAllListeners('warning');
    process.on('warning', () => {}); // the listeners that are too many, a sentence for each table
    const sessions = new Map();
    return {
      async createSession(name) {
        const id = sessions.size + 1;
        const { signal } = new AbortController();
        sessions.set(id, { name, pendingMessages: [], arrived: new EventEmitter(), signal });
        return id;
      },
      async enqueue(id, message) {
        const session = sessions.get(id);
        session.pendingMessages.push(message);
        session.arrived.emit('message');
      },
      async enqueueAll(ids, messages) {
        await Promise.all(messages.map((message, index) => this.enqueue(ids[index % ids.length], message)));
      },
      consumer: (id, most) => {
        const session = sessions.get(id);
        return {
          async next() {
            if (session.pendingMessages.length === 0) {
              await new Promise((resolve) => {
                session.arrived.once('message', resolve);
                session.signal.addEventListener('abort', resolve, { once: true });
              });
            }
            return { messages: session.pendingMessages.splice(0, most) };
          },
          commit: async () => {},
          close: async () => {},
        };
      },
      depth: () => [...sessions.values()].reduce((sum, { pendingMessages }) => sum + pendingMessages.length, 0),
      settled: async () => {},
      close: async () => sessions.clear(),
    };
  },
};
