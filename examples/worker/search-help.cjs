'use strict';
// What GET /api/search/help answers: the search routes, for a model that has to call them.

const FILTERS = {
  limit: 'rows to return, 1 to 100, default 20',
  offset: 'rows to skip, default 0',
  project: 'only this project',
  type: 'observations only: decision, bugfix, feature, refactor, discovery, change; several with commas',
  concepts: 'observations only: several with commas, any matches',
  files: 'part of a path that was read or changed; several with commas, any matches',
  dateRange: 'JSON {"start","end"}, ISO dates or milliseconds',
  orderBy: 'relevance (default), date_desc, date_asc',
  format: 'index (default: numbered list), full (whole texts), json (rows)',
};
const { type: _type, concepts: _concepts, ...COMMON } = FILTERS;
const MODE = 'hybrid (default: by words and by meaning), semantic, keyword';
const RANK_BY = 'a text to rank the list by; default: newest first';

const HELP = {
  title: 'Claude-Mem search',
  description: 'Start with format=index, then read the few that matter with format=full or with /api/context/timeline.',
  endpoints: [
    {
      method: 'GET',
      path: '/api/search/observations',
      description: 'Observations that fit a query, by words and by meaning',
      parameters: { query: 'required', mode: MODE, ...FILTERS },
    },
    {
      method: 'GET',
      path: '/api/search/sessions',
      description: 'Session summaries that fit a query',
      parameters: { query: 'required', mode: MODE, ...COMMON },
    },
    {
      method: 'GET',
      path: '/api/search/prompts',
      description: 'Prompts that fit a query',
      parameters: { query: 'required', mode: MODE, ...COMMON },
    },
    {
      method: 'GET',
      path: '/api/search/by-concept',
      description: 'Observations that carry a concept',
      parameters: { concept: 'required', rankBy: RANK_BY, ...COMMON },
    },
    {
      method: 'GET',
      path: '/api/search/by-type',
      description: 'Observations of a type',
      parameters: { type: 'required', rankBy: RANK_BY, ...COMMON },
    },
    {
      method: 'GET',
      path: '/api/search/by-file',
      description: 'Observations and sessions that touched a file',
      parameters: { filePath: 'required', rankBy: RANK_BY, ...COMMON },
    },
    {
      method: 'GET',
      path: '/api/context/recent',
      description: 'The newest sessions of a project',
      parameters: {
        project: 'default: the project of the newest observation',
        limit: '1 to 50, default 3',
        format: 'index or json',
      },
    },
    {
      method: 'GET',
      path: '/api/context/timeline',
      description: 'What happened around a moment',
      parameters: {
        anchor: 'required: observation id (123), session summary (S12) or ISO date',
        depth_before: '0 to 50, default 10',
        depth_after: '0 to 50, default 10',
        project: 'only this project',
        format: 'index or json',
      },
    },
    {
      method: 'GET',
      path: '/api/timeline/by-query',
      description: 'The timeline around the best match',
      parameters: {
        query: 'required',
        mode: 'auto (default) or interactive: choose among the best matches',
        limit: 'matches for mode=interactive, 1 to 20, default 5',
        depth_before: '0 to 50, default 10',
        depth_after: '0 to 50, default 10',
        project: 'only this project',
        format: 'index or json',
      },
    },
    { method: 'GET', path: '/api/search/help', description: 'This text', parameters: {} },
  ],
  examples: [
    '/api/search/observations?query=token%20refresh&type=bugfix&limit=5',
    '/api/search/by-file?filePath=src/auth/token.ts&format=full&limit=3',
    '/api/context/timeline?anchor=123&depth_before=5&depth_after=5',
  ],
};

module.exports = { HELP };
