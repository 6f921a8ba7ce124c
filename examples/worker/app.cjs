'use strict';
// The HTTP surface: who may ask, how bodies are read, which area answers, how errors are told.
const path = require('node:path');
const express = require('express');
const { hostCheck, securityHeaders } = require('./host-check.cjs');
const { messageBodies } = require('./message-body.cjs');
const { answerError, NotFound } = require('./http-errors.cjs');
const { sessionRoutes } = require('./routes/sessions.cjs');
const { listRoutes } = require('./routes/lists.cjs');
const { stateRoutes } = require('./routes/state.cjs');
const { settingsRoutes } = require('./routes/settings.cjs');
const { searchRoutes } = require('./routes/search.cjs');
const { contextRoutes } = require('./routes/context.cjs');

/** The largest request body, in bytes. */
const MAX_BODY_BYTES = 50 * 1024 * 1024;

/** Makes the express application from the parts of a worker. */
function createApp(parts) {
  const app = express();
  app.disable('x-powered-by');
  app.use(hostCheck(parts.getPort), securityHeaders);
  app.use(messageBodies(parts.memory.queue, MAX_BODY_BYTES));
  app.use(express.json({ limit: MAX_BODY_BYTES, strict: false }));
  app.use(stateRoutes(parts));
  app.use('/sessions', sessionRoutes(parts));
  app.use('/api/search', searchRoutes(parts));
  app.use('/api', listRoutes(parts), settingsRoutes(parts), contextRoutes(parts));
  app.use(
    express.static(path.join(__dirname, 'page'), {
      setHeaders: (response) => response.setHeader('Cache-Control', 'no-cache'),
    }),
  );
  app.use((request) => {
    throw new NotFound(`There is no route ${request.method} ${request.path}.`);
  });
  app.use(answerError(parts.log));
  return app;
}

module.exports = { createApp, MAX_BODY_BYTES };
