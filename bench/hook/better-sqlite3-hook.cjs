'use strict';
// What examples/hooks/hook.cjs does for a tool call while no worker runs, as a straightforward port on better-sqlite3
// would: `node better-sqlite3-hook.cjs tool` with the same event on standard input.

const fs = require('node:fs');
const path = require('node:path');

const { requirePeer } = require('../peers.cjs');
const { readEvent } = require('../../examples/hooks/events.cjs');
const { WorkerApi } = require('../../examples/hooks/worker-api.cjs');

const Database = requirePeer('better-sqlite3');

function open(file) {
  const db = new Database(file);
  db.pragma('journal_mode = WAL');
  db.pragma('synchronous = NORMAL');
  db.pragma('foreign_keys = ON');
  db.pragma('busy_timeout = 5000');
  return db;
}

async function main() {
  const { session, message, key } = readEvent(process.argv[2], JSON.parse(fs.readFileSync(0, 'utf8')));
  const directory = process.env.CLAUDE_MEM_DATA_DIR;
  const main = open(path.join(directory, 'claude-mem.db'));
  const now = new Date();
  main
    .prepare(
      `INSERT OR IGNORE INTO sdk_sessions
         (claude_session_id, sdk_session_id, project, user_prompt, started_at, started_at_epoch, status)
       VALUES (?, ?, '', '', ?, ?, 'active')`,
    )
    .run(session, session, now.toISOString(), now.getTime());
  const row = main.prepare('SELECT id, prompt_counter FROM sdk_sessions WHERE claude_session_id = ?').get(session);
  if (!(await new WorkerApi().isUp())) {
    const queue = open(path.join(directory, 'queue.db'));
    queue.exec(
      `CREATE TABLE IF NOT EXISTS messages(
         id INTEGER PRIMARY KEY, session_id INTEGER NOT NULL, key TEXT, payload TEXT NOT NULL, UNIQUE(session_id, key))`,
    );
    queue
      .prepare('INSERT OR IGNORE INTO messages(session_id, key, payload) VALUES (?, ?, ?)')
      .run(row.id, key, JSON.stringify({ ...message, prompt_number: row.prompt_counter }));
    queue.close();
  }
  main.close();
}

main();
