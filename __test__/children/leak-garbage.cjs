'use strict';
// Handles that are only garbage-collected: `node --expose-gc leak-garbage.cjs <kind> <directory>`. Prints what became of
// the native side.

const { openMemory } = require('../..');
const { collectGarbage } = require('../runtime.cjs');

const [kind, dataDir] = process.argv.slice(2);
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Collects until `look` is content. A finalizer runs some turns after the collection that has found its object. */
async function collectUntil(look) {
  for (const since = performance.now(); performance.now() - since < 60_000; await pause(20)) {
    collectGarbage();
    const found = await look();
    if (found) return found;
  }
  throw new Error('nothing was released within a minute');
}

const handles = async (memory) => (await memory.health()).handles;

/** Handles made in here are garbage once it has returned. */
async function inside(make) {
  await make();
}

const kinds = {
  async memory() {
    await inside(async () => {
      const memory = await openMemory({ dataDir });
      const session = await memory.store.createSDKSession('claude', 'project', 'prompt');
      await memory.queue.enqueue(session, { type: 'observation' });
      // Nobody holds these; they end with the memory, and reject nothing.
      memory.queue.consume(await memory.store.createSDKSession('other', 'project', 'prompt')).next();
      memory.queue.ready({ limit: 5 }).next();
      memory.queue.ready({ limit: 5 }).next();
    });
    const next = await collectUntil(() =>
      openMemory({ dataDir, lockWaitMs: 0 }).catch((error) => void assertLocked(error)),
    );
    console.log(`depth ${next.queue.depth()}, memories ${(await handles(next)).memories}`);
    await next.dispose();
  },
  async consumer(memory, session) {
    await inside(async () => void memory.queue.consume(session));
    const next = await collectUntil(() => {
      try {
        return memory.queue.consume(session);
      } catch (error) {
        assertLocked(error);
      }
    });
    next.dispose();
    await inside(async () => void memory.queue.consume(session));
    await collectUntil(async () => (await handles(memory)).consumers === 0);
    console.log(`consumer ${memory.queue.hasConsumer(session)}`);
  },
  async batch(memory, session) {
    await memory.queue.enqueue(session, { type: 'observation', text: 'kept' });
    await inside(async () => {
      const { value } = await memory.queue.consume(session).next();
      if (value.messages[0].text !== 'kept') throw new Error('not what was enqueued');
    });
    await collectUntil(async () => (await handles(memory)).batches === 0);
    const { value: ready } = await memory.queue.ready({ keepAlive: true }).next();
    const { value: again } = await memory.queue.consume(ready.sessionDbId).next();
    console.log(`again ${again.messages[0].text}, attempts ${again.messages[0].attempts}`);
    await again.commit();
  },
  // The consumer and the iterator are garbage while their promises are awaited: they are not abandoned.
  async awaited(memory, session) {
    const collecting = setInterval(collectGarbage, 10);
    const batch = memory.queue.consume(session, { keepAlive: true }).next();
    const other = await memory.store.createSDKSession('other', 'project', 'prompt');
    const ready = memory.queue.ready({ keepAlive: true }).next();
    await pause(2_500);
    await memory.queue.enqueue(session, { type: 'observation' });
    await memory.queue.enqueue(other, { type: 'observation' });
    const [{ value: found }, { value: offered }] = await Promise.all([batch, ready]);
    clearInterval(collecting);
    console.log(`messages ${found?.messages.length}, offered ${offered?.sessionDbId === other}`);
    await found.commit();
  },
  async ready(memory) {
    await inside(async () => void memory.queue.ready());
    await collectUntil(async () => (await handles(memory)).ready === 0);
    console.log('released');
  },
};

function assertLocked(error) {
  if (error.code !== 'ERR_LOCKED') throw error;
}

async function main() {
  if (kind === 'memory') return kinds.memory();
  const memory = await openMemory({ dataDir, backoffBaseMs: 1, backoffMaxMs: 2 });
  await kinds[kind](memory, await memory.store.createSDKSession('claude', 'project', 'prompt'));
  await memory.dispose();
}

main();
