'use strict';
// Bodies of the two routes that take messages: handed to the engine piece by piece, as they come, so that nothing large
// is gathered, copied or parsed on the JavaScript thread. The engine checks them and picks the fields.
const express = require('express');
const { BadRequest } = require('./http-errors.cjs');
const { hasBody, sessionDbId } = require('./request-values.cjs');

const MESSAGE_ROUTES = ['/sessions/:id/observations', '/sessions/:id/summarize'];

/** JSON in UTF-8; other charsets are decoded by the parser that all other routes have. */
function isUtf8Json(request) {
  const charset = /;\s*charset="?([^\s;"]+)/i.exec(request.headers['content-type'] ?? '')?.[1] ?? 'utf-8';
  return /^utf-?8$/i.test(charset) && Boolean(request.is('application/json'));
}

const isCompressed = (request) => (request.headers['content-encoding'] ?? 'identity').toLowerCase() !== 'identity';

/** How long the rest of a body that is too large is read and dropped before it is refused, ms. */
const DRAIN_MS = 2_000;

/**
 * Reads and drops what still comes: a connection that is closed while its client writes is reset, and the client sees
 * that instead of the answer.
 */
function drain(request) {
  if (request.destroyed || request.complete) return Promise.resolve();
  return new Promise((resolve) => {
    const done = () => {
      clearTimeout(timer);
      request.off('end', done);
      request.off('close', done);
      resolve();
    };
    const timer = setTimeout(done, DRAIN_MS);
    request.once('end', done);
    request.once('close', done);
    request.resume();
  });
}

/** Appends what comes to `message`; rejects where it is more than `limit` bytes, or ends early. */
function gather(request, message, limit) {
  const tooLarge = () =>
    Object.assign(new Error('request entity too large'), { type: 'entity.too.large', status: 413, limit });
  return new Promise((resolve, reject) => {
    if (Number(request.headers['content-length'] ?? 0) > limit) {
      drain(request).then(() => reject(tooLarge()));
      return;
    }
    let bytes = 0;
    const fail = (error) => {
      request.off('data', take);
      drain(request).then(() => reject(error));
    };
    const take = (piece) => {
      bytes += piece.length;
      try {
        if (bytes > limit) throw tooLarge();
        message.append(piece);
      } catch (error) {
        fail(error);
      }
    };
    request.on('data', take);
    request.once('end', resolve);
    // The client has gone in the middle: nobody is left to be answered.
    const gone = () => fail(Object.assign(new Error('request aborted'), { type: 'request.aborted', status: 400 }));
    request.once('error', gone);
    request.once('close', () => request.complete || gone());
  });
}

/** Reads these bodies, up to `limit` bytes; to be used before any other parser. */
function messageBodies(queue, limit) {
  const inflate = express.raw({ type: isUtf8Json, limit });
  const router = express.Router();
  router.post(MESSAGE_ROUTES, async (request, response, next) => {
    if (!hasBody(request) || !isUtf8Json(request)) return next();
    if (isCompressed(request)) return inflate(request, response, next);
    const message = queue.raw(sessionDbId(request));
    try {
      await gather(request, message, limit);
    } catch (error) {
      message.dispose();
      throw error;
    }
    request.body = message;
    return next();
  });
  return router;
}

/** Enqueues the body of a request; an absent one counts as an empty object where `optional`. */
function enqueueBody(queue, request, id, options, { optional = false } = {}) {
  const body = request.body;
  if (typeof body?.append === 'function' && typeof body.enqueue === 'function') return body.enqueue(options);
  if (body === undefined && !(optional && !hasBody(request))) {
    throw new BadRequest('A JSON body is needed, with the header "Content-Type: application/json".');
  }
  const bytes = Buffer.isBuffer(body) ? body : Buffer.from(JSON.stringify(body ?? (body === null ? null : {})));
  return queue.enqueueRaw(id, bytes, options);
}

module.exports = { messageBodies, enqueueBody };
