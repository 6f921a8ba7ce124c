'use strict';
// What a request answers when it cannot be served: always {error}, with `code` where the engine gave one.

/** Bad input: answered with 400 and this message. */
class BadRequest extends Error {
  constructor(message) {
    super(message);
    this.status = 400;
  }
}

/** Something that is not there: answered with 404 and this message. */
class NotFound extends Error {
  constructor(message) {
    super(message);
    this.status = 404;
  }
}

const STATUS_BY_ENGINE_CODE = {
  ERR_INVALID_ARG: 400,
  ERR_NOT_FOUND: 404,
  ERR_QUEUE_FULL: 429,
  ERR_BUSY: 503,
  ERR_LOCKED: 503,
  ERR_DISPOSED: 503,
};

const BODY_MESSAGES = {
  'entity.too.large': (error) => `The request body is larger than the limit of ${error.limit} bytes (50 MB).`,
  'entity.parse.failed': (error) => `The request body is not valid JSON: ${error.message}.`,
  'encoding.unsupported': (error) => `The request body has an unsupported encoding: ${error.message}.`,
  'charset.unsupported': (error) => `The request body has an unsupported charset: ${error.message}.`,
};

/** The HTTP status that an error stands for; 500 for whatever nobody foresaw. */
function statusOf(error) {
  if (STATUS_BY_ENGINE_CODE[error?.code]) return STATUS_BY_ENGINE_CODE[error.code];
  const status = error?.status;
  return Number.isInteger(status) && status >= 400 && status < 600 ? status : 500;
}

/** The JSON body that an error is answered with. */
function bodyOf(error) {
  const describe = BODY_MESSAGES[error?.type];
  const message = describe ? describe(error) : error?.message || String(error);
  const body = { error: message };
  if (typeof error?.code === 'string' && error.code.startsWith('ERR_')) body.code = error.code;
  return body;
}

/** Express error middleware: the one place where an error becomes an answer. */
function answerError(log) {
  // Express knows an error handler by its four parameters.
  return (error, request, response, _next) => {
    if (error?.type === 'request.aborted' || response.destroyed) return;
    const status = statusOf(error);
    if (status === 500) log(`${request.method} ${request.path} failed: ${error?.stack || error}`);
    if (response.headersSent) {
      response.destroy();
      return;
    }
    if (status === 429 || status === 503) response.setHeader('Retry-After', '1');
    response.status(status).json(bodyOf(error));
  };
}

module.exports = { BadRequest, NotFound, answerError, statusOf, bodyOf };
