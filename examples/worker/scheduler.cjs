'use strict';
// Gives waiting messages to the agent. One loop over `queue.ready()`: it takes a place first, then the next session
// that has something to deliver, and lets that session have a turn. So a place is held only while a batch is worked
// on: a session that is empty, paused or backing off has no consumer at all and is offered again when that ends.
const { setTimeout: sleep } = require('node:timers/promises');
const { readAnswer } = require('./agents/answer.cjs');
const { MessageReader } = require('./agents/message-reader.cjs');

const DEFAULTS = { maxConcurrentAgents: 2, agentTimeoutMs: 300_000, batchesPerTurn: 4, unavailableRetryMs: 30_000 };
// A consumer that was promised a message and finds none (it was purged in that moment) gives its place back after this.
const EMPTY_QUEUE_MS = 1_000;
// The database may be locked or full for a while; an answer that was paid for is offered this often before it is given up.
const COMMIT_ATTEMPTS = 5;
const COMMIT_RETRY_MS = 500;
const WORTH_RETRYING = new Set(['ERR_BUSY', 'ERR_DISK_FULL', 'ERR_IO']);
// These say that the session, the lease or the memory is gone: somebody else has decided what happens to the messages.
const OUT_OF_OUR_HANDS = new Set(['ERR_LEASE_LOST', 'ERR_DISPOSED', 'ERR_NOT_FOUND']);

/** A message of this type, put at the end of a queue, completes its session once all before it is done. */
const COMPLETE_MESSAGE = 'complete';
const ENDS_SESSION = new Set(['summarize', COMPLETE_MESSAGE]);

/** Counts who works: `acquire` waits for a place, `release` gives it to who waited longest. */
class Places {
  constructor(count) {
    this.free = count;
    this.waiting = [];
  }

  acquire() {
    if (this.free > 0) {
      this.free -= 1;
      return Promise.resolve();
    }
    return new Promise((resolve) => {
      this.waiting.push(resolve);
    });
  }

  release() {
    const next = this.waiting.shift();
    if (next) next();
    else this.free += 1;
  }
}

/** Runs the agent over everything that waits. */
class Scheduler {
  /**
   * @param {object} memory an open memory
   * @param {{name: string, observe: Function}} agent
   * @param {object} publish is told what happened: `stored(session, rows)`, `completed(sessionDbId)`, `changed()`
   */
  constructor(memory, agent, publish, { log, ...options } = {}) {
    this.memory = memory;
    this.agent = agent;
    this.publish = publish;
    this.log = log ?? (() => {});
    this.options = { ...DEFAULTS, ...options };
    this.places = new Places(this.options.maxConcurrentAgents);
    this.running = new Map(); // sessionDbId → AbortController of the batch being worked on
    this.turns = new Set();
    this.isStopping = false;
    this.lastAgentError = null;
    this.loop = null;
  }

  /** Starts the loop. */
  start() {
    this.loop = this.serve();
  }

  async serve() {
    while (!this.isStopping) {
      try {
        this.ready = this.memory.queue.ready();
        await this.serveReady(this.ready);
      } catch (error) {
        if (this.isStopping || error.code === 'ERR_DISPOSED') return;
        this.log(`The list of waiting sessions failed, it is read again: ${error.message}`);
        await sleep(1_000, undefined, { ref: false });
      }
    }
  }

  async serveReady(ready) {
    for (;;) {
      await this.places.acquire();
      let offered;
      try {
        offered = await ready.next();
      } catch (error) {
        this.places.release();
        throw error;
      }
      if (offered.done || this.isStopping) {
        this.places.release();
        return;
      }
      const turn = this.takeTurn(offered.value.sessionDbId)
        .catch((error) => {
          if (!OUT_OF_OUR_HANDS.has(error.code))
            this.log(`Session ${offered.value.sessionDbId}: ${error.stack || error}`);
        })
        .finally(() => {
          this.turns.delete(turn);
          this.places.release();
        });
      this.turns.add(turn);
    }
  }

  /** Works on one session until it has nothing to deliver, but on no more than a few batches: others wait too. */
  async takeTurn(sessionDbId) {
    const consumer = this.memory.queue.consume(sessionDbId, { idleTimeoutMs: EMPTY_QUEUE_MS });
    try {
      for (let taken = 0; taken < this.options.batchesPerTurn && !this.isStopping; taken += 1) {
        const { value: batch, done } = await consumer.next();
        if (done) return;
        const depth = await this.work(batch);
        this.publish.changed();
        if (depth === 0 || depth === null) return;
      }
    } finally {
      consumer.dispose();
    }
  }

  /** Has one batch observed and committed. Resolves the depth left, or null where the batch went back or away. */
  async work(batch) {
    const stopper = new AbortController();
    this.running.set(batch.sessionDbId, stopper);
    try {
      const session = await this.memory.store.getSessionById(batch.sessionDbId);
      if (session === null) return null; // the engine moves what belongs to no session to the dead letters
      const endsSession = batch.messages.some((message) => ENDS_SESSION.has(message.type));
      let answer;
      try {
        answer = readAnswer(await this.ask(batch, session, stopper));
        this.lastAgentError = null;
      } catch (error) {
        await this.giveBack(batch, error, stopper);
        return null;
      }
      const stored = await this.commit(batch, answer, endsSession, stopper);
      if (stored === null) return null;
      this.publish.stored(session, {
        observations: stored.observations.map((row, index) => ({ ...answer.observations[index], ...row })),
        summary: stored.summary === null ? null : { ...answer.summary, ...stored.summary },
        promptNumber: batch.promptNumber,
      });
      if (endsSession) await this.endSession(batch.sessionDbId);
      return stored.depth;
    } finally {
      this.running.delete(batch.sessionDbId);
    }
  }

