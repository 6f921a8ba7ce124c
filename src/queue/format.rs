//! The format of `native/queue.db`: its steps, for [`Format`].

use std::path::Path;

use rusqlite::Connection;

use crate::{
    db::{Database, Format},
    error::Result,
};

/// `STEPS[n]` makes format n + 1 out of format n. A step that was released never changes.
const STEPS: [&str; 2] = [
    // The payload stands last: the columns before it are read without its overflow pages.
    "CREATE TABLE messages(
       id INTEGER PRIMARY KEY,
       session_id INTEGER NOT NULL,
       claude_session_id TEXT NOT NULL,
       type TEXT,
       prompt_number INTEGER,
       ends_batch INTEGER NOT NULL,
       enqueued_at_epoch INTEGER NOT NULL,
       bytes INTEGER NOT NULL,
       payload TEXT NOT NULL);
     CREATE INDEX messages_session ON messages(session_id);
     CREATE TABLE leases(session_id INTEGER PRIMARY KEY, first_id INTEGER NOT NULL, last_id INTEGER NOT NULL, token INTEGER NOT NULL);
     CREATE TABLE attempts(message_id INTEGER PRIMARY KEY, session_id INTEGER NOT NULL, count INTEGER NOT NULL, error TEXT);
     CREATE TABLE backoffs(session_id INTEGER PRIMARY KEY, ready_at_epoch INTEGER NOT NULL);
     CREATE TABLE pauses(session_id INTEGER PRIMARY KEY, until_epoch INTEGER, reason TEXT);
     CREATE TABLE dedupe_keys(
       session_id INTEGER NOT NULL, key TEXT NOT NULL, message_id INTEGER NOT NULL, created_at_epoch INTEGER NOT NULL,
       PRIMARY KEY(session_id, key)) WITHOUT ROWID;
     CREATE INDEX dedupe_keys_created ON dedupe_keys(created_at_epoch);
     CREATE TABLE dead_letters(
       id INTEGER PRIMARY KEY,
       session_id INTEGER NOT NULL,
       claude_session_id TEXT NOT NULL,
       type TEXT,
       prompt_number INTEGER,
       ends_batch INTEGER NOT NULL,
       enqueued_at_epoch INTEGER NOT NULL,
       dead_at_epoch INTEGER NOT NULL,
       attempts INTEGER NOT NULL,
       reason TEXT NOT NULL,
       error TEXT,
       bytes INTEGER NOT NULL,
       payload TEXT NOT NULL);
     CREATE INDEX dead_letters_session ON dead_letters(session_id);
     CREATE INDEX dead_letters_dead ON dead_letters(dead_at_epoch);
     CREATE TABLE meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;",
    // What this file knows of sessions by itself (see `super::directory`); how long a backoff is and whose a pause, for a
    // wall clock that is set back and a number that is another session's one day.
    "CREATE TABLE sessions(
       session_id INTEGER PRIMARY KEY,
       claude_session_id TEXT,
       project TEXT,
       named_at INTEGER NOT NULL DEFAULT 0,
       upto INTEGER NOT NULL DEFAULT 0,
       shared_upto INTEGER NOT NULL DEFAULT 0);
     CREATE TABLE known_messages(
       session_id INTEGER NOT NULL, identity BLOB NOT NULL, PRIMARY KEY(session_id, identity)) WITHOUT ROWID;
     ALTER TABLE backoffs ADD COLUMN delay_ms INTEGER;
     ALTER TABLE pauses ADD COLUMN claude_session_id TEXT;",
];

/// See [`Format`].
const FORMAT: Format = Format { steps: &STEPS, fresh: "an empty queue" };

/// Opens `queue.db` read-write in today's format, creating it where it is missing.
///
/// # Errors
/// As [`Format::open`].
pub fn open(path: &Path, secure_delete: bool) -> Result<Database> {
    FORMAT.open(path, secure_delete)
}

/// An empty `queue.db` in memory, for whoever reads one that is missing.
///
/// # Errors
/// What SQLite answers.
pub fn stand_in() -> Result<Database> {
    FORMAT.stand_in()
}

