'use strict';
// Search for models (text, as MCP content) and for programs (format=json).
const express = require('express');
const { BadRequest } = require('../http-errors.cjs');
const { integer, text, requiredText, oneOf, list, dateRange, withoutUndefined } = require('../request-values.cjs');
const { content, rowsText } = require('../result-text.cjs');
const { TYPES } = require('../agents/answer.cjs');
const { HELP } = require('../search-help.cjs');

const FORMATS = ['index', 'full', 'json'];
const ORDERS = ['relevance', 'date_desc', 'date_asc'];

function typesOf(value) {
  const types = list(value, 'type');
  for (const type of types ?? []) {
    if (!TYPES.includes(type))
      throw new BadRequest(`"type" is ${JSON.stringify(type)}; it must be one of ${TYPES.join(', ')}.`);
  }
  return types;
}

/** The options that all searches share, as the store takes them. */
function searchOptions(query, { orderBy = 'relevance' } = {}) {
  return withoutUndefined({
    limit: integer(query.limit, 'limit', { min: 1, max: 100, fallback: 20, clamp: true }),
    offset: integer(query.offset, 'offset', { fallback: 0 }),
    orderBy: oneOf(query.orderBy, 'orderBy', ORDERS, orderBy),
    project: text(query.project, 'project'),
    type: typesOf(query.type),
    concepts: list(query.concepts, 'concepts'),
    files: list(query.files, 'files'),
    dateRange: dateRange(query),
  });
}

/** Those of lists, which are newest first unless `rankBy` gives a text to rank them by. */
function listOptions(query) {
  const rankBy = text(query.rankBy, 'rankBy');
  const options = searchOptions(query, { orderBy: rankBy === undefined ? 'date_desc' : 'relevance' });
  return withoutUndefined({ ...options, rankBy });
}

/** GET /api/search/… */
function searchRoutes({ search }) {
  const router = express.Router();

  const byText = (kind, find) => async (request, response) => {
    const { query } = request;
    const words = requiredText(query.query, 'query');
    const format = oneOf(query.format, 'format', FORMATS, 'index');
    const mode = oneOf(query.mode, 'mode', search.modes, search.modes[0]);
    const { results: rows, mode: used } = await find(words, { ...searchOptions(query), mode });
    // The rows stay a plain list, as programs have always got them.
    response.set('Search-Mode', used);
    response.json(
      format === 'json' ? rows : content(rowsText(kind, rows, { heading: `Search for "${words}"`, format })),
    );
  };
  router.get(
    '/observations',
    byText('observation', (...args) => search.observations(...args)),
  );
  router.get(
    '/sessions',
    byText('session', (...args) => search.sessions(...args)),
  );
  router.get(
    '/prompts',
    byText('prompt', (...args) => search.prompts(...args)),
  );

  router.get('/by-concept', async (request, response) => {
    const { query } = request;
    const concept = requiredText(query.concept, 'concept');
    const format = oneOf(query.format, 'format', FORMATS, 'index');
    const { concepts: _, ...options } = listOptions(query);
    const rows = await search.byConcept(concept, options);
    response.json(
      format === 'json' ? rows : content(rowsText('observation', rows, { heading: `Concept "${concept}"`, format })),
    );
  });

  router.get('/by-type', async (request, response) => {
    const { query } = request;
    requiredText(Array.isArray(query.type) ? query.type[0] : query.type, 'type');
    const format = oneOf(query.format, 'format', FORMATS, 'index');
    const { type: types, ...options } = listOptions(query);
    if (types === undefined) throw new BadRequest('"type" is missing.');
    const rows = await search.byType(types, options);
    response.json(
      format === 'json'
        ? rows
        : content(rowsText('observation', rows, { heading: `Type ${types.join(', ')}`, format })),
    );
  });

  router.get('/by-file', async (request, response) => {
    const { query } = request;
    const file = requiredText(query.filePath ?? query.file ?? query.path, 'filePath');
    const format = oneOf(query.format, 'format', FORMATS, 'index');
    const { files: _, ...options } = listOptions(query);
    const found = await search.byFile(file, options);
    if (format === 'json') {
      response.json(found);
      return;
    }
    const parts = [rowsText('observation', found.observations, { heading: `File "${file}"`, format })];
    if (found.sessions.length > 0)
      parts.push(rowsText('session', found.sessions, { heading: `Sessions with "${file}"`, format }));
    response.json(content(parts.join('\n\n')));
  });

  router.get('/help', (_request, response) => {
    response.json({ ...HELP, modes: search.modes });
  });

  return router;
}

module.exports = { searchRoutes };
