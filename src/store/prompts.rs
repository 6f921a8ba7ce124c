//! Table `user_prompts`: what the user has asked for.

use rusqlite::{Connection, params};

use crate::{
    clock,
    db::Rows,
    error::Result,
    store::{
        by_ids,
        newest::{self, PROMPTS},
        order::OrderBy,
        sessions,
        snapshot::snapshot,
    },
};

/// Joins a prompt `t` to its session.
const SESSION: &str = "JOIN sdk_sessions AS s ON s.claude_session_id = t.claude_session_id";

/// Stores a prompt; its id.
///
/// # Errors
/// `ERR_CONSTRAINT` where the session is unknown, or the number or the text is NULL.
pub fn save(
    db: &Connection,
    claude_session_id: &str,
    prompt_number: Option<i64>,
    prompt_text: Option<&str>,
    created_at_epoch: Option<i64>,
) -> Result<i64> {
    let epoch = created_at_epoch.unwrap_or_else(clock::now_epoch);
    let id = db
        .prepare_cached(
            "INSERT INTO user_prompts (claude_session_id, prompt_number, prompt_text, created_at, created_at_epoch)
             VALUES (?1, ?2, ?3, ?4, ?5)",
        )?
        .insert(params![claude_session_id, prompt_number, prompt_text, clock::iso8601(epoch), epoch])?;
    Ok(id)
}

/// A prompt that has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BegunPrompt {
    /// `sdk_sessions.id`.
    pub session_db_id: i64,
    /// The session's prompt counter, this prompt included.
    pub prompt_number: i64,
    /// `user_prompts.id`.
    pub prompt_id: i64,
}

/// What the prompt's hook does in three calls: creates or finds the session, counts the prompt, stores it.
///
/// # Errors
/// What SQLite answers.
pub fn begin(
    db: &Connection,
    claude_session_id: &str,
    project: &str,
    prompt: &str,
    created_at_epoch: Option<i64>,
) -> Result<BegunPrompt> {
    let id = sessions::create(db, Some(claude_session_id), Some(project), Some(prompt), created_at_epoch)?;
    let session_db_id = sessions::created(id)?;
    let prompt_number = sessions::increment_prompt_counter(db, session_db_id)?;
    let prompt_id = save(db, claude_session_id, Some(prompt_number), Some(prompt), created_at_epoch)?;
    Ok(BegunPrompt { session_db_id, prompt_number, prompt_id })
}

/// A session as a hook finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TouchedSession {
    /// `sdk_sessions.id`.
    pub session_db_id: i64,
    /// How many prompts were counted; 0 before the first.
    pub prompt_number: i64,
}

/// What the hooks of tool calls and summaries do: finds the session, or creates it with neither project nor
/// prompt, and reads its prompt counter.
///
/// # Errors
/// What SQLite answers.
pub fn touch_session(db: &Connection, claude_session_id: &str) -> Result<TouchedSession> {
    let id = sessions::create(db, Some(claude_session_id), Some(""), Some(""), None)?;
    let session_db_id = sessions::created(id)?;
    Ok(TouchedSession { session_db_id, prompt_number: sessions::prompt_counter(db, session_db_id)? })
}

/// Whole rows plus `project` and `sdk_session_id` of their session, by time, each id once; unknown ids are left
/// out. A limit of 0 is none.
///
/// # Errors
/// What SQLite answers.
pub fn by_ids(db: &Connection, ids: &[i64], order: OrderBy, limit: i64) -> Result<Rows> {
    by_ids::rows(db, "t.*, s.project, s.sdk_session_id", "user_prompts", SESSION, ids, order, limit)
}

/// The rows `ids`, in the order of `ids`; one that is not there is left out.
///
/// # Errors
/// What SQLite answers.
pub fn in_turn(db: &Connection, ids: &[i64]) -> Result<Rows> {
    by_ids::in_turn(db, "t.*, s.project, s.sdk_session_id", "user_prompts", SESSION, ids)
}

/// `id, claude_session_id, project, prompt_number, prompt_text, created_at, created_at_epoch` of the newest of
/// all.
///
/// # Errors
/// What SQLite answers.
pub fn all_recent(db: &Connection, limit: i64) -> Result<Rows> {
    snapshot(db, |db| {
        let ids = newest::ids(db, &PROMPTS, None, 0, limit)?;
        listed(db, &ids)
    })
}

/// The rows of a list, in the order of `ids`.
pub(super) fn listed(db: &Connection, ids: &newest::Ids) -> Result<Rows> {
    let columns =
        "t.id, t.claude_session_id, s.project, t.prompt_number, t.prompt_text, t.created_at, t.created_at_epoch";
    newest::rows(db, ids, columns, "user_prompts", &format!("LEFT {SESSION}"))
}

/// Whole rows of a session, oldest first.
///
/// # Errors
/// What SQLite answers.
pub fn of_session(db: &Connection, claude_session_id: &str) -> Result<Rows> {
    let mut statement =
        db.prepare_cached("SELECT * FROM user_prompts WHERE claude_session_id = ?1 ORDER BY prompt_number, id")?;
    Rows::query(&mut statement, [claude_session_id])
}

/// The newest prompt of a session: the whole row plus `sdk_session_id` and `project` of its session; no row
/// where it has none.
///
/// # Errors
/// What SQLite answers.
pub fn latest(db: &Connection, claude_session_id: &str) -> Result<Rows> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT t.*, s.sdk_session_id, s.project FROM user_prompts AS t {SESSION}
         WHERE t.claude_session_id = ?1 ORDER BY t.created_at_epoch DESC, t.id DESC LIMIT 1"
    ))?;
    Rows::query(&mut statement, [claude_session_id])
}