/// Whether an open `queue.db` can be read as it is; not yet where somebody is just creating it.
///
/// # Errors
/// As [`Format::is_ready`].
pub fn is_ready(db: &Connection, path: &Path) -> Result<bool> {
    FORMAT.is_ready(db, path)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::error::{Code, Detail};

    fn version(db: &Connection) -> i64 {
        db.query_row("PRAGMA user_version", [], |row| row.get(0)).unwrap()
    }

    /// What `sqlite_master` says, for comparison.
    fn schema(db: &Connection) -> Vec<(String, String)> {
        db.prepare("SELECT name, coalesce(sql, '') FROM sqlite_master ORDER BY name")
            .unwrap()
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
            .collect::<rusqlite::Result<_>>()
            .unwrap()
    }

    #[test]
    fn a_newer_format_is_refused_and_left_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queue.db");
        drop(open(&path, false).unwrap());
        let db = open(&path, false).unwrap();
        let vacuum: i64 = db.query_row("PRAGMA auto_vacuum", [], |row| row.get(0)).unwrap();
        assert_eq!(vacuum, 2, "incremental");
        db.pragma_update(None, "user_version", 99).unwrap();
        drop(db);
        let before = fs::read(&path).unwrap();
        let error = open(&path, false).unwrap_err();
        assert_eq!(error.code, Code::SchemaUnsupported);
        for part in
            [&path.display().to_string(), "format 99", "up to 2", "newer claude-mem-native", "move the file away"]
        {
            assert!(error.message.contains(part), "{part}: {}", error.message);
        }
        assert!(error.details.contains(&("format", Detail::Number(99.0))), "{error:?}");
        assert!(error.details.contains(&("supportedFormat", Detail::Number(2.0))), "{error:?}");
        assert!(fs::read(&path).unwrap() == before, "the file was changed");
    }

    #[test]
    fn an_older_format_becomes_todays_with_its_rows() {
        let folder = tempfile::tempdir().unwrap();
        let (old, new) = (folder.path().join("old.db"), folder.path().join("new.db"));
        let db = Connection::open(&old).unwrap();
        db.execute_batch("PRAGMA auto_vacuum=INCREMENTAL; PRAGMA journal_mode=WAL").unwrap();
        db.execute_batch(STEPS[0]).unwrap();
        db.execute_batch(
            "INSERT INTO messages VALUES (7, 1, 'a', 'observation', 1, 0, 5, 2, '{}');
             INSERT INTO meta VALUES ('id_floor', 65536); PRAGMA user_version=1",
        )
        .unwrap();
        drop(db);
        let migrated = open(&old, false).unwrap();
        assert_eq!(version(&migrated), 2);
        assert_eq!(schema(&migrated), schema(&open(&new, false).unwrap()));
        let row: (i64, String) = migrated
            .query_row("SELECT id, claude_session_id FROM messages", [], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap();
        assert_eq!(row, (7, "a".into()));
    }

    #[test]
    fn a_step_that_fails_leaves_the_older_format() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queue.db");
        let db = Connection::open(&path).unwrap();
        db.execute_batch(STEPS[0]).unwrap();
        // In the way of step 2.
        db.execute_batch("CREATE TABLE sessions(x); PRAGMA user_version=1").unwrap();
        let before = schema(&db);
        drop(db);
        open(&path, false).unwrap_err();
        let db = Connection::open(&path).unwrap();
        assert_eq!((version(&db), schema(&db)), (1, before));
    }

    #[test]
    fn another_programs_file_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("queue.db");
        Connection::open(&path).unwrap().execute_batch("CREATE TABLE theirs(x)").unwrap();
        assert_eq!(open(&path, false).unwrap_err().code, Code::SchemaUnsupported);
        fs::write(&path, "no database at all, but long enough to be looked at").unwrap();
        assert_eq!(open(&path, false).unwrap_err().code, Code::Corrupt);
    }
}
