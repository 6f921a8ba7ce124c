//! What a session begins with.

use rusqlite::Connection;

use crate::{
    db::Rows,
    error::Result,
    store::{observations, snapshot::snapshot, summaries},
};

/// A project's newest rows, newest first.
#[derive(Debug, Clone, PartialEq)]
pub struct Context {
    /// Whole rows of `observations`.
    pub observations: Rows,
    /// Whole rows of `session_summaries`.
    pub summaries: Rows,
}

/// The newest `observations` observations and `summaries` summaries of a project, at one moment.
///
/// # Errors
/// What SQLite answers.
pub fn read(db: &Connection, project: &str, observations: i64, summaries: i64) -> Result<Context> {
    snapshot(db, |db| {
        Ok(Context {
            observations: observations::newest(db, Some(project), observations, "t.*")?,
            summaries: summaries::newest(db, Some(project), summaries, "t.*")?,
        })
    })
}
