'use strict';
// The summary at the end of a session, from the observations made in it and from the last words of both sides.
const { shorten } = require('./source-text.cjs');
const { lookedAt } = require('./tool-call.cjs');

const NEXT =
  /\b(?:next(?: step)?s?|todo|remain(?:s|ing)|left to do|follow[- ]?up|still (?:need|has|have)|should (?:also|then|now|be)|not yet|later)\b/i;
const LEARNED =
  /\b(?:because|turns out|root cause|the reason|caused by|learned|found (?:that|out)|due to|it seems|note that)\b/i;
const DONE =
  /\b(?:added|implemented|fixed|changed|updated|removed|created|refactored|renamed|moved|now (?:works|passes)|done|completed)\b/i;

function sentencesOf(value) {
  if (typeof value !== 'string') return [];
  const prose = lookedAt(value).replace(/```[\s\S]*?```/g, ' ');
  return prose
    .split(/\n+|(?<=[.!?])\s+/)
    .map((part) =>
      part
        .replace(/^[\s#>*+-]+|\*\*/g, '')
        .replace(/^\d+[.)]\s+/, '')
        .trim(),
    )
    .filter((part) => part.length > 8);
}

function joined(parts, limit = 5) {
  const once = [...new Set(parts.filter(Boolean))];
  if (once.length === 0) return null;
  const text = once
    .slice(0, limit)
    .map((part) => (/[.!?…]$/.test(part) ? part : `${part}.`))
    .join(' ');
  return once.length > limit ? `${text} (and ${once.length - limit} more)` : text;
}

/**
 * @param message the summarize message: last_user_message, last_assistant_message
 * @param observations those of the session, oldest first: {type, title, subtitle, facts?}
 * @param session {userPrompt}
 */
function summarizeSession(message, observations, { userPrompt, files }) {
  const said = sentencesOf(message.last_assistant_message);
  const titled = (types) => observations.filter((entry) => types.includes(entry.type)).map((entry) => entry.title);
  const troubles = observations.filter((entry) => /^(?:Tests fail|Command failed)/.test(entry.title ?? ''));
  const lastTestRun = observations.findLast((entry) => /^Tests (?:fail|pass)/.test(entry.title ?? ''));
  const next = said.filter((part) => NEXT.test(part));
  const openTrouble = lastTestRun?.title.startsWith('Tests fail') ? `Make the tests pass (${lastTestRun.title})` : null;
  const changed = files.modified.length;
  return {
    request: shorten(userPrompt || message.last_user_message || 'Not stated', 400),
    investigated: joined(titled(['discovery']), 6),
    learned: joined([
      ...said.filter((part) => LEARNED.test(part) && !NEXT.test(part)).map((part) => shorten(part, 300)),
      ...observations.filter((entry) => entry.type === 'decision').map((entry) => entry.subtitle),
      ...troubles.map((entry) => entry.title),
    ]),
    completed: joined(
      [
        ...titled(['feature', 'bugfix', 'refactor', 'change', 'decision']),
        ...(observations.length === 0 ? said.filter((part) => DONE.test(part)).map((part) => shorten(part, 300)) : []),
      ],
      8,
    ),
    next_steps: joined([openTrouble, ...next.map((part) => shorten(part, 300))]),
    notes:
      observations.length === 0
        ? null
        : `${observations.length} observation${observations.length === 1 ? '' : 's'}, ${changed} file${changed === 1 ? '' : 's'} modified, ${files.read.length} read.`,
  };
}

module.exports = { summarizeSession };
