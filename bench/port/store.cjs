'use strict';
// The reading methods on a synchronous SQLite library, with the SQL that claude-mem's worker would send: one
// statement a question, wide rows sorted by time.

const fs = require('node:fs');
const path = require('node:path');
const { pragmas } = require('./queue.cjs');

const SUMMARY = 'request, investigated, learned, completed, next_steps, files_read, files_edited, notes';
const NEWEST = 'ORDER BY created_at_epoch DESC LIMIT ?';

/** Opens the tables of a directory: `{store, pages}` with the methods of this module, answering at once. */
function openStore(open, directory) {
  const file = path.join(directory, 'claude-mem.db');
  const db = open(file);
  db.exec(pragmas('normal'));

  // Prepared once a text, as a careful port does.
  const prepared = new Map();
  const statement = (sql) => {
    let known = prepared.get(sql);
    if (!known) prepared.set(sql, (known = db.prepare(sql)));
    return known;
  };
  const all = (sql, ...values) => statement(sql).all(...values);
  const get = (sql, ...values) => statement(sql).get(...values) ?? null;
  const marks = (list) => list.map(() => '?').join(', ');

  /** Conditions of `findBy…` and of the searches on a table called `t`. */
  const filters = ({ project, type, concept, file: touched }, columns = ['files_read', 'files_modified']) => {
    const [tests, values] = [[], []];
    const add = (test, ...given) => (tests.push(test), values.push(...given));
    if (project) add('t.project = ?', project);
    if (type) add('t.type = ?', type);
    if (concept) add('EXISTS (SELECT 1 FROM json_each(t.concepts) WHERE value = ?)', concept);
    if (touched) {
      const holds = columns.map((column) => `EXISTS (SELECT 1 FROM json_each(t.${column}) WHERE value LIKE ?)`);
      add(`(${holds.join(' OR ')})`, ...columns.map(() => `%${touched}%`));
    }
    return { test: tests.length > 0 ? tests.join(' AND ') : '1', values };
  };
  const list = (table, given, columns) => {
    // Old rows hold text that is no JSON, and json_each throws at it.
    const { test, values } = filters(given, columns);
    const valid = table === 'observations' ? 'json_valid(coalesce(t.concepts, files_read, files_modified, 1)) AND' : '';
    return all(
      `SELECT * FROM ${table} AS t WHERE ${valid} ${test} ORDER BY t.created_at_epoch DESC LIMIT ?`,
      ...values,
      given.limit,
    );
  };
  const search = (table, key, query, { project, orderBy = 'relevance', limit = 50 } = {}) => {
    const order = orderBy === 'relevance' ? 'rank' : 't.created_at_epoch DESC';
    const values = [`"${query.replaceAll('"', '""')}"`, ...(project ? [project] : []), limit];
    const rows = all(
      `SELECT t.*, f.rank AS rank FROM ${table}_fts AS f JOIN ${table} AS t ON t.id = f.rowid
       WHERE ${table}_fts MATCH ? ${project ? 'AND t.project = ?' : ''} ORDER BY ${order} LIMIT ?`,
      ...values,
    );
    const ranks = rows.map(({ rank }) => rank);
    const [least, most] = [Math.min(...ranks), Math.max(...ranks)];
    for (const row of rows) row.score = 1 - (row.rank - least) / (most - least || 1);
    return rows;
  };
  const byIds = (sql, ids) => (ids.length === 0 ? [] : all(sql.replace('(…)', `(${marks(ids)})`), ...ids));
  const page = (columns, from, test, offset, limit, project) => {
    const values = project ? [project] : [];
    const items = all(
      `SELECT ${columns} FROM ${from} ${project ? `WHERE ${test} = ?` : ''} ORDER BY t.created_at_epoch DESC LIMIT ? OFFSET ?`,
      ...values,
      limit + 1,
      offset,
    );
    const hasMore = items.length > limit;
    if (hasMore) items.pop();
    return { items, hasMore, offset, limit };
  };
  const timeline = (first, last, project) => ({
    observations: all(
      `SELECT * FROM observations WHERE created_at_epoch >= ? AND created_at_epoch <= ? AND project = ? ORDER BY created_at_epoch`,
      first,
      last,
      project,
    ),
    sessions: all(
      `SELECT id, sdk_session_id, project, request, completed, next_steps, created_at, created_at_epoch FROM session_summaries
       WHERE created_at_epoch >= ? AND created_at_epoch <= ? AND project = ? ORDER BY created_at_epoch`,
      first,
      last,
      project,
    ),
    prompts: all(
      `SELECT p.id, p.claude_session_id, s.project, p.prompt_text AS prompt, p.created_at, p.created_at_epoch
       FROM user_prompts p JOIN sdk_sessions s ON s.claude_session_id = p.claude_session_id
       WHERE p.created_at_epoch >= ? AND p.created_at_epoch <= ? AND s.project = ? ORDER BY p.created_at_epoch`,
      first,
      last,
      project,
    ),
  });
  const paths = (rows, key) => [...new Set(rows.flatMap((row) => JSON.parse(row[key] ?? '[]')))];

  const store = {
    getObservationById: (id) => get('SELECT * FROM observations WHERE id = ?', id),
    getObservationsByIds: (ids) =>
      byIds('SELECT * FROM observations WHERE id IN (…) ORDER BY created_at_epoch DESC', ids),
    getRecentObservations: (project, limit = 20) =>
      all(`SELECT type, text, prompt_number, created_at FROM observations WHERE project = ? ${NEWEST}`, project, limit),
    getAllRecentObservations: (limit = 100) =>
      all(
        `SELECT id, type, title, subtitle, text, project, prompt_number, created_at, created_at_epoch FROM observations ${NEWEST}`,
        limit,
      ),
    getObservationsForSession: (session) =>
      all(
        'SELECT title, subtitle, type, prompt_number FROM observations WHERE sdk_session_id = ? ORDER BY created_at_epoch',
        session,
      ),
    getFilesForSession(session) {
      const rows = all('SELECT files_read, files_modified FROM observations WHERE sdk_session_id = ?', session);
      return { filesRead: paths(rows, 'files_read'), filesModified: paths(rows, 'files_modified') };
    },
    getSessionSummariesByIds: (ids) =>
      byIds('SELECT * FROM session_summaries WHERE id IN (…) ORDER BY created_at_epoch DESC', ids),
    getRecentSummaries: (project, limit = 10) =>
      all(
        `SELECT ${SUMMARY}, prompt_number, created_at FROM session_summaries WHERE project = ? ${NEWEST}`,
        project,
        limit,
      ),
    getRecentSummariesWithSessionInfo: (project, limit = 3) =>
      all(
        `SELECT sdk_session_id, request, learned, completed, next_steps, prompt_number, created_at FROM session_summaries
         WHERE project = ? ${NEWEST}`,
        project,
        limit,
      ),
    getAllRecentSummaries: (limit = 50) =>
      all(
        `SELECT id, ${SUMMARY}, project, prompt_number, created_at, created_at_epoch FROM session_summaries ${NEWEST}`,
        limit,
      ),
    getSummaryForSession: (session) =>
      get(
        `SELECT ${SUMMARY}, prompt_number, created_at FROM session_summaries WHERE sdk_session_id = ?
         ORDER BY created_at_epoch DESC LIMIT 1`,
        session,
      ),
    getUserPromptsByIds: (ids) =>
      byIds(
        `SELECT t.*, s.project, s.sdk_session_id FROM user_prompts t JOIN sdk_sessions s ON s.claude_session_id = t.claude_session_id
         WHERE t.id IN (…) ORDER BY t.created_at_epoch DESC`,
        ids,
      ),
    getAllRecentUserPrompts: (limit = 100) =>
      all(
        `SELECT t.id, t.claude_session_id, s.project, t.prompt_number, t.prompt_text, t.created_at, t.created_at_epoch
         FROM user_prompts t LEFT JOIN sdk_sessions s ON s.claude_session_id = t.claude_session_id
         ORDER BY t.created_at_epoch DESC LIMIT ?`,
        limit,
      ),
    getUserPromptsBySession: (session) =>
      all('SELECT * FROM user_prompts WHERE claude_session_id = ? ORDER BY prompt_number', session),
    getLatestUserPrompt: (session) =>
      get(
        `SELECT t.*, s.sdk_session_id, s.project FROM user_prompts t JOIN sdk_sessions s ON s.claude_session_id = t.claude_session_id
         WHERE t.claude_session_id = ? ORDER BY t.created_at_epoch DESC LIMIT 1`,
        session,
      ),
    getSessionById: (id) =>
      get('SELECT id, claude_session_id, sdk_session_id, project, user_prompt FROM sdk_sessions WHERE id = ?', id),
    findActiveSDKSession: (session) =>
      get(
        `SELECT id, sdk_session_id, project, worker_port FROM sdk_sessions WHERE claude_session_id = ? AND status = 'active'`,
        session,
      ),
    findAnySDKSession: (session) => get('SELECT id FROM sdk_sessions WHERE claude_session_id = ?', session),
    getPromptCounter: (id) => get('SELECT prompt_counter FROM sdk_sessions WHERE id = ?', id)?.prompt_counter ?? 0,
    getWorkerPort: (id) => get('SELECT worker_port FROM sdk_sessions WHERE id = ?', id)?.worker_port ?? null,
    getRecentSessionsWithStatus: (project, limit = 3) =>
      all(
        `SELECT * FROM (
           SELECT s.sdk_session_id, s.status, s.started_at, s.started_at_epoch, s.user_prompt,
             CASE WHEN sum.sdk_session_id IS NOT NULL THEN 1 ELSE 0 END AS has_summary
           FROM sdk_sessions s LEFT JOIN session_summaries sum ON s.sdk_session_id = sum.sdk_session_id
           WHERE s.project = ? AND s.sdk_session_id IS NOT NULL
           GROUP BY s.sdk_session_id ORDER BY s.started_at_epoch DESC LIMIT ?)
         ORDER BY started_at_epoch`,
        project,
        limit,
      ),
    getAllProjects: () =>
      all(`SELECT DISTINCT project FROM sdk_sessions WHERE project IS NOT NULL AND project != '' ORDER BY project`).map(
        ({ project }) => project,
      ),
    getTimelineAroundObservation(id, _epoch, before, after, project) {
      const earlier = all(
        'SELECT id, created_at_epoch FROM observations WHERE id <= ? AND project = ? ORDER BY id DESC LIMIT ?',
        id,
        project,
        before + 1,
      );
      const later = all(
        'SELECT id, created_at_epoch FROM observations WHERE id >= ? AND project = ? ORDER BY id LIMIT ?',
        id,
        project,
        after + 1,
      );
      return timeline(earlier.at(-1).created_at_epoch, later.at(-1).created_at_epoch, project);
    },
    getTimelineAroundTimestamp(epoch, before, after, project) {
      const earlier = all(
        'SELECT created_at_epoch FROM observations WHERE created_at_epoch <= ? AND project = ? ORDER BY created_at_epoch DESC LIMIT ?',
        epoch,
        project,
        before,
      );
      const later = all(
        'SELECT created_at_epoch FROM observations WHERE created_at_epoch >= ? AND project = ? ORDER BY created_at_epoch LIMIT ?',
        epoch,
        project,
        after + 1,
      );
      return timeline(earlier.at(-1).created_at_epoch, later.at(-1).created_at_epoch, project);
    },
    getContext: (project) => ({
      observations: all(`SELECT * FROM observations WHERE project = ? ${NEWEST}`, project, 50),
      summaries: all(`SELECT * FROM session_summaries WHERE project = ? ${NEWEST}`, project, 11),
    }),
    getStats: () => {
      const count = (table) => get(`SELECT count(*) AS count FROM ${table}`).count;
      const counts = { observations: count('observations'), sessions: count('sdk_sessions') };
      const more = { summaries: count('session_summaries'), prompts: count('user_prompts') };
      return { ...counts, ...more, path: file, size: fs.statSync(file).size };
    },
    searchObservations: (query, options) => search('observations', 'observations', query, options),
    searchSessions: (query, options) => search('session_summaries', 'session_summaries', query, options),
    searchUserPrompts: (query, options) => search('user_prompts', 'user_prompts', query, { limit: 20, ...options }),
    findByConcept: (concept, options) => list('observations', { ...options, concept }),
    findByType: (type, options) => list('observations', { ...options, type }),
    findByFile: (touched, options) => ({
      observations: list('observations', { ...options, file: touched }),
      sessions: list('session_summaries', { ...options, file: touched }, ['files_read', 'files_edited']),
    }),
  };
  const pages = {
    getObservations(offset, limit, project) {
      const columns = `id, sdk_session_id, project, type, title, subtitle, narrative, text, facts, concepts, files_read,
        files_modified, prompt_number, created_at, created_at_epoch`;
      const found = page(columns, 'observations AS t', 't.project', offset, limit, project);
      for (const item of found.items) {
        for (const key of ['files_read', 'files_modified']) {
          const marker = `/${item.project}/`;
          const short = (name) => {
            const at = name.indexOf(marker);
            return at < 0 ? name : name.slice(at + marker.length);
          };
          try {
            if (item[key]) item[key] = JSON.stringify(JSON.parse(item[key]).map(short));
          } catch {
            // left as it is
          }
        }
      }
      return found;
    },
    getSummaries: (offset, limit, project) =>
      page(
        `t.id, s.claude_session_id AS session_id, t.request, t.investigated, t.learned, t.completed, t.next_steps, t.project,
         t.created_at, t.created_at_epoch`,
        'session_summaries AS t LEFT JOIN sdk_sessions AS s ON s.sdk_session_id = t.sdk_session_id',
        't.project',
        offset,
        limit,
        project,
      ),
    getPrompts: (offset, limit, project) =>
      page(
        't.id, t.claude_session_id, s.project, t.prompt_number, t.prompt_text, t.created_at, t.created_at_epoch',
        'user_prompts AS t JOIN sdk_sessions AS s ON s.claude_session_id = t.claude_session_id',
        's.project',
        offset,
        limit,
        project,
      ),
  };
  return { store, pages, close: async () => db.close() };
}

module.exports = { openStore };
