'use strict';
// Bodies of the two routes that take messages: kept as the bytes that came, so that nothing large is parsed or copied
// on the JavaScript heap. The engine checks them and picks the fields, on a thread of its own.
const express = require('express');
const { BadRequest } = require('./http-errors.cjs');
const { hasBody } = require('./request-values.cjs');

const MESSAGE_ROUTES = ['/sessions/:id/observations', '/sessions/:id/summarize'];

/** JSON in UTF-8; other charsets are decoded by the parser that all other routes have. */
function isUtf8Json(request) {
  const charset = /;\s*charset="?([^\s;"]+)/i.exec(request.headers['content-type'] ?? '')?.[1] ?? 'utf-8';
  return /^utf-?8$/i.test(charset) && Boolean(request.is('application/json'));
}

/** Reads these bodies, up to `limit` bytes; to be used before any other parser. */
function messageBodies(limit) {
  const read = express.raw({ type: isUtf8Json, limit });
  const router = express.Router();
  router.post(MESSAGE_ROUTES, read);
  return router;
}

/** The JSON text of a POST, as bytes; an absent body counts as an empty object where `optional`. */
function messageBody(request, { optional = false } = {}) {
  const body = request.body;
  if (Buffer.isBuffer(body)) return body;
  if (body !== undefined) return Buffer.from(JSON.stringify(body));
  if (optional && !hasBody(request)) return Buffer.from('{}');
  throw new BadRequest('A JSON body is needed, with the header "Content-Type: application/json".');
}

module.exports = { messageBodies, messageBody };
