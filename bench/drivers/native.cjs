'use strict';
// This module.

const path = require('node:path');
const { setTimeout: sleep } = require('node:timers/promises');
const { openMemory } = require('../..');
const { prepare } = require('../data.cjs');
const { modelFile } = require('../embedding/model.cjs');
const { DIMENSIONS } = require('../vectors/data.cjs');
const { graphBuilt, isBuilding } = require('../vectors/graph-thread.cjs');
const { asWhere } = require('../vectors/metadata.cjs');

// What the peers have as well: nothing is indexed or embedded beside it.
const PARTS = ['store', 'queue'];

// A collection of so many vectors has a graph; one of fewer never.
const GRAPH_FROM = 10_000;

module.exports = {
  title: 'claude-mem-native',
  provides: ['queue', 'durable', 'claims', 'wake-up', 'store', 'open', 'vectors', 'filters'],
  unavailable: () => null,

  /** Opens the queue of a directory; `options` are those of openMemory. */
  async open(directory, options = {}) {
    await prepare(directory);
    const memory = await openMemory({ dataDir: directory, parts: PARTS, ...options });
    const { queue } = memory;
    return {
      createSession: (name) => memory.store.createSDKSession(name, 'bench', 'a prompt'),
      enqueue: (session, message) => queue.enqueue(session, message),
      enqueueAll: (sessions, messages) =>
        Promise.all(messages.map((message, index) => queue.enqueue(sessions[index % sessions.length], message))),
      consumer: (session, most) => {
        const consumer = queue.consume(session, { maxBatch: most, keepAlive: true });
        return {
          async next() {
            const { value: batch } = await consumer.next();
            return { batch, messages: batch.messages };
          },
          commit: ({ batch }, observations) => batch.commit({ observations }),
          close: async () => consumer.dispose(),
        };
      },
      depth: () => queue.depth(),
      /** Waits until what was acknowledged is purged and its pages are given back. */
      async settled() {
        let [last, since] = [-1, performance.now()];
        // Purging begins after a second of quiet; then every step writes.
        while (performance.now() - since < 2_500) {
          const { bytesWritten } = require('../observe.cjs');
          const now = bytesWritten();
          if (now !== last) [last, since] = [now, performance.now()];
          await sleep(100);
        }
      },
      close: () => memory.dispose(),
    };
  },

  /** Opens the tables of a directory: `{store, pages}` with the methods of this module. */
  async openStore(directory, { whole = false } = {}) {
    const memory = await openMemory({ dataDir: directory, ...(whole ? {} : { parts: PARTS }) });
    return { store: memory.store, pages: memory.pages, close: () => memory.dispose() };
  },

  // Its default is 192.
  expansions: [32, 64, 128],

  /**
   * A collection of vectors that the caller hands over. `expansion`: how many candidates a search looks at, in place of
   * the default; `memory`: more of openMemory's options.
   */
  async openVectors(directory, count, { expansion, memory: options = {} } = {}) {
    const model = { name: 'bench', dimensions: DIMENSIONS };
    const own = { dataDir: directory, parts: ['vectors'], embedder: 'external', model };
    const looks = expansion ? { vectorExpansion: { search: expansion } } : {};
    const memory = await openMemory({ ...own, ...looks, ...options });
    const collection = memory.vectors.collection('bench');
    return {
      async add(first, vectors, metadata) {
        await collection.upsert(
          vectors.map((vector, place) => ({ id: String(first + place), vector, metadata: metadata?.[place] })),
        );
      },
      built: async () => {},
      async search(vector, k, filter) {
        const found = await collection.query({ vector, k, where: asWhere(filter), include: [] });
        return found.map(({ id }) => Number(id));
      },
      // Until its graph is there a search compares every vector.
      isExact: () => count < GRAPH_FROM || isBuilding(),
      settled: graphBuilt,
      /** Bytes in memory by the module's own account, which is made up anew when something was written. */
      async held() {
        const [{ id, vector, metadata }] = await collection.get({ limit: 1, include: ['vector', 'metadata'] });
        await collection.upsert([{ id, vector, metadata: metadata ?? undefined }]);
        await collection.query({ vector, k: 1, include: [] });
        return (await memory.health()).native.collectionBytes;
      },
      close: () => memory.dispose(),
    };
  },

  /** Embedding through a collection, its durable writes included. A text that is known is not embedded again. */
  async openEmbedding(directory) {
    const memory = await openMemory({ dataDir: directory, parts: ['vectors'], modelDir: path.dirname(modelFile()) });
    let collections = 0;
    /** Texts in a second of processor time. */
    const rate = async (texts) => {
      collections += 1;
      const collection = memory.vectors.collection(`bench-${collections}`);
      const documents = texts.map((text, index) => ({ id: String(index), text }));
      const before = process.cpuUsage();
      const { owed } = await collection.upsert(documents);
      const { user, system } = process.cpuUsage(before);
      if (owed > 0) throw new Error(`${owed} of ${texts.length} texts have no vector`);
      return texts.length / ((user + system) / 1e6);
    };
    return { prepare: rate, rate, close: () => memory.dispose() };
  },
};
