'use strict';
// openMemory and Memory: options, the data directory, dispose and what it cascades to.

const assert = require('node:assert/strict');
const fs = require('node:fs');
const path = require('node:path');
const { execFileSync } = require('node:child_process');
const { describe, test } = require('node:test');
const { Worker } = require('node:worker_threads');

const claudeMem = require('..');
const { dataDirectory } = require('./data-directory.cjs');
const { message, names, next, openedMemory, settled } = require('./opened-memory.cjs');
const { BUN, countThreads } = require('./runtime.cjs');

const { openMemory } = claudeMem;
const DONE = { value: undefined, done: true };

/** Every option: the smallest value, the largest, and one that is refused. */
const OPTIONS = {
  role: ['owner', 'owner', 'guest'],
  readOnly: [false, false, 'yes'], // for clients alone: client.test.cjs
  parts: [['store', 'queue'], ['queue', 'store'], 'queue'], // one without the other: parts.test.cjs
  lockWaitMs: [0, 600_000, -1],
  deadlineMs: [1, 600_000, 0],
  durability: ['normal', 'full', 'fast'],
  readers: [1, 16, 0],
  maxInFlightBytes: [65_536, 4 * 2 ** 30, 65_535],
  maxMessageBytes: [1_024, 500_000_000, 1_023],
  maxSessionMessages: [1, 1e9, 0],
  maxSessionBytes: [1_024, 1e15, 1.5],
  maxQueueBytes: [1_024, 1e15, NaN],
  maxAttempts: [1, 100, 101],
  backoffBaseMs: [1, 86_400_000, 0],
  backoffMaxMs: [1, 86_400_000, Infinity],
  maxPauseMs: [1, 86_400_000 * 370, '1 day'],
  sessionTtlMs: [1, 86_400_000 * 370, 0],
  maxSessions: [1, 100_000, 100_001],
  maxDeadLetters: [0, 1_000_000, -1],
  deadLetterAgeMs: [1, 86_400_000 * 3_700, {}],
  dedupeAgeMs: [1, 86_400_000 * 370, []],
  maxDedupeKeys: [0, 10_000_000, true],
  secureDelete: [false, true, 1],
  indexing: ['auto', 'manual', 'never'],
  vectorPrecision: ['bf16', 'i8', 'f32'],
  vectorExpansion: [{ add: 4, search: 1 }, { add: 4_096, search: 4_096 }, 5],
  vectorMemoryBudget: [2 ** 20, 2 ** 40, 2 ** 20 - 1],
  embedder: ['local', 'external', 'remote'],
  model: [{ dimensions: 1, maxTokens: 3 }, { name: 'x'.repeat(100), dimensions: 4_096, maxTokens: 8_192 }, 'mine'],
  modelDir: ['models', 'models', ''],
  modelIdleMs: [0, 86_400_000 * 370, -1],
  modelThreads: [1, 64, 0],
  queryCacheBytes: [0, 2 ** 30, 2 ** 30 + 1],
  clientModel: [false, true, 'yes'],
};

