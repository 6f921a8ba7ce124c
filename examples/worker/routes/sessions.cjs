'use strict';
// What the hooks call: start a session, hand in tool calls, ask for the summary, end it.
const express = require('express');
const { NotFound } = require('../http-errors.cjs');
const { integer, text, sessionDbId, jsonBody, withoutUndefined } = require('../request-values.cjs');

/** A hook sends input and response as JSON text; an object is taken for what it means. */
function jsonText(value) {
  return value === undefined || typeof value === 'string' ? value : JSON.stringify(value);
}

function promptNumber(body, name) {
  return integer(body[name], name, { min: 0, max: 1e9 });
}

/** A caller that may have to send again says so with a key of its own; the message is then queued once. */
function dedupeKey(request, body) {
  const key = text(body.dedupe_key ?? request.get('Idempotency-Key'), 'dedupe_key');
  return key === undefined ? {} : { dedupeKey: key };
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

  router.post('/:id/observations', async (request, response) => {
    const id = sessionDbId(request);
    const body = jsonBody(request);
    const message = withoutUndefined({
      type: 'observation',
      tool_name: text(body.tool_name, 'tool_name'),
      tool_input: jsonText(body.tool_input),
      tool_response: jsonText(body.tool_response),
      prompt_number: promptNumber(body, 'prompt_number'),
      cwd: text(body.cwd, 'cwd'),
    });
    // The promise resolves once the message is durable: only then does the hook hear that it was taken.
    const { duplicate } = await queue.enqueue(id, message, dedupeKey(request, body));
    if (duplicate === false) events.queued(id);
    response.json({ status: 'queued' });
  });

  router.post('/:id/summarize', async (request, response) => {
    const id = sessionDbId(request);
    const body = jsonBody(request, { optional: true });
    const message = withoutUndefined({
      type: 'summarize',
      last_user_message: text(body.last_user_message, 'last_user_message'),
      last_assistant_message: text(body.last_assistant_message, 'last_assistant_message'),
      prompt_number: promptNumber(body, 'prompt_number'),
    });
    const { duplicate } = await queue.enqueue(id, message, dedupeKey(request, body));
    if (duplicate === false) events.queued(id);
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
