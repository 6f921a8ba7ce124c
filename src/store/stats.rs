//! What the store holds, in figures.

use rusqlite::Connection;

use crate::{error::Result, store::snapshot::snapshot};

/// Counts and sizes of `claude-mem.db`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stats {
    /// Rows of `observations`.
    pub observations: i64,
    /// Rows of `sdk_sessions`.
    pub sessions: i64,
    /// Rows of `session_summaries`.
    pub summaries: i64,
    /// Rows of `user_prompts`.
    pub prompts: i64,
    /// The file.
    pub path: String,
    /// Its size, bytes; without the write-ahead log.
    pub size: u64,
}

/// Counts the rows. SQLite reads the smallest index of each table, no row.
///
/// # Errors
/// `ERR_IO` where the file cannot be asked for its size.
pub fn read(db: &Connection) -> Result<Stats> {
    snapshot(db, |db| {
        let count = |sql| db.prepare_cached(sql)?.query_row([], |row| row.get::<_, i64>(0));
        let path = db.path().unwrap_or_default().to_owned();
        Ok(Stats {
            observations: count("SELECT count(*) FROM observations")?,
            sessions: count("SELECT count(*) FROM sdk_sessions")?,
            summaries: count("SELECT count(*) FROM session_summaries")?,
            prompts: count("SELECT count(*) FROM user_prompts")?,
            // A database in memory has no file.
            size: if path.is_empty() { 0 } else { std::fs::metadata(&path)?.len() },
            path,
        })
    })
}