describe('the options of openMemory', () => {
  test('all of them, at both ends of their ranges', async (t) => {
    for (const end of [0, 1]) {
      const { directory } = dataDirectory(t);
      const chosen = Object.fromEntries(Object.entries(OPTIONS).map(([name, values]) => [name, values[end]]));
      const memory = await openMemory({ dataDir: directory, ...chosen });
      const id = await memory.store.createSDKSession('claude', 'project', 'ask');
      await memory.queue.enqueue(id, message('a'));
      // With a TTL of 1 ms a consumer may have ended before its claim is written.
      let batch;
      while (!batch) batch = await next(memory.queue.consume(id));
      await batch.commit({ observations: [{ type: 'change' }] });
      assert.equal((await memory.store.getStats()).observations, 1);
      await memory.dispose();
    }
  });

  test('undefined and null stand for the default', async (t) => {
    const { directory } = dataDirectory(t);
    for (const nothing of [undefined, null]) {
      const chosen = Object.fromEntries(Object.keys(OPTIONS).map((name) => [name, nothing]));
      const memory = await openMemory({ ...chosen, dataDir: directory });
      await memory.dispose();
    }
  });

  test('the documented ones are these', () => {
    const types = fs.readFileSync(path.join(__dirname, '..', 'index.d.ts'), 'utf8');
    const [, body] = /interface OpenOptions \{([^}]*)\}/.exec(types);
    const documented = [...body.matchAll(/^ {2}(\w+)\?:/gm)].map(([, name]) => name);
    assert.deepEqual(documented, ['dataDir', ...Object.keys(OPTIONS)]);
    const undocumented = body.split(/^ {2}\w+\?:.*$/m).filter((comment) => comment.trim() && !/default/i.test(comment));
    assert.deepEqual(undocumented, [], 'each names its default');
  });

  test('one out of its range, or of another kind, is refused by name, with what was expected', async () => {
    for (const [name, [, , bad]] of Object.entries(OPTIONS)) {
      await assert.rejects(openMemory({ dataDir: '/nowhere', [name]: bad }), (error) => {
        assert.equal(error.code, 'ERR_INVALID_ARG', name);
        assert.equal(error.argument, name);
        assert.ok(error.message.startsWith(`option '${name}' must be `), error.message);
        return true;
      });
    }
    for (const bad of ['', 7, {}]) {
      await assert.rejects(openMemory({ dataDir: bad }), { code: 'ERR_INVALID_ARG', argument: 'dataDir' });
    }
    for (const bad of ['x', 7, [], () => {}]) await assert.rejects(openMemory(bad), { code: 'ERR_INVALID_ARG' });
  });

  test('a model is refused by the name of what is wrong with it', async () => {
    for (const [model, what] of [
      [{ name: '' }, 'name'],
      [{ name: '../up' }, 'name'],
      [{ name: '.hidden' }, 'name'],
      [{ name: 'x'.repeat(101) }, 'name'],
      [{ dimensions: 0 }, 'dimensions'],
      [{ dimensions: 4_097 }, 'dimensions'],
      [{ maxTokens: 2 }, 'maxTokens'],
      [{ maxTokens: 'many' }, 'maxTokens'],
      [{ dimension: 384 }, 'dimension'],
    ]) {
      await assert.rejects(openMemory({ dataDir: '/nowhere', model }), (error) => {
        assert.equal(error.code, 'ERR_INVALID_ARG');
        assert.ok(error.message.includes(what), error.message);
        return true;
      });
    }
  });

  test('a misspelled one is refused, and the right one named', async () => {
    for (const [wrong, right] of [
      ['datadir', 'dataDir'],
      ['dataDirectory', 'dataDir'],
      ['lockWait', 'lockWaitMs'],
      ['maxAttemps', 'maxAttempts'],
      ['max_sessions', 'maxSessions'],
      ['sessionTTLMs', 'sessionTtlMs'],
    ]) {
      await assert.rejects(openMemory({ [wrong]: 1 }), (error) => {
        assert.equal(error.code, 'ERR_INVALID_ARG');
        assert.equal(error.argument, wrong);
        assert.ok(error.message.includes(`'${wrong}'`) && error.message.includes(right), error.message);
        return true;
      });
    }
    await assert.rejects(openMemory({ zzz: 1 }), /unknown option 'zzz'; known are dataDir, /);
  });
});

