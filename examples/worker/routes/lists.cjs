'use strict';
// Paged lists and counts for the viewer.
const express = require('express');
const { integer, text } = require('../request-values.cjs');

const SHOWN_SESSIONS = 40;
const SHOWN_PROMPT_CHARS = 300;

/** GET /api/observations, /api/summaries, /api/prompts, /api/stats, /api/sessions. */
function listRoutes({ memory, stream, getPort, version, startedAt }) {
  const { pages, queue, sessions, store } = memory;
  const router = express.Router();

  const page = (read) => async (request, response) => {
    const offset = integer(request.query.offset, 'offset', { fallback: 0 });
    const limit = integer(request.query.limit, 'limit', { min: 1, max: 100, fallback: 20, clamp: true });
    response.json(await read(offset, limit, text(request.query.project, 'project')));
  };
  router.get(
    '/observations',
    page((...args) => pages.getObservations(...args)),
  );
  router.get(
    '/summaries',
    page((...args) => pages.getSummaries(...args)),
  );
  router.get(
    '/prompts',
    page((...args) => pages.getPrompts(...args)),
  );

  router.get('/stats', async (_request, response) => {
    const { path, size, observations, sessions: stored, summaries } = await store.getStats();
    response.json({
      worker: {
        version,
        uptime: Math.floor((Date.now() - startedAt) / 1000),
        activeSessions: sessions.count(),
        sseClients: stream.size,
        port: getPort(),
      },
      database: { path, size, observations, sessions: stored, summaries },
    });
  });

  // Ours: the sessions that the page lists, those with the most waiting first.
  router.get('/sessions', async (_request, response) => {
    const active = sessions.list().map((session) => ({ ...session, depth: queue.depth(session.sessionDbId) }));
    active.sort((a, b) => b.depth - a.depth || b.lastActiveEpoch - a.lastActiveEpoch);
    const shown = active
      .slice(0, SHOWN_SESSIONS)
      .map(async ({ sessionDbId, claudeSessionId, project, startTime, lastActiveEpoch, depth }) => ({
        sessionDbId,
        project,
        userPrompt:
          (await store.getLatestUserPrompt(claudeSessionId))?.prompt_text.slice(0, SHOWN_PROMPT_CHARS) ?? null,
        startTime,
        lastActiveEpoch,
        depth,
        isWorking: queue.hasConsumer(sessionDbId),
      }));
    response.json({ sessions: await Promise.all(shown), total: active.length });
  });

  return router;
}

module.exports = { listRoutes };
