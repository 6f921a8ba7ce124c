'use strict';
// Values of a request as the routes need them. Query values are text: they are converted and checked here.
const { BadRequest } = require('./http-errors.cjs');

function single(value, name) {
  if (Array.isArray(value)) throw new BadRequest(`"${name}" was given ${value.length} times; give it once.`);
  return value;
}

/** A whole number between `min` and `max`; `clamp` lowers a larger one to `max` instead of refusing it. */
function integer(value, name, { min = 0, max = Number.MAX_SAFE_INTEGER, fallback, clamp = false } = {}) {
  const given = single(value, name);
  if (given === undefined || given === null || given === '') return fallback;
  const isWhole = typeof given === 'number' ? Number.isSafeInteger(given) : /^-?\d{1,15}$/.test(String(given).trim());
  const number = Number(given);
  if (!isWhole || number < min || (number > max && !clamp)) {
    throw new BadRequest(`"${name}" is ${JSON.stringify(given)}; it must be a whole number from ${min} to ${max}.`);
  }
  return Math.min(number, max);
}

/** Text that is not empty, or undefined where it is absent. */
function text(value, name) {
  const given = single(value, name);
  if (given === undefined || given === null || given === '') return undefined;
  if (typeof given !== 'string') throw new BadRequest(`"${name}" must be text, not ${typeof given}.`);
  return given;
}

/** Text that must be there. */
function requiredText(value, name) {
  const given = text(value, name);
  if (given === undefined || given.trim() === '') throw new BadRequest(`"${name}" is missing.`);
  return given;
}

/** One of a few words. */
function oneOf(value, name, allowed, fallback) {
  const given = text(value, name);
  if (given === undefined) return fallback;
  if (!allowed.includes(given)) {
    throw new BadRequest(`"${name}" is ${JSON.stringify(given)}; it must be one of ${allowed.join(', ')}.`);
  }
  return given;
}

/** A list given as repeated values or as one text with commas; undefined where it is empty. */
function list(value, name) {
  if (value === undefined || value === null) return undefined;
  const parts = (Array.isArray(value) ? value : [value]).flatMap((part) => {
    if (typeof part !== 'string') throw new BadRequest(`"${name}" must be text or a list of texts.`);
    return part.split(',');
  });
  const given = parts.map((part) => part.trim()).filter(Boolean);
  return given.length > 0 ? given : undefined;
}

function moment(value, name) {
  if (value === undefined || value === null || value === '') return undefined;
  if (/^-?\d+$/.test(String(value))) return Number(value);
  if (typeof value === 'string' && !Number.isNaN(Date.parse(value))) return value;
  throw new BadRequest(`"${name}" is ${JSON.stringify(value)}; it must be an ISO date or a time in milliseconds.`);
}

/** `dateRange` as JSON text {"start","end"}, or as `dateRange[start]` and `dateRange[end]`. */
function dateRange(query) {
  let range = { start: query['dateRange[start]'] ?? query.dateStart, end: query['dateRange[end]'] ?? query.dateEnd };
  const given = text(query.dateRange, 'dateRange');
  if (given !== undefined) {
    try {
      range = JSON.parse(given);
    } catch {
      range = null;
    }
    if (range === null || typeof range !== 'object' || Array.isArray(range)) {
      throw new BadRequest('"dateRange" must be JSON such as {"start":"2025-01-01","end":"2025-12-31"}.');
    }
  }
  const start = moment(range.start, 'dateRange.start');
  const end = moment(range.end, 'dateRange.end');
  if (start === undefined && end === undefined) return undefined;
  return { ...(start === undefined ? {} : { start }), ...(end === undefined ? {} : { end }) };
}

/** The session id in a path. */
function sessionDbId(request) {
  const given = request.params.id;
  if (!/^\d{1,15}$/.test(given) || Number(given) < 1) {
    throw new BadRequest(`Session id ${JSON.stringify(given)} is not a number.`);
  }
  return Number(given);
}

/** The JSON object of a POST; an absent body counts as empty where `optional`. */
function jsonBody(request, { optional = false } = {}) {
  const body = request.body;
  if (body === undefined && optional && !hasBody(request)) return {};
  if (body === undefined) {
    throw new BadRequest('A JSON body is needed, with the header "Content-Type: application/json".');
  }
  if (body === null || typeof body !== 'object' || Array.isArray(body)) {
    throw new BadRequest('The request body must be a JSON object.');
  }
  return body;
}

/** Whether a request says that it has a body. */
function hasBody(request) {
  return request.headers['transfer-encoding'] !== undefined || Number(request.headers['content-length'] || 0) > 0;
}

/** `value` without the keys whose value is undefined. */
function withoutUndefined(value) {
  return Object.fromEntries(Object.entries(value).filter(([, entry]) => entry !== undefined));
}

module.exports = {
  integer,
  text,
  requiredText,
  oneOf,
  list,
  dateRange,
  sessionDbId,
  jsonBody,
  hasBody,
  withoutUndefined,
};
