'use strict';
// `node vectors-worker.cjs <directory>`: stores a prompt, embeds what is pending, and searches; with a fault in
// CLAUDE_MEM_NATIVE_FAULT. Prints what it finds.

const { openMemory } = require('../fault/index.cjs');

const vector = (text) => Float32Array.from({ length: 8 }, (_, at) => Math.sin(text.length * (at + 1)) + 1.5);

async function main() {
  const memory = await openMemory({
    dataDir: process.argv[2],
    embedder: 'external',
    model: { name: 'lengths', dimensions: 8 },
  });
  const again = (error) => {
    // A fault of one round is told to whoever waited for it; the next round works.
    if (error.code !== 'ERR_INTERNAL') throw error;
  };
  for (let n = 0; n < 3; n++) {
    if (n > 0 || (await memory.store.getAllProjects()).length === 0) {
      await memory.store.beginPrompt('claude', 'project', 'a prompt' + ' that is longer'.repeat(n));
    }
    const pending = await memory.vectors.pending().catch(again);
    const given = pending?.map(({ documentId, revision, text }) => ({ documentId, revision, vector: vector(text) }));
    if (given?.length) await memory.vectors.put(given);
  }
  const { documents, pending } = await memory.vectors.status();
  const [found] = await memory.vectors.search({ vector: vector('a prompt'), k: 1 });
  await memory.dispose();
  console.log(JSON.stringify({ documents, pending, found: found?.documentId }));
}

main();
