//! Table `sdk_sessions`: one row a Claude session.
//!
//! A session has two ids: `claude_session_id`, by which hooks know it, and `sdk_session_id`, by which
//! observations and summaries refer to it. The second may be NULL until the agent has one.

use rusqlite::{Connection, OptionalExtension, params};

use crate::{
    clock,
    error::{Code, Error, Result},
};

/// How a session ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It ran to its end.
    Completed,
    /// It was given up.
    Failed,
}

impl Status {
    /// The text in the column `status`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Failed => "failed",
        }
    }
}

/// What rows of a session are stored under.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// By which hooks know the session.
    pub claude_session_id: String,
    /// By which observations and summaries refer to it.
    pub sdk_session_id: String,
    /// The session's project; empty where a hook made the session before the prompt's hook did.
    pub project: String,
}

/// The session `id`; a NULL `sdk_session_id` is set to its `claude_session_id`, so that rows can refer to it.
///
/// # Errors
/// `ERR_NOT_FOUND` where there is no such session.
pub fn identify(db: &Connection, id: i64) -> Result<Identity> {
    let row = db
        .prepare_cached("SELECT claude_session_id, sdk_session_id, project FROM sdk_sessions WHERE id = ?1")?
        .query_row([id], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Option<String>>(1)?, row.get(2)?)))
        .optional()?;
    let Some((claude_session_id, sdk_session_id, project)) = row else { return Err(not_found(id)) };
    let sdk_session_id = match sdk_session_id {
        Some(sdk_session_id) => sdk_session_id,
        None => {
            set_sdk_session_id(db, id, &claude_session_id)?;
            claude_session_id.clone()
        }
    };
    Ok(Identity { claude_session_id, sdk_session_id, project })
}

/// The `sdk_session_id` that rows given under `sdk_session_id` are stored with: of the session that has it, of
/// the one that has it as `claude_session_id` (a NULL one is set), or of a new one with both ids the same.
pub(super) fn owner_of_rows(
    db: &Connection,
    sdk_session_id: &str,
    project: Option<&str>,
    created_at_epoch: Option<i64>,
) -> Result<String> {
    if db.prepare_cached("SELECT 1 FROM sdk_sessions WHERE sdk_session_id = ?1")?.exists([sdk_session_id])? {
        return Ok(sdk_session_id.to_owned());
    }
    let known = db
        .prepare_cached("SELECT id, sdk_session_id FROM sdk_sessions WHERE claude_session_id = ?1")?
        .query_row([sdk_session_id], |row| Ok((row.get(0)?, row.get::<_, Option<String>>(1)?)))
        .optional()?;
    match known {
        Some((_, Some(other))) => return Ok(other),
        Some((id, None)) => drop(set_sdk_session_id(db, id, sdk_session_id)?),
        None => {
            let epoch = created_at_epoch.unwrap_or_else(clock::now_epoch);
            db.prepare_cached(
                "INSERT INTO sdk_sessions (claude_session_id, sdk_session_id, project, started_at, started_at_epoch, status)
                 VALUES (?1, ?1, ?2, ?3, ?4, 'active')",
            )?
            .execute(params![sdk_session_id, project, clock::iso8601(epoch), epoch])?;
        }
    }
    Ok(sdk_session_id.to_owned())
}

/// Sets `sdk_session_id` where it is NULL; whether it was.
///
/// # Errors
/// `ERR_CONSTRAINT` where another session has it.
pub fn set_sdk_session_id(db: &Connection, id: i64, sdk_session_id: &str) -> Result<bool> {
    let changed = db
        .prepare_cached("UPDATE sdk_sessions SET sdk_session_id = ?2 WHERE id = ?1 AND sdk_session_id IS NULL")?
        .execute(params![id, sdk_session_id])?;
    Ok(changed > 0)
}

/// Sets status, `completed_at` and `completed_at_epoch`; nothing where there is no such session.
///
/// # Errors
/// What SQLite answers.
pub fn finish(db: &Connection, id: i64, status: Status) -> Result<()> {
    let epoch = clock::now_epoch();
    db.prepare_cached("UPDATE sdk_sessions SET status = ?2, completed_at = ?3, completed_at_epoch = ?4 WHERE id = ?1")?
        .execute(params![id, status.as_str(), clock::iso8601(epoch), epoch])?;
    Ok(())
}

/// There is no session `id`.
#[must_use]
pub fn not_found(id: i64) -> Error {
    Error::new(Code::NotFound, format!("there is no session {id}; create it with createSDKSession first"))
        .with("sessionDbId", id)
}
