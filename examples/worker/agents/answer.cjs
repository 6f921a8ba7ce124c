'use strict';
// What an agent answered, checked and brought into the shape that is stored. A model may leave fields out or name a
// type of its own; what cannot be read at all is an error, so that the batch is offered again.

const TYPES = ['decision', 'bugfix', 'feature', 'refactor', 'discovery', 'change'];
const SUMMARY_FIELDS = ['request', 'investigated', 'learned', 'completed', 'next_steps', 'notes'];
const LISTS = ['facts', 'concepts', 'files_read', 'files_modified'];

function textOrNull(value, name) {
  if (value === undefined || value === null) return null;
  if (typeof value === 'string') return value;
  if (typeof value === 'number' || typeof value === 'boolean') return String(value);
  throw new TypeError(`The agent's answer has ${name} of type ${typeof value}; it must be text or null.`);
}

function texts(value, name) {
  if (value === undefined || value === null) return [];
  if (!Array.isArray(value)) throw new TypeError(`The agent's answer has ${name} that is not a list.`);
  return value.map((entry, index) => textOrNull(entry, `${name}[${index}]`)).filter((entry) => entry !== null);
}

function readObservation(given, index) {
  const name = `observations[${index}]`;
  if (given === null || typeof given !== 'object' || Array.isArray(given)) {
    throw new TypeError(`The agent's answer has ${name} that is not an object.`);
  }
  const observation = { type: TYPES.includes(given.type) ? given.type : 'change' };
  for (const field of ['title', 'subtitle', 'narrative'])
    observation[field] = textOrNull(given[field], `${name}.${field}`);
  for (const field of LISTS) observation[field] = texts(given[field], `${name}.${field}`);
  return observation;
}

function readSummary(given) {
  if (given === undefined || given === null) return null;
  if (typeof given !== 'object' || Array.isArray(given))
    throw new TypeError("The agent's answer has a summary that is not an object.");
  return Object.fromEntries(SUMMARY_FIELDS.map((field) => [field, textOrNull(given[field], `summary.${field}`)]));
}

/** @returns {{observations: object[], summary: object|null}} Throws TypeError where the answer cannot be read. */
function readAnswer(answer) {
  if (answer === null || typeof answer !== 'object' || Array.isArray(answer)) {
    throw new TypeError(
      `The agent must answer an object {observations, summary}, not ${answer === null ? 'null' : typeof answer}.`,
    );
  }
  const observations = answer.observations ?? [];
  if (!Array.isArray(observations)) throw new TypeError("The agent's answer has observations that are not a list.");
  return { observations: observations.map(readObservation), summary: readSummary(answer.summary) };
}

module.exports = { readAnswer, TYPES };
