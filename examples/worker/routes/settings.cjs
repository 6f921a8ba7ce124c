'use strict';
// The three settings that a viewer may see and change, and the switch of the search server for editors.
const express = require('express');
const { BadRequest } = require('../http-errors.cjs');
const { jsonBody } = require('../request-values.cjs');

/** GET, POST /api/settings · GET /api/mcp/status · POST /api/mcp/toggle. */
function settingsRoutes({ settings }) {
  const router = express.Router();

  router.get('/settings', async (_request, response) => {
    response.json(await settings.readShown());
  });

  router.post('/settings', async (request, response) => {
    const changes = jsonBody(request);
    if (Object.keys(changes).length === 0) throw new BadRequest('The request body names no setting.');
    await settings.writeShown(changes);
    response.json({ success: true, message: 'Settings saved. A new port or model is used after a restart.' });
  });

  router.get('/mcp/status', async (_request, response) => {
    response.json({ enabled: await settings.isMcpEnabled() });
  });

  router.post('/mcp/toggle', async (request, response) => {
    const { enabled } = jsonBody(request);
    if (typeof enabled !== 'boolean') throw new BadRequest('"enabled" must be true or false.');
    await settings.setMcpEnabled(enabled);
    response.json({ success: true, enabled });
  });

  return router;
}

module.exports = { settingsRoutes };
