//! What the shared file says of a session: whether it exists, whose it is, and its watermark. Read-only, so
//! it never waits for a lock that a hook holds.
//!
//! A client may meet a file that no owner has opened yet: without our tables nothing is acknowledged.

use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension};

use crate::{
    db::Source,
    error::{Code, Error, Result},
    store::opening::SessionRow,
};

/// A session and its watermark.
#[derive(Debug, Clone)]
pub struct Entry {
    pub row: SessionRow,
    /// Messages up to this id are acknowledged.
    pub upto: i64,
}

/// Finds a row where our tables are there.
const OURS: &str = "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'native_ack'";

/// Looks sessions up on a read-only connection of its own.
pub struct Directory {
    source: Mutex<Option<Source>>,
    /// Whether our tables are there for certain.
    owned: bool,
}

impl Directory {
    /// For the owner, who has created our tables.
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

    /// A session, or `None` where there is no such row.
    pub fn find(&self, session_id: i64) -> Result<Option<Entry>> {
        self.ask(|db, ours| {
            let mut statement = db.prepare_cached(if ours {
                "SELECT s.claude_session_id, s.sdk_session_id, s.project, coalesce(a.upto, 0)
                 FROM sdk_sessions s LEFT JOIN native_ack a ON a.session_id = s.id WHERE s.id = ?1"
            } else {
                "SELECT claude_session_id, sdk_session_id, project, 0 FROM sdk_sessions WHERE id = ?1"
            })?;
            Ok(statement
                .query_row([session_id], |row| {
                    Ok(Entry {
                        row: SessionRow {
                            claude_session_id: row.get(0)?,
                            sdk_session_id: row.get(1)?,
                            project: row.get(2)?,
                        },
                        upto: row.get(3)?,
                    })
                })
                .optional()?)
        })
    }

    /// A session that must exist.
    pub fn get(&self, session_id: i64) -> Result<Entry> {
        self.find(session_id)?.ok_or_else(|| unknown(session_id))
    }

    /// A session's watermark, whether or not its row is still there.
    pub fn watermark(&self, session_id: i64) -> Result<i64> {
        self.ask(|db, ours| {
            if !ours {
                return Ok(0);
            }
            let mut statement = db.prepare_cached("SELECT upto FROM native_ack WHERE session_id = ?1")?;
            Ok(statement.query_row([session_id], |row| row.get(0)).optional()?.unwrap_or(0))
        })
    }

    /// Every watermark, and the highest of them or of the ledger's floor.
    pub fn watermarks(&self) -> Result<(Vec<(i64, i64)>, i64)> {
        self.ask(|db, ours| {
            if !ours {
                return Ok((Vec::new(), 0));
            }
            let all: Vec<(i64, i64)> = db
                .prepare("SELECT session_id, upto FROM native_ack")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<rusqlite::Result<_>>()?;
            let floor: i64 = db
                .query_row("SELECT CAST(value AS INTEGER) FROM native_ledger WHERE key = 'id_floor'", [], |row| {
                    row.get(0)
                })
                .optional()?
                .unwrap_or(0);
            let highest = all.iter().map(|(_, upto)| *upto).max().unwrap_or(0).max(floor);
            Ok((all, highest))
        })
    }

    /// Closes the connection; later look-ups answer `ERR_DISPOSED`.
    pub fn close(&self) {
        drop(self.source.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// The error of a session that does not exist.
pub fn unknown(session_id: i64) -> Error {
    Error::new(Code::NotFound, format!("there is no session {session_id}; create it with createSDKSession first"))
        .with("sessionDbId", session_id)
}
