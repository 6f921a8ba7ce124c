//! `native/index.db`: what is derived from the tables. Losing it costs time, never data.

use rusqlite::{Connection, OptionalExtension};

use crate::{error::Result, index::text};

/// Version of the file's format. A file of any other version is made anew.
const FORMAT: i64 = 1;

/// Marks the file as ours: "cmIX".
const APPLICATION: i64 = 0x636d_4958;

/// Lines and documents.
///
/// `rows` has one line for each observation, summary and prompt, with the columns that filters need, named as those of
/// `observations` so that the conditions of the store hold for it (a summary's `files_edited` is its `files_modified`;
/// a prompt has its session's project). `hash` is of everything that documents, text indexes and filters are made of.
///
/// `documents` has one line for each piece of text with a vector of its own. `text_hash` tells whether the vector still
/// is the text's. `vector` is NULL while it is owed, else 16-bit floats (IEEE binary16, little endian) of unit length.
/// A document's text never changes, nor does a vector once it is there: what changes gets a new id. Ids are never used
/// again, so whoever still knows the id of a deleted document finds nothing, and a snapshot of vectors is as current as
/// its ids are.
///
/// `removed` are documents that the caller took out: they stay out while their text is the same.
const TABLES: &str = "
CREATE TABLE meta(name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE rows(
  key INTEGER PRIMARY KEY,
  kind INTEGER NOT NULL,
  id INTEGER NOT NULL,
  project TEXT,
  type TEXT,
  concepts TEXT,
  files_read TEXT,
  files_modified TEXT,
  sdk_session_id TEXT,
  prompt_number INTEGER,
  created_at_epoch INTEGER,
  hash BLOB NOT NULL
);
CREATE INDEX rows_project ON rows(project, kind);
CREATE TABLE documents(
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  row_key INTEGER NOT NULL,
  field INTEGER NOT NULL,
  part INTEGER NOT NULL,
  text_hash BLOB NOT NULL,
  vector BLOB
);
CREATE UNIQUE INDEX documents_of_row ON documents(row_key, field, part);
CREATE INDEX documents_owed ON documents(id) WHERE vector IS NULL;
CREATE TABLE removed(
  row_key INTEGER NOT NULL,
  field INTEGER NOT NULL,
  part INTEGER NOT NULL,
  text_hash BLOB NOT NULL,
  PRIMARY KEY (row_key, field, part)
) WITHOUT ROWID;
";

/// Whether `db` is an index file of this format. A new, empty file is not.
///
/// # Errors
/// What SQLite answers: `ERR_CORRUPT` among others.
pub fn is_current(db: &Connection) -> Result<bool> {
    let number = |pragma| db.pragma_query_value(None, pragma, |row| row.get::<_, i64>(0));
    let found = (number("application_id")?, number("user_version")?);
    let tables: Option<i64> = db
        .query_row("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = 'documents'", [], |row| row.get(0))
        .optional()?;
    Ok(found == (APPLICATION, FORMAT) && tables.is_some())
}

/// Makes the tables in an empty file.
///
/// # Errors
/// What SQLite answers.
pub fn create(db: &Connection) -> Result<()> {
    let transaction = db.unchecked_transaction()?;
    transaction.execute_batch(TABLES)?;
    text::create(&transaction)?;
    transaction.pragma_update(None, "application_id", APPLICATION)?;
    transaction.pragma_update(None, "user_version", FORMAT)?;
    transaction.commit()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_ours_is_known_again() {
        let db = Connection::open_in_memory().unwrap();
        assert!(!is_current(&db).unwrap());
        create(&db).unwrap();
        assert!(is_current(&db).unwrap());
        db.pragma_update(None, "user_version", FORMAT + 1).unwrap();
        assert!(!is_current(&db).unwrap(), "a newer one is made anew");
    }
}
