'use strict';
// The reading methods, each with arguments that find something in the reference database.

/** `{label, target, method, args}` for each; `sample` holds ids that exist, as `sampleOf` finds them. */
function reads({ project, small, session, ids, summaries, prompts, observation, epoch }) {
  const store = (method, ...args) => ({ label: method, target: 'store', method, args });
  const pages = (method, label, ...args) => ({ label: `${method}, ${label}`, target: 'pages', method, args });
  return [
    store('getObservationById', observation),
    store('getObservationsByIds', ids),
    store('getRecentObservations', project),
    store('getAllRecentObservations'),
    store('getObservationsForSession', session.sdk_session_id),
    store('getFilesForSession', session.sdk_session_id),
    store('getSessionSummariesByIds', summaries),
    store('getRecentSummaries', project),
    store('getRecentSummariesWithSessionInfo', project),
    store('getAllRecentSummaries'),
    store('getSummaryForSession', session.sdk_session_id),
    store('getUserPromptsByIds', prompts),
    store('getAllRecentUserPrompts'),
    store('getUserPromptsBySession', session.claude_session_id),
    store('getLatestUserPrompt', session.claude_session_id),
    store('getSessionById', session.id),
    store('findActiveSDKSession', session.claude_session_id),
    store('findAnySDKSession', session.claude_session_id),
    store('getPromptCounter', session.id),
    store('getWorkerPort', session.id),
    store('getRecentSessionsWithStatus', project),
    store('getAllProjects'),
    store('getTimelineAroundObservation', observation, epoch, 10, 10, project),
    store('getTimelineAroundTimestamp', epoch, 10, 10, project),
    store('getContext', project),
    store('getStats'),
    store('findByConcept', 'how-it-works', { project, limit: 50 }),
    store('findByType', 'bugfix', { project, limit: 50 }),
    store('findByFile', 'src/', { project, limit: 50 }),
    pages('getObservations', 'a large project', 0, 20, project),
    pages('getObservations', 'a small project', 0, 20, small),
    pages('getSummaries', 'a large project', 0, 20, project),
    pages('getPrompts', 'a large project', 0, 20, project),
  ];
}

/** The full-text searches. */
function searches({ project }) {
  const store = (method, query, options) => ({
    label: `${method}, ${options.label}`,
    target: 'store',
    method,
    args: [query, options.given],
  });
  return [
    store('searchObservations', 'error', { label: 'a frequent word', given: { limit: 20 } }),
    store('searchObservations', 'access token', { label: 'a phrase, one project', given: { project, limit: 20 } }),
    store('searchObservations', 'error', { label: 'by date', given: { orderBy: 'date_desc', limit: 20 } }),
    store('searchSessions', 'error', { label: 'a frequent word', given: { limit: 20 } }),
    store('searchUserPrompts', 'error', { label: 'a frequent word', given: {} }),
  ];
}

/** Finds what the calls ask for, the same in each process: rows of a project in `store` and `pages`. */
async function sampleOf({ store, pages }, project, small) {
  const ids = (list) => list.items.map(({ id }) => id);
  const observations = ids(await pages.getObservations(0, 100, project));
  const middle = await store.getObservationById(observations[observations.length >> 1]);
  const { id } = await store.findAnySDKSession(middle.sdk_session_id);
  return {
    project,
    small,
    ids: observations,
    observation: middle.id,
    epoch: middle.created_at_epoch,
    session: await store.getSessionById(id),
    summaries: ids(await pages.getSummaries(0, 20, project)),
    prompts: ids(await pages.getPrompts(0, 50, project)),
  };
}

/** How many rows an answer has, to see that all drivers answer the same. */
function size(answer) {
  if (Array.isArray(answer)) return answer.length;
  if (answer === null || typeof answer !== 'object') return answer === null || answer === undefined ? 0 : 1;
  const lists = Object.values(answer).filter(Array.isArray);
  return lists.length === 0 ? 1 : lists.reduce((sum, list) => sum + list.length, 0);
}

module.exports = { reads, sampleOf, searches, size };
