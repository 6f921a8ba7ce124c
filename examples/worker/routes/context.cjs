'use strict';
// What happened lately, and what happened around a moment.
const express = require('express');
const { integer, text, requiredText, oneOf, withoutUndefined } = require('../request-values.cjs');
const { content, indexEntry, oneLine, plural, when } = require('../result-text.cjs');
const { timelineAround, timelineText } = require('../timeline.cjs');

const FORMATS = ['index', 'full', 'json'];

function windowOf(query) {
  const depth = (value, name) => integer(value, name, { max: 50, fallback: 10, clamp: true });
  return {
    before: depth(query.depth_before ?? query.depthBefore, 'depth_before'),
    after: depth(query.depth_after ?? query.depthAfter, 'depth_after'),
    project: text(query.project, 'project'),
  };
}

/** The newest sessions of a project, each with its summary and its observations. */
async function recentSessions(store, project, limit) {
  const sessions = await store.getRecentSessionsWithStatus(project, limit);
  return Promise.all(
    sessions.map(async (session) => {
      if (session.sdk_session_id === null) return { ...session, summary: null, observations: [] };
      const [summary, observations] = await Promise.all([
        store.getSummaryForSession(session.sdk_session_id),
        store.getObservationsForSession(session.sdk_session_id),
      ]);
      return { ...session, summary, observations };
    }),
  );
}

function recentText(project, sessions) {
  if (sessions.length === 0) return `Project "${project}" has no sessions yet.`;
  const parts = sessions.map((session) => {
    const lines = [`## ${when({ created_at: session.started_at })} · ${session.status}`];
    const { summary } = session;
    if (summary) {
      for (const [label, value] of [
        ['Request', summary.request],
        ['Learned', summary.learned],
        ['Completed', summary.completed],
        ['Next steps', summary.next_steps],
      ]) {
        if (value) lines.push(`**${label}:** ${value}`);
      }
    } else if (session.user_prompt) {
      lines.push(`**Request:** ${oneLine(session.user_prompt, 300)}`);
    }
    if (session.observations.length > 0) {
      lines.push(`**${plural(session.observations.length, 'observation')}:**`);
      lines.push(
        ...session.observations.slice(-15).map((row) => `- [${row.type}] ${oneLine(row.title) || 'Untitled'}`),
      );
    }
    return lines.join('\n');
  });
  return [`# Recent sessions of ${project}`, ...parts].join('\n\n');
}

/** GET /api/context/recent, /api/context/timeline, /api/timeline/by-query. */
function contextRoutes({ memory, search }) {
  const { store } = memory;
  const router = express.Router();

  router.get('/context/recent', async (request, response) => {
    const { query } = request;
    const limit = integer(query.limit, 'limit', { min: 1, max: 50, fallback: 3, clamp: true });
    const format = oneOf(query.format, 'format', FORMATS, 'index');
    const project = text(query.project, 'project') ?? (await store.getAllRecentObservations(1))[0]?.project ?? '';
    const sessions = await recentSessions(store, project, limit);
    response.json(format === 'json' ? { project, sessions } : content(recentText(project, sessions)));
  });

  router.get('/context/timeline', async (request, response) => {
    const { query } = request;
    const format = oneOf(query.format, 'format', FORMATS, 'index');
    const timeline = await timelineAround(store, requiredText(query.anchor, 'anchor').trim(), windowOf(query));
    response.json(format === 'json' ? timeline : content(timelineText(timeline)));
  });

  router.get('/timeline/by-query', async (request, response) => {
    const { query } = request;
    const words = requiredText(query.query, 'query');
    const format = oneOf(query.format, 'format', FORMATS, 'index');
    const isInteractive = oneOf(query.mode, 'mode', ['auto', 'interactive'], 'auto') === 'interactive';
    const limit = integer(query.limit, 'limit', { min: 1, max: 20, fallback: 5, clamp: true });
    const window = windowOf(query);
    const { results: matches } = await search.observations(
      words,
      withoutUndefined({
        limit: isInteractive ? limit : 1,
        orderBy: 'relevance',
        project: window.project,
      }),
    );
    if (matches.length === 0) {
      response.json(
        format === 'json' ? { matches: [], timeline: null } : content(`Search for "${words}": nothing found.`),
      );
      return;
    }
    if (isInteractive) {
      const entries = matches.map((row, index) => indexEntry('observation', row, index + 1)).join('\n\n');
      response.json(
        format === 'json'
          ? { matches, timeline: null }
          : content(
              `Matches for "${words}"; ask /api/context/timeline?anchor=<id> for the one that matters.\n\n${entries}`,
            ),
      );
      return;
    }
    const timeline = await timelineAround(store, String(matches[0].id), window);
    response.json(format === 'json' ? { matches, timeline } : content(timelineText(timeline)));
  });

  return router;
}

module.exports = { contextRoutes };
