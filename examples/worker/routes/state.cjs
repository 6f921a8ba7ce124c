'use strict';
// How the worker is doing: health, what it is working on, the stream of events, the figures of the last hour.
const express = require('express');

/** GET /health, /stream, /api/processing-status, /api/metrics/history · POST /api/processing. */
function stateRoutes({ memory, scheduler, stream, events, history, eventLoopDelay }) {
  const router = express.Router();

  router.get('/health', async (_request, response) => {
    const health = await memory.health();
    response.json({ ...health, eventLoopDelayMs: eventLoopDelay.read(), agents: scheduler.status() });
  });

  router.get('/stream', async (_request, response) => {
    stream.add(response);
    await events.welcome();
  });

  router.get('/api/processing-status', (_request, response) => {
    response.json(events.processing());
  });

  // 6.0.2's hooks push the state to the viewers this way; the state itself is read from the queue.
  router.post('/api/processing', (_request, response) => {
    stream.send('processing_status', events.processing());
    response.json({ status: 'ok', isProcessing: memory.queue.isBusy() });
  });

  router.get('/api/metrics/history', (_request, response) => {
    response.json(history.read());
  });

  return router;
}

module.exports = { stateRoutes };
