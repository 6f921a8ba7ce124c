'use strict';
// What happened around one moment: the anchor is an observation (123), a session summary (S12) or a date.
const { BadRequest, NotFound } = require('./http-errors.cjs');
const { oneLine, when, plural, KINDS } = require('./result-text.cjs');

/** @returns {{anchor: object, observations, sessions, prompts}} the rows inside the window, oldest first */
async function timelineAround(store, anchor, { before, after, project }) {
  if (/^\d{1,15}$/.test(anchor)) {
    const id = Number(anchor);
    const observation = await store.getObservationById(id);
    if (observation === null) throw new NotFound(`There is no observation ${id}.`);
    const rows = await store.getTimelineAroundObservation(id, observation.created_at_epoch, before, after, project);
    return { anchor: { kind: 'observation', id, epoch: observation.created_at_epoch }, ...rows };
  }
  if (/^[sS]\d{1,15}$/.test(anchor)) {
    const id = Number(anchor.slice(1));
    const [summary] = await store.getSessionSummariesByIds([id]);
    if (summary === undefined) throw new NotFound(`There is no session summary ${id}.`);
    const rows = await store.getTimelineAroundTimestamp(summary.created_at_epoch, before, after, project);
    return { anchor: { kind: 'session', id, epoch: summary.created_at_epoch }, ...rows };
  }
  const epoch = Date.parse(anchor);
  if (Number.isNaN(epoch)) {
    throw new BadRequest(
      `"anchor" is ${JSON.stringify(anchor)}; it must be an observation id (123), a session summary (S12) or an ISO date.`,
    );
  }
  return {
    anchor: { kind: 'moment', epoch },
    ...(await store.getTimelineAroundTimestamp(epoch, before, after, project)),
  };
}

/** The timeline as text for a model, a heading for each day. */
function timelineText({ anchor, observations, sessions, prompts }) {
  const entries = [
    ...observations.map((row) => ({ kind: 'observation', row })),
    ...sessions.map((row) => ({ kind: 'session', row })),
    ...prompts.map((row) => ({ kind: 'prompt', row })),
  ].sort((a, b) => a.row.created_at_epoch - b.row.created_at_epoch);
  const moment = new Date(anchor.epoch).toISOString().slice(0, 16).replace('T', ' ');
  if (entries.length === 0) return `Nothing is stored around ${moment}.`;
  const lines = [
    `Timeline around ${moment}: ${plural(observations.length, 'observation')}, ${plural(sessions.length, 'session summary')}, ${plural(prompts.length, 'prompt')}.`,
  ];
  let day = '';
  for (const { kind, row } of entries) {
    const moment = when(row);
    if (moment.slice(0, 10) !== day) {
      day = moment.slice(0, 10);
      lines.push('', `### ${day}`);
    }
    const isAnchor = anchor.kind === kind && anchor.id === row.id;
    const reference = kind === 'session' ? `S${row.id}` : kind === 'prompt' ? `P${row.id}` : `#${row.id}`;
    lines.push(
      `- ${moment.slice(11)} ${reference} ${oneLine(KINDS[kind].title(row), 200)}${isAnchor ? ' ← anchor' : ''}`,
    );
  }
  return lines.join('\n');
}

module.exports = { timelineAround, timelineText };
