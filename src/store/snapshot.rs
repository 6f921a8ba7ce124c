//! Reads that belong together.

use rusqlite::Connection;

use crate::error::Result;

/// Runs `read` so that all of its statements see the database at one moment, whoever writes in between.
/// Inside a transaction that is so already.
///
/// # Errors
/// What `read` answers.
pub fn snapshot<T>(db: &Connection, read: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
    let _transaction = if db.is_autocommit() { Some(db.unchecked_transaction()?) } else { None };
    // Nothing was written: the rollback at its drop only ends it.
    read(db)
}
