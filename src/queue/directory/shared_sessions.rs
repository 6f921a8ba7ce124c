//! Sessions and watermarks as `claude-mem.db` has them. Reads on a connection of their own, so they never wait for a
//! lock that a hook holds.
//!
//! A client may meet a file that no owner has opened yet: without our tables nothing is acknowledged there.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::{Connection, OptionalExtension};

use super::{Known, Sessions, Told, Watermark, Watermarks, all_own_watermarks, own_watermarks, unknown};
use crate::{
    db::{Database, Source},
    error::{Error, Result},
    store::opening::SessionRow,
};

/// Finds a row where our tables are there.
const OURS: &str = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'native_ack'";

/// Sessions remembered at most.
const REMEMBERED: usize = 1_024;

/// See the module.
pub struct SharedSessions {
    source: Mutex<Option<Source>>,
    /// Rows as they were when the file had `Remembered::version`. A look-up is two file locks and a statement, a
    /// quarter of what an enqueue of 300 bytes costs this thread.
    remembered: Mutex<Remembered>,
    /// Whether our tables are there for certain.
    owned: bool,
}

#[derive(Default)]
struct Remembered {
    /// `PRAGMA data_version`; it changes with every commit of another connection. `None` where rows are not to be
    /// remembered.
    version: Option<i64>,
    rows: HashMap<i64, Arc<SessionRow>>,
}

impl SharedSessions {
    /// For the owner, who has created our tables. `db` is a read-only connection.
    pub fn new(db: Database) -> Self {
        Self { source: Mutex::new(Some(Source::of(db))), remembered: Mutex::default(), owned: true }
    }

    /// For a client.
    pub fn on_demand(source: Source) -> Self {
        Self { source: Mutex::new(Some(source)), remembered: Mutex::default(), owned: false }
    }

    /// Asks the file; `read` is told whether our tables are there.
    fn ask<T>(&self, read: impl FnOnce(&Connection, bool) -> Result<T>) -> Result<T> {
        let mut guard = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        let db = guard.as_mut().ok_or_else(|| Error::disposed("memory"))?.get()?;
        let ours = self.owned || db.prepare_cached(OURS)?.exists([])?;
        read(db, ours)
    }

    /// A transaction of `queue.db` has begun. What was remembered stays where nobody has written to `claude-mem.db`
    /// since: then a look-up within this transaction answers what the file says at its beginning.
    pub fn look_again(&self) {
        let version = self
            .ask(|db, _| Ok(db.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get::<_, i64>(0))?));
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        // Where the file cannot be asked, the look-ups themselves say so.
        if version.as_ref().ok() != remembered.version.as_ref() {
            *remembered = Remembered { version: version.ok(), rows: HashMap::new() };
        }
    }

    fn recall(&self, session_id: i64) -> Option<Known> {
        let remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        Some(Known { row: Arc::clone(remembered.rows.get(&session_id)?), named: true })
    }

    fn remember(&self, session_id: i64, row: &Arc<SessionRow>) {
        let mut remembered = self.remembered.lock().unwrap_or_else(PoisonError::into_inner);
        if remembered.version.is_none() {
            return;
        }
        if remembered.rows.len() >= REMEMBERED {
            remembered.rows.clear();
        }
        remembered.rows.insert(session_id, Arc::clone(row));
    }

    /// Every watermark in that file, and its floor for message ids.
    pub fn acknowledged_there(&self) -> Result<(HashMap<i64, i64>, i64)> {
        self.ask(|db, ours| {
            if !ours {
                return Ok((HashMap::new(), 0));
            }
            let there = db
                .prepare("SELECT session_id, upto FROM native_ack")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<rusqlite::Result<_>>()?;
            let floor: Option<i64> = db
                .query_row("SELECT CAST(value AS INTEGER) FROM native_ledger WHERE key = 'id_floor'", [], |row| {
                    row.get(0)
                })
                .optional()?;
            Ok((there, floor.unwrap_or(0)))
        })
    }
}

/// A session's watermark in `claude-mem.db`.
pub fn acknowledged(db: &Connection, session_id: i64) -> Result<i64> {
    let mut statement = db.prepare_cached("SELECT upto FROM native_ack WHERE session_id = ?1")?;
    Ok(statement.query_row([session_id], |row| row.get(0)).optional()?.unwrap_or(0))
}

/// What is acknowledged there, and what the queue acknowledged on its own.
const fn watermark(shared: i64, own: i64) -> Watermark {
    Watermark { upto: if shared > own { shared } else { own }, fence: shared, keep: 0 }
}

