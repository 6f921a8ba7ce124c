'use strict';
// One queued message as a tool call: its name, its input as an object and its response as text. Hooks send input and
// response as JSON text; what is not JSON is taken as it stands.

const { beginning } = require('./message-reader.cjs');

// Rules look at the beginning of very large texts only: reading all of 50 MB would hold up every request meanwhile.
const MAX_PARSED_CHARS = 1024 * 1024;
const MAX_LOOKED_AT_CHARS = 256 * 1024;
const MAX_LINES = 5_000;
const MAX_LINE_CHARS = 400;

/** Reads JSON text; anything else comes back unchanged. */
function parseJsonText(value) {
  if (typeof value !== 'string') return value;
  if (value.length > MAX_PARSED_CHARS) return beginningOf(value);
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

/** The short fields of an object, or else the text, as far as the beginning of a very large JSON text tells. */
function beginningOf(json) {
  const start = json.slice(0, MAX_LOOKED_AT_CHARS).replace(/\\+(?:u[\da-f]{0,3})?$/i, ''); // an escape that was cut
  if (!start.startsWith('{')) return start.replaceAll('\\n', '\n');
  const fields = start.matchAll(/"(\w+)"\s*:\s*"((?:[^"\\]|\\.)*)("|$)/g);
  return Object.fromEntries(Array.from(fields, ([, key, text]) => [key, unescaped(text)]));
}

function unescaped(text) {
  try {
    return JSON.parse(`"${text}"`);
  } catch {
    return text;
  }
}

/**
 * Text as far as rules look at it: not all of a very large one, and of each line only the beginning, because the time
 * that a pattern takes can grow with the square of a line's length.
 */
function lookedAt(text) {
  const start = text.length > MAX_LOOKED_AT_CHARS ? text.slice(0, MAX_LOOKED_AT_CHARS) : text;
  return start
    .split('\n', MAX_LINES)
    .map((line) => (line.length > MAX_LINE_CHARS ? line.slice(0, MAX_LINE_CHARS) : line))
    .join('\n');
}

const TEXT_KEYS = ['stdout', 'stderr', 'content', 'output', 'text', 'result', 'error', 'message', 'filenames', 'file'];

/** The readable text in a tool's response, whatever its shape. */
function textOf(response, depth = 0) {
  if (response === null || response === undefined || depth > 4) return '';
  if (typeof response === 'string') return response;
  if (typeof response === 'number' || typeof response === 'boolean') return String(response);
  if (Array.isArray(response))
    return response
      .map((entry) => textOf(entry, depth + 1))
      .filter(Boolean)
      .join('\n');
  return TEXT_KEYS.map((key) => textOf(response[key], depth + 1))
    .filter(Boolean)
    .join('\n');
}

function failed(response) {
  if (response === null || typeof response !== 'object') return false;
  const exitCode = response.exitCode ?? response.exit_code ?? response.code;
  return response.is_error === true || response.interrupted === true || (Number.isInteger(exitCode) && exitCode !== 0);
}

function asObject(value) {
  return value !== null && typeof value === 'object' && !Array.isArray(value) ? value : {};
}

/** A path as it is shown: relative to the working directory where it lies below it. */
function shownPath(file, cwd) {
  if (typeof file !== 'string' || file === '') return null;
  const path = file.replaceAll('\\', '/');
  const base = typeof cwd === 'string' && cwd !== '' ? `${cwd.replaceAll('\\', '/').replace(/\/+$/, '')}/` : null;
  return base !== null && path.startsWith(base) && path.length > base.length ? path.slice(base.length) : path;
}

/**
 * @returns {{tool: string, input: object, response: unknown, responseText: string, failed: boolean, file: string|null}}
 * `file` is the one path that the call is about, as it is shown.
 */
function readToolCall(message, readText = beginning) {
  // One character more tells that there is more.
  const read = (field) => parseJsonText(readText(message, field, MAX_PARSED_CHARS + 1));
  const input = asObject(read('tool_input'));
  const response = read('tool_response');
  return {
    tool: String(message.tool_name ?? ''),
    input,
    response,
    responseText: lookedAt(textOf(response)),
    failed: failed(response),
    file: shownPath(input.file_path ?? input.notebook_path ?? asObject(response).filePath ?? input.path, message.cwd),
    cwd: message.cwd,
  };
}

module.exports = { readToolCall, parseJsonText, lookedAt, MAX_LOOKED_AT_CHARS, textOf, shownPath };
