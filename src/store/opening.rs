//! What a session starts with: its row, and the newest prompt that a hook has stored for it.

use rusqlite::{Connection, OptionalExtension};

use super::sessions::not_found;
use crate::error::{Code, Error, Result};

/// What the session's row says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// `claude_session_id`.
    pub claude_session_id: Box<str>,
    /// `sdk_session_id`.
    pub sdk_session_id: Option<Box<str>>,
    /// `project`.
    pub project: Box<str>,
}

impl SessionRow {
    /// Whether this is the session that the caller means by its number.
    ///
    /// # Errors
    /// `ERR_NOT_FOUND` where it is another's.
    pub fn must_be(&self, id: i64, claude_session_id: Option<&str>) -> Result<()> {
        match claude_session_id {
            Some(meant) if *meant != *self.claude_session_id => Err(Error::new(
                Code::NotFound,
                format!(
                    "session {id} is '{}', not '{meant}'; look its number up with createSDKSession",
                    self.claude_session_id
                ),
            )
            .with("sessionDbId", id)
            .with("claudeSessionId", &*self.claude_session_id)),
            _ => Ok(()),
        }
    }
}

/// A session's row and its newest prompt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opening {
    /// Ids and project.
    pub row: SessionRow,
    /// The newest stored prompt; where none is stored, the session's first.
    pub user_prompt: Option<String>,
    /// Its number; where none is stored, the session's counter if it has counted.
    pub last_prompt_number: Option<i64>,
}

/// Reads what session `id` starts with.
///
/// # Errors
/// `ERR_NOT_FOUND` where there is no such session.
pub fn read(db: &Connection, id: i64) -> Result<Opening> {
    let found = db
        .prepare_cached(
            "SELECT claude_session_id, sdk_session_id, project, user_prompt, nullif(prompt_counter, 0)
             FROM sdk_sessions WHERE id = ?1",
        )?
        .query_row([id], |row| {
            let row_of =
                SessionRow { claude_session_id: row.get(0)?, sdk_session_id: row.get(1)?, project: row.get(2)? };
            Ok(Opening { row: row_of, user_prompt: row.get(3)?, last_prompt_number: row.get(4)? })
        })
        .optional()?;
    let mut opening = found.ok_or_else(|| not_found(id))?;
    let newest = db
        .prepare_cached(
            "SELECT prompt_text, prompt_number FROM user_prompts WHERE claude_session_id = ?1
             ORDER BY created_at_epoch DESC, id DESC LIMIT 1",
        )?
        .query_row([&*opening.row.claude_session_id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?;
    if let Some((text, number)) = newest {
        opening.user_prompt = Some(text);
        opening.last_prompt_number = Some(number);
    }
    Ok(opening)
}