impl Sessions for SharedSessions {
    fn session(&self, _: &Connection, session_id: i64) -> Result<Option<Known>> {
        if let Some(known) = self.recall(session_id) {
            return Ok(Some(known));
        }
        let found = self.ask(|db, _| {
            let mut statement =
                db.prepare_cached("SELECT claude_session_id, sdk_session_id, project FROM sdk_sessions WHERE id = ?1")?;
            let row = statement.query_row([session_id], |row| {
                Ok(SessionRow { claude_session_id: row.get(0)?, sdk_session_id: row.get(1)?, project: row.get(2)? })
            });
            Ok(row.optional()?)
        })?;
        // One that is not there is asked for each time.
        Ok(found.map(|row| {
            let row = Arc::new(row);
            self.remember(session_id, &row);
            Known { row, named: true }
        }))
    }

    fn enter(&self, db: &Connection, session_id: i64, told: Told<'_>, _: i64) -> Result<Known> {
        let known = self.session(db, session_id)?.ok_or_else(|| unknown(session_id))?;
        known.row.must_be(session_id, told.claude_session_id)?;
        Ok(known)
    }

    fn number_of(&self, db: &Connection, was: i64, claude_session_id: &str) -> Result<Option<i64>> {
        if claude_session_id.is_empty() {
            return Ok(self.session(db, was)?.map(|_| was));
        }
        self.ask(|db, _| {
            let mut statement = db.prepare_cached("SELECT id FROM sdk_sessions WHERE claude_session_id = ?1")?;
            Ok(statement.query_row([claude_session_id], |row| row.get(0)).optional()?)
        })
    }

    fn watermark(&self, db: &Connection, session_id: i64) -> Result<Watermark> {
        let shared = self.ask(|db, ours| if ours { acknowledged(db, session_id) } else { Ok(0) })?;
        Ok(watermark(shared, own_watermarks(db, session_id)?.0))
    }

    fn watermarks(&self, db: &Connection) -> Result<Watermarks> {
        let (there, floor) = self.acknowledged_there()?;
        let floor = there.values().copied().max().unwrap_or(0).max(floor);
        let mut all: HashMap<i64, Watermark> =
            there.into_iter().map(|(session_id, shared)| (session_id, watermark(shared, 0))).collect();
        for (session_id, own, _) in all_own_watermarks(db)? {
            let entry = all.entry(session_id).or_default();
            *entry = watermark(entry.fence, own);
        }
        Ok((all.into_iter().collect(), floor))
    }

    fn close(&self) {
        drop(std::mem::take(&mut *self.remembered.lock().unwrap_or_else(PoisonError::into_inner)));
        drop(self.source.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `claude-mem.db` as a hook writes to it, and what the queue's thread reads of it.
    fn opened() -> (tempfile::TempDir, Connection, SharedSessions) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("claude-mem.db");
        let hook = Connection::open(&path).unwrap();
        hook.execute_batch(
            "PRAGMA journal_mode=WAL;
             CREATE TABLE sdk_sessions(id INTEGER PRIMARY KEY, claude_session_id TEXT, sdk_session_id TEXT, project TEXT);
             INSERT INTO sdk_sessions VALUES (1, 'first', NULL, 'p')",
        )
        .unwrap();
        let sessions = SharedSessions::new(Connection::open(&path).unwrap().into());
        (folder, hook, sessions)
    }

    #[test]
    fn what_is_remembered_ends_with_anybodys_commit() {
        let (_folder, hook, sessions) = opened();
        let queue = Connection::open_in_memory().unwrap();
        let name = |id| sessions.session(&queue, id).unwrap().map(|known| known.row.claude_session_id.to_string());
        for change in [
            "UPDATE sdk_sessions SET claude_session_id = 'other' WHERE id = 1",
            "DELETE FROM sdk_sessions",
            "INSERT INTO sdk_sessions VALUES (1, 'third', NULL, 'p')",
        ] {
            sessions.look_again();
            let before = name(1);
            sessions.look_again();
            assert_eq!(name(1), before, "nobody has written");
            hook.execute_batch(change).unwrap();
            sessions.look_again();
            assert_ne!(name(1), before, "{change}");
        }
        assert_eq!(name(1).as_deref(), Some("third"));
        assert_eq!(name(2), None);
        hook.execute_batch("INSERT INTO sdk_sessions VALUES (2, 'second', NULL, 'p')").unwrap();
        assert_eq!(name(2).as_deref(), Some("second"), "what is not there is asked for each time");
    }

    #[test]
    fn nothing_is_remembered_before_a_first_look() {
        let (_folder, hook, sessions) = opened();
        let queue = Connection::open_in_memory().unwrap();
        assert!(sessions.session(&queue, 1).unwrap().is_some());
        hook.execute_batch("DELETE FROM sdk_sessions").unwrap();
        assert!(sessions.session(&queue, 1).unwrap().is_none());
    }
}
