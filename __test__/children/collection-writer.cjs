'use strict';
// `node collection-writer.cjs <directory>`: stores documents with vectors, says each id once it is acknowledged, and
// goes on until it is killed.

const { openMemory } = require('../..');

async function main() {
  const memory = await openMemory({ dataDir: process.argv[2], parts: ['vectors'] });
  const collection = memory.vectors.collection('notes');
  for (let number = 0; ; number += 4) {
    await Promise.all(
      [0, 1, 2, 3].map(async (more) => {
        const id = `${number + more}`;
        const metadata = { number: number + more };
        await collection.upsert([{ id, text: `note ${id}`, metadata, vector: [1, number + more] }]);
        process.stdout.write(`${id}\n`);
      }),
    );
  }
}

main();