describe('the data directory', () => {
  /** Where another process opens a memory without dataDir. */
  function openedIn(env) {
    const code = `require(${JSON.stringify(path.join(__dirname, '..'))}).openMemory().then(async (memory) => {
      process.stdout.write(memory.dataDir);
      await memory.dispose();
    });`;
    const kept = { ...process.env, ...env };
    for (const [name, value] of Object.entries(env)) if (value === undefined) delete kept[name];
    return execFileSync(process.execPath, ['--eval', code], { env: kept, encoding: 'utf8' });
  }

  test('comes from CLAUDE_MEM_DATA_DIR, else lies in the home directory', (t) => {
    const { directory } = dataDirectory(t);
    const chosen = path.join(directory, 'chosen', 'deep');
    assert.equal(openedIn({ CLAUDE_MEM_DATA_DIR: chosen }), chosen);
    assert.ok(fs.existsSync(path.join(chosen, 'claude-mem.db')), 'it was created');
    const home = path.join(directory, 'home');
    fs.mkdirSync(home);
    for (const unset of [undefined, '']) {
      const place = openedIn({ CLAUDE_MEM_DATA_DIR: unset, HOME: home, USERPROFILE: home });
      assert.equal(place, path.join(home, '.claude-mem'));
    }
  });

  test('is the one that the program has put into process.env, in a thread too', async (t) => {
    const { directory } = dataDirectory(t);
    const before = process.env.CLAUDE_MEM_DATA_DIR;
    t.after(() => {
      if (before === undefined) delete process.env.CLAUDE_MEM_DATA_DIR;
      else process.env.CLAUDE_MEM_DATA_DIR = before;
    });
    process.env.CLAUDE_MEM_DATA_DIR = path.join(directory, 'main');
    const memory = await openMemory();
    assert.equal(memory.dataDir, path.join(directory, 'main'));
    await memory.dispose();
    const code = `
      const { parentPort, workerData } = require('node:worker_threads');
      process.env.CLAUDE_MEM_DATA_DIR = workerData.directory;
      require(workerData.module).openMemory().then(async (memory) => {
        await memory.dispose();
        parentPort.postMessage(memory.dataDir);
      });`;
    const workerData = { module: path.join(__dirname, '..'), directory: path.join(directory, 'thread') };
    const worker = new Worker(code, { eval: true, workerData });
    const told = new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
    assert.equal(await settled(told), path.join(directory, 'thread'));
    await worker.terminate();
  });

  test('is absolute, whatever was given', async (t) => {
    const { directory } = dataDirectory(t);
    const memory = await openMemory({ dataDir: path.relative(process.cwd(), directory) });
    t.after(() => memory.dispose());
    assert.ok(path.isAbsolute(memory.dataDir));
    assert.equal(fs.realpathSync(memory.dataDir), fs.realpathSync(directory));
  });

  test('that cannot be made rejects with ERR_IO naming it', async (t) => {
    const { directory } = dataDirectory(t);
    const file = path.join(directory, 'file');
    fs.writeFileSync(file, '');
    await assert.rejects(openMemory({ dataDir: path.join(file, 'below') }), (error) => {
      assert.equal(error.code, 'ERR_IO');
      assert.ok(error.message.includes(file), error.message);
      return true;
    });
  });

  test('has one owner; a second is told who holds it', async (t) => {
    const { memory, directory } = await openedMemory(t);
    const before = Date.now();
    await assert.rejects(openMemory({ dataDir: directory, lockWaitMs: 0 }), (error) => {
      assert.equal(error.code, 'ERR_LOCKED');
      assert.equal(error.pid, process.pid);
      assert.ok(error.startedAtEpoch <= before);
      assert.match(error.message, new RegExp(`owned by .*${process.pid}.*since`));
      return true;
    });
    assert.equal((await memory.health()).handles.memories, 1);
  });

  test('two directories have two owners', async (t) => {
    const [one, two] = [await openedMemory(t), await openedMemory(t)];
    assert.equal((await one.memory.health()).handles.memories, 2);
    const [a, b] = [await one.session(), await two.session()];
    await one.put(a, 'a');
    assert.deepEqual([one.memory.queue.depth(a), two.memory.queue.depth(b)], [1, 0]);
  });
});

/** Arguments under which a method has nothing to complain about but that its memory is disposed. */
const ARGUMENTS = {
  store: {
    getFilesForSession: ['claude'],
    getObservationById: [1],
    getObservationsByIds: [[1]],
    getObservationsForSession: ['claude'],
    getRecentObservations: ['project'],
    storeObservation: ['claude', 'project', { type: 'change' }],
    getContext: ['project'],
    commitResponse: [{ sessionDbId: 1 }],
    beginPrompt: ['claude', 'project', 'ask'],
    getLatestUserPrompt: ['claude'],
    getUserPromptsByIds: [[1]],
    getUserPromptsBySession: ['claude'],
    saveUserPrompt: ['claude', 1, 'ask'],
    touchSession: ['claude'],
    createSDKSession: ['claude', 'project', 'ask'],
    findActiveSDKSession: ['claude'],
    findAnySDKSession: ['claude'],
    getPromptCounter: [1],
    getRecentSessionsWithStatus: ['project'],
    getSessionById: [1],
    getWorkerPort: [1],
    incrementPromptCounter: [1],
    markSessionCompleted: [1],
    markSessionFailed: [1],
    reactivateSession: [1, 'ask'],
    setWorkerPort: [1, 2],
    updateSDKSessionId: [1, 'sdk'],
    getTimelineAroundObservation: [1, 1],
    getTimelineAroundTimestamp: [1],
    getRecentSummaries: ['project'],
    getRecentSummariesWithSessionInfo: ['project'],
    getSessionSummariesByIds: [[1]],
    getSummaryForSession: ['claude'],
    storeSummary: ['claude', 'project', { request: 'r' }],
    findByConcept: ['concept'],
    findByFile: ['file'],
    findByType: ['change'],
    searchObservations: ['text'],
    searchSessions: ['text'],
    searchUserPrompts: ['text'],
  },
  pages: { getObservations: [0, 1], getPrompts: [0, 1], getSummaries: [0, 1] },
  queue: {
    consume: [1],
    enqueue: [1, {}],
    enqueueRaw: [1, Buffer.from('{}')],
    getDeadLetter: [1],
    hasConsumer: [1],
    isReady: [1],
    purge: [1],
    retryDeadLetter: [1],
  },
  sessions: { delete: [1], get: [1], initialize: [1] },
};

