'use strict';
// The worker's queue on a synchronous SQLite library: a table beside the others in claude-mem.db, as a
// straightforward port has it. The library's differences are in `open(file)`, which answers a database with
// `exec`, `prepare` (`run`, `get`, `all`) and `close`.

const path = require('node:path');
const { prepare } = require('../data.cjs');

const TABLE = `CREATE TABLE IF NOT EXISTS bench_messages(
  id INTEGER PRIMARY KEY,
  session_id INTEGER NOT NULL,
  claude_session_id TEXT NOT NULL,
  type TEXT,
  prompt_number INTEGER,
  enqueued_at_epoch INTEGER NOT NULL,
  status TEXT NOT NULL DEFAULT 'pending',
  payload TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS bench_messages_session ON bench_messages(session_id)`;

const pragmas = (
  durability,
) => `PRAGMA journal_mode=WAL; PRAGMA synchronous=${durability === 'full' ? 'FULL' : 'NORMAL'};
  PRAGMA foreign_keys=ON; PRAGMA busy_timeout=5000; PRAGMA temp_store=MEMORY; PRAGMA cache_size=-8192`;

/** The statements that both ports use. */
function statements(db) {
  return {
    session: db.prepare(
      `INSERT INTO sdk_sessions(claude_session_id, sdk_session_id, project, user_prompt, started_at, started_at_epoch)
       VALUES (?, ?, 'bench', 'a prompt', ?, ?)`,
    ),
    insert: db.prepare(
      `INSERT INTO bench_messages(session_id, claude_session_id, type, prompt_number, enqueued_at_epoch, payload)
       VALUES (?, ?, ?, ?, ?, ?)`,
    ),
    pending: db.prepare(
      `SELECT id, payload FROM bench_messages WHERE session_id = ? AND status = 'pending' ORDER BY id LIMIT ?`,
    ),
    take: db.prepare(`UPDATE bench_messages SET status = 'processing' WHERE id = ?`),
    remove: db.prepare('DELETE FROM bench_messages WHERE id = ?'),
    observation: db.prepare(
      `INSERT INTO observations(sdk_session_id, project, type, title, subtitle, facts, narrative, concepts, files_read,
         files_modified, prompt_number, created_at, created_at_epoch) VALUES (?, 'bench', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
    ),
  };
}

/**
 * A queue. With `batched` each group of up to 256 enqueues, each claim and each commit is one transaction, and the
 * log is checkpointed at 4,000 pages; without, each statement commits by itself.
 */
async function openQueue(open, directory, { durability, batched }) {
  await prepare(directory);
  const db = open(path.join(directory, 'claude-mem.db'));
  db.exec(`${pragmas(durability)}; ${TABLE}`);
  if (batched) db.exec('PRAGMA wal_autocheckpoint=4000');
  const sql = statements(db);
  const names = new Map();
  let depth = 0;

  const transaction = (work) => {
    if (!batched) return work();
    db.exec('BEGIN IMMEDIATE');
    try {
      const result = work();
      db.exec('COMMIT');
      return result;
    } catch (error) {
      db.exec('ROLLBACK');
      throw error;
    }
  };
  const insert = (session, message) => {
    const { type, prompt_number: prompt } = message;
    sql.insert.run(session, names.get(session), type, prompt ?? null, Date.now(), JSON.stringify(message));
    depth += 1;
  };

  return {
    async createSession(name) {
      const id = Number(sql.session.run(name, name, new Date().toISOString(), Date.now()).lastInsertRowid);
      names.set(id, name);
      return id;
    },
    async enqueue(session, message) {
      insert(session, message);
    },
    async enqueueAll(sessions, messages) {
      for (let start = 0; start < messages.length; start += 256) {
        transaction(() => {
          for (let index = start; index < Math.min(start + 256, messages.length); index += 1)
            insert(sessions[index % sessions.length], messages[index]);
        });
      }
    },
    consumer: (session, most) => ({
      async next() {
        const rows = transaction(() => {
          const found = sql.pending.all(session, most);
          for (const { id } of found) sql.take.run(id);
          return found;
        });
        return { session, ids: rows.map(({ id }) => id), messages: rows.map(({ payload }) => JSON.parse(payload)) };
      },
      async commit(batch, observations) {
        transaction(() => {
          for (const one of observations) {
            const lists = [one.facts, one.narrative, one.concepts, one.files_read, one.files_modified];
            const texts = lists.map((value) => (typeof value === 'string' ? value : JSON.stringify(value)));
            const row = [names.get(session), one.type, one.title, one.subtitle, ...texts, 1];
            sql.observation.run(...row, new Date().toISOString(), Date.now());
          }
          for (const id of batch.ids) sql.remove.run(id);
        });
        depth -= batch.ids.length;
      },
      close: async () => {},
    }),
    depth: () => depth,
    settled: async () => {},
    close: async () => db.close(),
  };
}

module.exports = { openQueue, pragmas, statements };
