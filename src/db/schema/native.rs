//! Our own tables in `claude-mem.db`. Their prefix is `native_`: a later claude-mem leaves it alone.

use rusqlite::Connection;

use super::shape::Shape;
use crate::error::Result;

/// The format version of our tables: a file with a higher one is refused, one with a lower one or none is brought up
/// by [`create`].
pub const FORMAT: i64 = 1;
/// Facts about the file that belong to us: the format, the floor of message ids.
pub const LEDGER: &str = "native_ledger";
/// The watermark of each session: messages with an id up to `upto` are done, whatever `queue.db` says. No
/// foreign key: deleting a session must not bring its messages back.
pub const ACKNOWLEDGED: &str = "native_ack";

/// Whether something of ours is missing, or older.
pub fn lacking(shape: &Shape) -> bool {
    !shape.has("table", LEDGER)
        || !shape.has("table", ACKNOWLEDGED)
        || shape.format.is_none_or(|format| format < FORMAT)
}

/// Creates what is missing and notes the format, in the transaction of the caller. Format 1 is the first; what a later
/// one adds is added here to the tables of an earlier one.
///
/// # Errors
/// What SQLite answers.
pub fn create(db: &Connection) -> Result<()> {
    db.execute_batch(&format!(
        "CREATE TABLE IF NOT EXISTS {LEDGER}(key TEXT PRIMARY KEY, value);
         CREATE TABLE IF NOT EXISTS {ACKNOWLEDGED}(
             session_id INTEGER PRIMARY KEY, claude_session_id TEXT, upto INTEGER NOT NULL);"
    ))?;
    db.execute(
        "INSERT INTO native_ledger(key, value) VALUES ('format', ?1)
         ON CONFLICT(key) DO UPDATE SET value = excluded.value WHERE value IS NULL OR CAST(value AS INTEGER) < excluded.value",
        [FORMAT],
    )?;
    Ok(())
}
