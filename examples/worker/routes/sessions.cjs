'use strict';
// What the hooks call: start a session, hand in tool calls, ask for the summary, end it.
const express = require('express');
const { NotFound } = require('../http-errors.cjs');
const { enqueueBody } = require('../message-body.cjs');
const { integer, text, sessionDbId, jsonBody, withoutUndefined } = require('../request-values.cjs');

/** What the hooks send, and as what it is stored: input and response are JSON text, an object is taken for what it means. */
const OBSERVATION = {
  type: 'observation',
  fields: {
    tool_name: 'text',
    tool_input: 'jsonText',
    tool_response: 'jsonText',
    prompt_number: 'integer',
    cwd: 'text',
  },
};
const SUMMARIZE = {
  type: 'summarize',
  fields: { last_user_message: 'text', last_assistant_message: 'text', prompt_number: 'integer' },
};

function promptNumber(body, name) {
  return integer(body[name], name, { min: 0, max: 1e9 });
}

/** A caller that may have to send again says so with a key, in the body or as a header; the message is then queued once. */
function dedupeKey(request) {
  const header = request.get('Idempotency-Key');
  return { dedupeKeyField: 'dedupe_key', ...(header ? { dedupeKey: header } : {}) };
}

/** Routes under /sessions. */
function sessionRoutes({ memory, scheduler, events, getPort }) {
  const { queue, sessions, store } = memory;
  const router = express.Router();

  async function knownSession(id) {
    const session = await store.getSessionById(id);
    if (session === null) throw new NotFound(`There is no session ${id}.`);
    return session;
  }

  router.post('/:id/init', async (request, response) => {
    const id = sessionDbId(request);
    const body = jsonBody(request, { optional: true });
    const session = await sessions.initialize(
      id,
      withoutUndefined({
        userPrompt: text(body.userPrompt, 'userPrompt'),
        promptNumber: promptNumber(body, 'promptNumber'),
      }),
    );
    await store.setWorkerPort(id, getPort());
    const prompt = await store.getLatestUserPrompt(session.claudeSessionId);
    if (prompt) events.prompt(prompt);
    events.started(id, session.project);
    response.json({ status: 'initialized', sessionDbId: id, port: getPort() });
  });

  async function enqueue(request, shape, optional) {
    const id = sessionDbId(request);
    // The promise resolves once the message is durable: only then does the hook hear that it was taken.
    const { duplicate } = await enqueueBody(queue, request, id, { ...shape, ...dedupeKey(request) }, { optional });
    if (duplicate === false) events.queued(id);
  }

  router.post('/:id/observations', async (request, response) => {
    await enqueue(request, OBSERVATION, false);
    response.json({ status: 'queued' });
  });

  router.post('/:id/summarize', async (request, response) => {
    await enqueue(request, SUMMARIZE, true);
    response.json({ status: 'queued' });
  });

  // A hook has enqueued by itself, into the queue's file.
  router.post('/:id/poke', async (request, response) => {
    const id = sessionDbId(request);
    const queueLength = await queue.poke(id);
    if (queueLength > 0) events.queued(id);
    response.json({ status: 'queued', queueLength });
  });

  router.get('/:id/status', async (request, response) => {
    const id = sessionDbId(request);
    const session = sessions.get(id);
    if (session === null) {
      response.json({ status: 'not_found' });
      return;
    }
    response.json({
      status: 'active',
      sessionDbId: id,
      project: session.project,
      queueLength: queue.depth(id),
      uptime: Date.now() - session.startTime,
    });
  });

  router.post('/:id/complete', async (request, response) => {
    const id = sessionDbId(request);
    await knownSession(id);
    await scheduler.complete(id);
    response.json({ success: true });
  });

  router.delete('/:id', async (request, response) => {
    const id = sessionDbId(request);
    await knownSession(id);
    const purged = await scheduler.abort(id);
    await store.markSessionCompleted(id);
    events.completed(id);
    response.json({ status: 'deleted', purged });
  });

  return router;
}

module.exports = { sessionRoutes };