describe('dispose', () => {
  test('twice, at once and afterwards, without harm', async (t) => {
    const { memory } = await openedMemory(t);
    await Promise.all([memory.dispose(), memory.dispose(), memory[Symbol.asyncDispose]()]);
    await memory.dispose();
    await memory[Symbol.asyncDispose]();
  });

  test('afterwards every call answers ERR_DISPOSED', async (t) => {
    const { memory, directory } = await openedMemory(t);
    await memory.dispose();
    await assert.rejects(memory.health(), { code: 'ERR_DISPOSED' });
    assert.equal(memory.dataDir, directory, 'what it was is still told');
    for (const part of Object.keys(ARGUMENTS)) {
      const methods = Object.getOwnPropertyNames(Object.getPrototypeOf(memory[part])).filter(
        (n) => n !== 'constructor',
      );
      assert.ok(methods.length > 0);
      for (const name of methods) {
        const call = async () => memory[part][name](...(ARGUMENTS[part][name] ?? []));
        await assert.rejects(settled(call()), (error) => {
          assert.equal(error.code, 'ERR_DISPOSED', `${part}.${name}: ${error.message}`);
          assert.match(error.message, /memory.*disposed/);
          return true;
        });
      }
    }
  });

  test('cascades to consumers, batches and iterators, in whichever order they are disposed', async (t) => {
    const { memory, session, put } = await openedMemory(t);
    const [id, other] = [await session('a'), await session('b')];
    await put(id, 'a');
    const consumer = memory.queue.consume(id);
    const batch = await next(consumer);
    const waiting = memory.queue.consume(other);
    const pending = [waiting.next(), memory.queue.ready().next()];
    await memory.dispose();
    assert.deepEqual(await settled(Promise.all(pending)), [DONE, DONE]);
    assert.deepEqual([consumer.endReason, waiting.endReason], ['disposed', 'disposed']);
    assert.deepEqual(await consumer.next(), DONE, 'next() never rejects for that');
    for (const call of [() => batch.commit(), () => batch.release(), () => batch.deadLetter([batch.upto])]) {
      await assert.rejects(settled(call()), { code: 'ERR_DISPOSED' });
    }
    assert.throws(() => batch.extend(1), { code: 'ERR_DISPOSED' });
    batch.dispose();
    consumer.dispose();
    waiting.dispose();
    await waiting.return();
    await memory.dispose();
  });

  test('lets what was accepted finish', async (t) => {
    const opened = await openedMemory(t);
    const { memory, session, put } = opened;
    const [id, other] = [await session('a'), await session('b')];
    await put(id, 'a');
    const batch = await next(memory.queue.consume(id));
    const commit = batch.commit({ observations: [{ type: 'change' }] });
    const enqueues = Array.from({ length: 100 }, (_, n) => memory.queue.enqueue(other, message(`${n}`)));
    const stored = memory.store.storeObservation('a', 'project', { type: 'change' });
    await memory.dispose();
    assert.equal((await commit).observations.length, 1);
    const answers = await Promise.all(enqueues);
    await stored;
    const again = await opened.reopen();
    assert.equal(again.queue.depth(id), 0);
    assert.equal(again.queue.depth(other), 100);
    assert.equal((await again.store.getStats()).observations, 2);
    const delivered = await next(again.queue.consume(other, { maxBatch: 1_000 }));
    assert.deepEqual(
      delivered.messages.map((each) => each.id),
      answers.map((answer) => answer.id),
    );
  });

  test('gives the directory to the next, who finds everything', async (t) => {
    const opened = await openedMemory(t);
    const id = await opened.session();
    for (let round = 0; round < 10; round += 1) {
      await opened.put(id, `${round}`);
      await opened.reopen({ lockWaitMs: 0 });
    }
    const batch = await next(opened.memory.queue.consume(id, { maxBatch: 100 }));
    assert.deepEqual(
      names(batch),
      Array.from({ length: 10 }, (_, n) => `${n}`),
    );
    assert.equal((await opened.memory.health()).handles.memories, 1);
  });
});

