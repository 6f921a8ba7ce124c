//! What the shared file says of a session: whether it exists, whose it is, and its watermark. Read-only, so
//! it never waits for a lock that a hook holds.

use std::sync::{Mutex, PoisonError};

use rusqlite::{Connection, OptionalExtension};

use crate::{
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

/// Looks sessions up on a read-only connection of its own.
pub struct Directory(Mutex<Option<Connection>>);

impl Directory {
    pub fn new(db: Connection) -> Self {
        Self(Mutex::new(Some(db)))
    }

    /// A session, or `None` where there is no such row.
    pub fn find(&self, session_id: i64) -> Result<Option<Entry>> {
        let guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let db = guard.as_ref().ok_or_else(|| Error::disposed("memory"))?;
        let mut statement = db.prepare_cached(
            "SELECT s.claude_session_id, s.sdk_session_id, s.project, coalesce(a.upto, 0)
             FROM sdk_sessions s LEFT JOIN native_ack a ON a.session_id = s.id WHERE s.id = ?1",
        )?;
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
    }

    /// A session that must exist.
    pub fn get(&self, session_id: i64) -> Result<Entry> {
        self.find(session_id)?.ok_or_else(|| unknown(session_id))
    }

    /// The number that a session has now.
    pub fn number_of(&self, claude_session_id: &str) -> Result<Option<i64>> {
        let guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let db = guard.as_ref().ok_or_else(|| Error::disposed("memory"))?;
        let mut statement = db.prepare_cached("SELECT id FROM sdk_sessions WHERE claude_session_id = ?1")?;
        Ok(statement.query_row([claude_session_id], |row| row.get(0)).optional()?)
    }

    /// A session's watermark, whether or not its row is still there.
    pub fn watermark(&self, session_id: i64) -> Result<i64> {
        let guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let db = guard.as_ref().ok_or_else(|| Error::disposed("memory"))?;
        let mut statement = db.prepare_cached("SELECT upto FROM native_ack WHERE session_id = ?1")?;
        Ok(statement.query_row([session_id], |row| row.get(0)).optional()?.unwrap_or(0))
    }

    /// Every watermark, and the highest of them or of the ledger's floor.
    pub fn watermarks(&self) -> Result<(Vec<(i64, i64)>, i64)> {
        let guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let db = guard.as_ref().ok_or_else(|| Error::disposed("memory"))?;
        let all: Vec<(i64, i64)> = db
            .prepare("SELECT session_id, upto FROM native_ack")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect::<rusqlite::Result<_>>()?;
        let floor: i64 = db
            .query_row("SELECT CAST(value AS INTEGER) FROM native_ledger WHERE key = 'id_floor'", [], |row| row.get(0))
            .optional()?
            .unwrap_or(0);
        let highest = all.iter().map(|(_, upto)| *upto).max().unwrap_or(0).max(floor);
        Ok((all, highest))
    }

    /// Closes the connection; later look-ups answer `ERR_DISPOSED`.
    pub fn close(&self) {
        drop(self.0.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// The error of a session that does not exist.
pub fn unknown(session_id: i64) -> Error {
    Error::new(Code::NotFound, format!("there is no session {session_id}; create it with createSDKSession first"))
        .with("sessionDbId", session_id)
}
