//! Table `sdk_sessions`: one row a Claude session.
//!
//! A session has two ids: `claude_session_id`, by which hooks know it, and `sdk_session_id`, by which
//! observations and summaries refer to it. The second may be NULL until the agent has one.

use rusqlite::{Connection, OptionalExtension, params};

use crate::{
    clock,
    db::Rows,
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

/// Creates the session, or finds it: an existing row is left as it is. A new one gets both ids the same, the
/// status `active` and the prompt counter 0. `None` where an argument is NULL that the schema does not allow.
///
/// SQLite counts an id for each call that finds the row (or refuses one), as it did under 6.0.2: ids have gaps.
///
/// # Errors
/// What SQLite answers.
pub fn create(
    db: &Connection,
    claude_session_id: Option<&str>,
    project: Option<&str>,
    user_prompt: Option<&str>,
    created_at_epoch: Option<i64>,
) -> Result<Option<i64>> {
    let epoch = created_at_epoch.unwrap_or_else(clock::now_epoch);
    db.prepare_cached(
        "INSERT OR IGNORE INTO sdk_sessions
           (claude_session_id, sdk_session_id, project, user_prompt, started_at, started_at_epoch, status)
         VALUES (?1, ?1, ?2, ?3, ?4, ?5, 'active')",
    )?
    .execute(params![claude_session_id, project, user_prompt, clock::iso8601(epoch), epoch])?;
    Ok(db
        .prepare_cached("SELECT id FROM sdk_sessions WHERE claude_session_id = ?1")?
        .query_row([claude_session_id], |row| row.get(0))
        .optional()?)
}

/// The id that [`create`] found or made.
///
/// # Errors
/// `ERR_INVALID_ARG` where it made none.
pub fn created(id: Option<i64>) -> Result<i64> {
    id.ok_or_else(|| Error::invalid("claudeSessionId and project must be texts, not null; an empty project is allowed"))
}

/// Counts one more prompt; the new value, 1 where there is no such session.
///
/// # Errors
/// What SQLite answers.
pub fn increment_prompt_counter(db: &Connection, id: i64) -> Result<i64> {
    let counter: Option<i64> = db
        .prepare_cached(
            "UPDATE sdk_sessions SET prompt_counter = coalesce(prompt_counter, 0) + 1 WHERE id = ?1
             RETURNING prompt_counter",
        )?
        .query_row([id], |row| row.get(0))
        .optional()?;
    Ok(counter.unwrap_or(1))
}

/// How many prompts were counted; 0 where there is no such session.
///
/// # Errors
/// What SQLite answers.
pub fn prompt_counter(db: &Connection, id: i64) -> Result<i64> {
    let counter: Option<Option<i64>> = db
        .prepare_cached("SELECT prompt_counter FROM sdk_sessions WHERE id = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    Ok(counter.flatten().unwrap_or(0))
}

/// Sets the port of the worker that serves the session; nothing where there is no such session.
///
/// # Errors
/// What SQLite answers.
pub fn set_worker_port(db: &Connection, id: i64, port: Option<i64>) -> Result<()> {
    db.prepare_cached("UPDATE sdk_sessions SET worker_port = ?2 WHERE id = ?1")?.execute(params![id, port])?;
    Ok(())
}

/// The port of the worker that serves the session; `None` where there is none, or no such session.
///
/// # Errors
/// What SQLite answers.
pub fn worker_port(db: &Connection, id: i64) -> Result<Option<i64>> {
    let port = db
        .prepare_cached("SELECT worker_port FROM sdk_sessions WHERE id = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()?;
    Ok(port.flatten())
}

/// Makes a session active again with a new prompt and no worker port; when it was completed stays.
///
/// # Errors
/// What SQLite answers.
pub fn reactivate(db: &Connection, id: i64, user_prompt: Option<&str>) -> Result<()> {
    db.prepare_cached("UPDATE sdk_sessions SET status = 'active', user_prompt = ?2, worker_port = NULL WHERE id = ?1")?
        .execute(params![id, user_prompt])?;
    Ok(())
}

/// `id, claude_session_id, sdk_session_id, project, user_prompt`; no row where there is no such session.
///
/// # Errors
/// What SQLite answers.
pub fn by_id(db: &Connection, id: i64) -> Result<Rows> {
    let mut statement = db.prepare_cached(
        "SELECT id, claude_session_id, sdk_session_id, project, user_prompt FROM sdk_sessions WHERE id = ?1",
    )?;
    Rows::query(&mut statement, [id])
}

/// `id, sdk_session_id, project, worker_port` of the session while it is active; else no row.
///
/// # Errors
/// What SQLite answers.
pub fn find_active(db: &Connection, claude_session_id: &str) -> Result<Rows> {
    let mut statement = db.prepare_cached(
        "SELECT id, sdk_session_id, project, worker_port FROM sdk_sessions
         WHERE claude_session_id = ?1 AND status = 'active'",
    )?;
    Rows::query(&mut statement, [claude_session_id])
}

/// `id` of the session, whatever its status; else no row.
///
/// # Errors
/// What SQLite answers.
pub fn find_any(db: &Connection, claude_session_id: &str) -> Result<Rows> {
    Rows::query(
        &mut *db.prepare_cached("SELECT id FROM sdk_sessions WHERE claude_session_id = ?1")?,
        [claude_session_id],
    )
}

/// `sdk_session_id, status, started_at, started_at_epoch, user_prompt, has_summary` (0 or 1) of a project's
/// newest sessions that have an `sdk_session_id`, oldest of them first.
///
/// # Errors
/// What SQLite answers.
pub fn recent_with_status(db: &Connection, project: &str, limit: i64) -> Result<Rows> {
    let mut statement = db.prepare_cached(
        "SELECT s.sdk_session_id, s.status, s.started_at, s.started_at_epoch, s.user_prompt,
           EXISTS (SELECT 1 FROM session_summaries AS m WHERE m.sdk_session_id = s.sdk_session_id) AS has_summary
         FROM (SELECT id FROM sdk_sessions WHERE project = ?1 AND sdk_session_id IS NOT NULL
               ORDER BY started_at_epoch DESC, id DESC LIMIT ?2) AS picked
         CROSS JOIN sdk_sessions AS s ON s.id = picked.id
         ORDER BY s.started_at_epoch, s.id",
    )?;
    Rows::query(&mut statement, params![project, limit])
}

/// The names of all projects that have one, in order.
///
/// # Errors
/// What SQLite answers.
pub fn projects(db: &Connection) -> Result<Vec<String>> {
    let mut statement =
        db.prepare_cached("SELECT DISTINCT project FROM sdk_sessions WHERE project != '' ORDER BY project")?;
    let names = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(names)
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
pub(crate) fn owner_of_rows(
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