describe('handles', () => {
  test('have the well-known symbols', async (t) => {
    const { memory, session, put } = await openedMemory(t);
    const id = await session();
    await put(id, 'a');
    const consumer = memory.queue.consume(id);
    const batch = await next(consumer);
    const ready = memory.queue.ready();
    assert.equal(typeof memory[Symbol.asyncDispose], 'function');
    assert.equal(typeof ready[Symbol.dispose], 'function');
    for (const handle of [consumer, batch]) {
      assert.equal(typeof handle[Symbol.dispose], 'function');
      assert.equal(typeof handle[Symbol.asyncDispose], 'function');
    }
    assert.equal(consumer[Symbol.asyncIterator](), consumer);
    await batch[Symbol.asyncDispose]();
    await consumer[Symbol.asyncDispose]();
    assert.equal(consumer.endReason, 'disposed');
    ready[Symbol.dispose]();
  });

  test('a memory has one of each of its parts', async (t) => {
    const { memory } = await openedMemory(t);
    for (const part of Object.keys(ARGUMENTS)) assert.equal(memory[part], memory[part], part);
  });

  test('are only made by what opens them', () => {
    for (const name of [
      'Memory',
      'Store',
      'Pages',
      'Queue',
      'Sessions',
      'Consumer',
      'Batch',
      'RawMessage',
      'ReadySessions',
    ]) {
      assert.throws(() => new claudeMem[name](), name);
    }
  });

  test('a method that is called on something else says so', async (t) => {
    const { memory } = await openedMemory(t);
    const { depth } = memory.queue;
    assert.throws(() => depth(), BUN ? Error : TypeError);
    assert.throws(() => depth.call({}), Error);
    assert.throws(() => memory.health.call(memory.queue), Error);
  });

  test(
    '100 rounds of open, use and dispose leave threads and file descriptors where they were',
    { skip: !fs.existsSync('/proc/self/task') && 'there is no /proc here' },
    async (t) => {
      const { directory } = dataDirectory(t);
      const descriptorCount = () => fs.readdirSync('/proc/self/fd').length;
      const round = async () => {
        const memory = await openMemory({ dataDir: directory });
        const id = await memory.store.createSDKSession('claude', 'project', 'ask');
        await memory.queue.enqueue(id, message('a'));
        const consumer = memory.queue.consume(id);
        await (await next(consumer)).commit();
        const pending = consumer.next();
        await memory.dispose();
        await settled(pending);
      };
      for (let n = 0; n < 5; n += 1) await round();
      const before = [descriptorCount(), countThreads()];
      for (let n = 0; n < 100; n += 1) await round();
      // Threads end in their own time.
      for (let n = 0; n < 500 && countThreads() > before[1]; n += 1) await new Promise((done) => setTimeout(done, 10));
      const [descriptors, threads] = [descriptorCount(), countThreads()];
      assert.ok(descriptors <= before[0] && threads <= before[1], `${descriptors}, ${threads}; before ${before}`);
    },
  );
});

test('beside the database there is nothing but native/', async (t) => {
  const { directory } = dataDirectory(t);
  const memory = await openMemory({ dataDir: directory });
  t.after(() => memory.dispose());
  assert.deepEqual(
    fs
      .readdirSync(directory)
      .filter((name) => !name.startsWith('claude-mem.db'))
      .sort(),
    ['native'],
  );
});