  async ask(batch, session, stopper) {
    const reader = new MessageReader(batch, (message) => message.type !== COMPLETE_MESSAGE);
    const { messages, readText, readRaw } = reader;
    if (messages.length === 0) return { observations: [], summary: null };
    const context = {
      sessionDbId: session.id,
      claudeSessionId: session.claude_session_id,
      project: session.project,
      userPrompt: await this.promptOf(session, batch.promptNumber),
      promptNumber: batch.promptNumber,
      attempt: Math.max(...messages.map((message) => message.attempts ?? 0)) + 1,
      history: messages.some((message) => message.type === 'summarize') ? await this.historyOf(session) : null,
      readText,
      readRaw,
      signal: stopper.signal,
    };
    stopper.signal.throwIfAborted();
    const { agentTimeoutMs } = this.options;
    let timer;
    const stopped = new Promise((_, reject) => {
      stopper.signal.addEventListener('abort', () => reject(stopper.signal.reason), { once: true });
      timer = setTimeout(
        () => stopper.abort(new Error(`The agent gave no answer within ${agentTimeoutMs} ms.`)),
        agentTimeoutMs,
      );
    });
    stopped.catch(() => {}); // it is raced below; where the agent throws at once, nobody else would hear it
    try {
      // An agent that ignores its signal is not waited for either.
      return await Promise.race([this.agent.observe(messages, context), stopped]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** What the user asked for when these messages were made. */
  async promptOf(session, promptNumber) {
    const { store } = this.memory;
    const latest = await store.getLatestUserPrompt(session.claude_session_id);
    if (latest === null || promptNumber === null || latest.prompt_number === promptNumber) {
      return latest?.prompt_text ?? session.user_prompt;
    }
    const prompts = await store.getUserPromptsBySession(session.claude_session_id);
    return prompts.find((prompt) => prompt.prompt_number === promptNumber)?.prompt_text ?? session.user_prompt;
  }

  /** What a summary can look back on: titles of the session's newest observations, and its files. */
  async historyOf(session) {
    const { store } = this.memory;
    const sdkSessionId = session.sdk_session_id ?? session.claude_session_id;
    const [observations, files] = await Promise.all([
      store.getObservationsForSession(sdkSessionId),
      store.getFilesForSession(sdkSessionId),
    ]);
    return { observations: observations.slice(-200), ...files };
  }

  async commit(batch, answer, completeSession, stopper) {
    for (let attempt = 1; ; attempt += 1) {
      try {
        return await batch.commit({ ...answer, completeSession });
      } catch (error) {
        if (OUT_OF_OUR_HANDS.has(error.code)) return null;
        if (!WORTH_RETRYING.has(error.code) || attempt === COMMIT_ATTEMPTS || this.isStopping) {
          await this.giveBack(batch, error, stopper);
          return null;
        }
        await sleep(COMMIT_RETRY_MS * attempt);
      }
    }
  }

  /** Puts a batch back: counted as an attempt unless the messages are not to blame. */
  async giveBack(batch, error, stopper) {
    const isStopped = stopper.signal.aborted && stopper.signal.reason instanceof StoppedError;
    const isUnavailable = error?.code === 'ERR_AGENT_UNAVAILABLE';
    if (!isStopped) {
      this.lastAgentError = { message: String(error?.message ?? error), atEpoch: Date.now() };
      this.log(`Session ${batch.sessionDbId}: ${error?.message ?? error}`);
    }
    try {
      await batch.release({
        error: String(error?.message ?? error),
        countAttempt: !(isStopped || isUnavailable),
        ...(isUnavailable ? { delayMs: this.options.unavailableRetryMs } : {}),
      });
    } catch (releaseError) {
      if (!OUT_OF_OUR_HANDS.has(releaseError.code)) throw releaseError;
    }
  }

  /** The session was completed together with the commit: it leaves the registry, and what came later stays queued. */
  async endSession(sessionDbId) {
    this.publish.completed(sessionDbId);
    if (this.memory.queue.depth(sessionDbId) === 0) await this.memory.sessions.delete(sessionDbId, { mode: 'drain' });
  }

  /**
   * Completes a session once its queue is empty. What still waits is followed by a message that says so: like
   * everything in the queue it is durable, so the session is completed after a restart as well.
   */
  async complete(sessionDbId) {
    const { queue, sessions, store } = this.memory;
    if (queue.isBusy(sessionDbId)) {
      await queue.enqueue(sessionDbId, { type: COMPLETE_MESSAGE }, { endsBatch: true });
      return;
    }
    await store.markSessionCompleted(sessionDbId);
    await sessions.delete(sessionDbId, { mode: 'drain' });
    this.publish.completed(sessionDbId);
  }

  /** Stops the session's agent and throws away what waits for it. Resolves the number of messages that went. */
  async abort(sessionDbId) {
    const { purged } = await this.memory.sessions.delete(sessionDbId, { mode: 'abort', purge: true });
    this.running.get(sessionDbId)?.abort(new StoppedError('The session was deleted.'));
    return purged;
  }

  /** What /health tells about the agents. */
  status() {
    return {
      agent: this.agent.name ?? 'unnamed',
      running: this.running.size,
      maxConcurrent: this.options.maxConcurrentAgents,
      lastError: this.lastAgentError,
    };
  }

  /** Takes no new batch, stops the agents (their batches count no attempt) and waits for commits under way. */
  async stop() {
    this.isStopping = true;
    for (const stopper of this.running.values()) stopper.abort(new StoppedError('The worker is shutting down.'));
    this.ready?.dispose();
    await Promise.all(this.turns);
    // A turn that ended has made a place free, so the loop sees that the worker stops.
    await this.loop;
  }
}

/** The batch was interrupted on purpose. */
class StoppedError extends Error {}

module.exports = { Scheduler };
