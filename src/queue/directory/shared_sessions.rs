//! Sessions and watermarks as `claude-mem.db` has them. Reads on a connection of their own, so they never wait for a
//! lock that a hook holds.
//!
//! A client may meet a file that no owner has opened yet: without our tables nothing is acknowledged there.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use rusqlite::{Connection, OptionalExtension};

use super::{Known, Sessions, Told, Watermark, Watermarks, all_own_watermarks, own_watermarks, unknown};
use crate::{
    db::Source,
    error::{Error, Result},
    store::opening::SessionRow,
};

/// Finds a row where our tables are there.
const OURS: &str = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'native_ack'";

/// See the module.
pub struct SharedSessions {
    source: Mutex<Option<Source>>,
    /// Whether our tables are there for certain.
    owned: bool,
}

impl SharedSessions {
    /// For the owner, who has created our tables. `db` is a read-only connection.
    pub fn new(db: Connection) -> Self {
        Self { source: Mutex::new(Some(Source::of(db))), owned: true }
    }

    /// For a client.
    pub fn on_demand(source: Source) -> Self {
        Self { source: Mutex::new(Some(source)), owned: false }
    }

    /// Asks the file; `read` is told whether our tables are there.
    fn ask<T>(&self, read: impl FnOnce(&Connection, bool) -> Result<T>) -> Result<T> {
        let mut guard = self.source.lock().unwrap_or_else(PoisonError::into_inner);
        let db = guard.as_mut().ok_or_else(|| Error::disposed("memory"))?.get()?;
        let ours = self.owned || db.prepare_cached(OURS)?.exists([])?;
        read(db, ours)
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
        self.ask(|db, _| {
            let mut statement =
                db.prepare_cached("SELECT claude_session_id, sdk_session_id, project FROM sdk_sessions WHERE id = ?1")?;
            let row = statement.query_row([session_id], |row| {
                Ok(SessionRow { claude_session_id: row.get(0)?, sdk_session_id: row.get(1)?, project: row.get(2)? })
            });
            Ok(row.optional()?.map(|row| Known { row, named: true }))
        })
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
        drop(self.source.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}
