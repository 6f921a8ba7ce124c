//! The format of `native/queue.db`, and how an older file becomes one of today's.
//!
//! The version is `PRAGMA user_version`. A new file runs every step, an older one those that it lacks, in one
//! transaction; a newer one is refused and left as it was.

use std::path::Path;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use crate::{
    db::connection::{self, naming},
    error::{Code, Error, Result},
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

/// The format that this engine writes.
const FORMAT: i64 = STEPS.len() as i64;

/// Opens `queue.db` read-write in today's format, creating it where it is missing.
///
/// # Errors
/// `ERR_SCHEMA_UNSUPPORTED` where a later engine wrote it; as [`connection::open_writer`].
pub fn open(path: &Path, secure_delete: bool) -> Result<Connection> {
    connection::create_private(path)?;
    // auto_vacuum must stand before the first table, and before WAL. Said again of a file that has it, it would be a
    // transaction with all its fsyncs.
    let fresh = std::fs::metadata(path).is_ok_and(|file| file.len() == 0);
    let mut db = connection::open_writer(path, if fresh { "PRAGMA auto_vacuum=INCREMENTAL" } else { "" })?;
    naming(path, || {
        db.execute_batch(if secure_delete { "PRAGMA secure_delete=ON" } else { "PRAGMA secure_delete=OFF" })?;
        bring_up(&mut db)
    })?;
    Ok(db)
}

/// An empty `queue.db` in memory, for whoever reads one that is missing.
///
/// # Errors
/// What SQLite answers.
pub fn stand_in() -> Result<Connection> {
    let mut db = Connection::open_in_memory()?;
    bring_up(&mut db)?;
    Ok(db)
}

/// Whether an open `queue.db` can be read as it is; not yet where somebody is just creating it.
///
/// # Errors
/// `ERR_SCHEMA_UNSUPPORTED` where its format is another: a reader changes none.
pub fn is_ready(db: &Connection, path: &Path) -> Result<bool> {
    naming(path, || match version(db)? {
        FORMAT => Ok(true),
        0 => Ok(false),
        older if (1..FORMAT).contains(&older) => Err(unsupported(
            older,
            &format!(
                "has format {older}, this engine reads {FORMAT}; whoever writes it next, as the worker does when \
                      it starts, brings it up to date"
            ),
        )),
        newer => Err(too_new(newer)),
    })
}

fn bring_up(db: &mut Connection) -> Result<()> {
    if version(db)? == FORMAT {
        return Ok(());
    }
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for step in missing_steps(&transaction)? {
        transaction.execute_batch(step)?;
    }
    transaction.pragma_update(None, "user_version", FORMAT)?;
    Ok(transaction.commit()?)
}

fn version(db: &Connection) -> Result<i64> {
    Ok(db.query_row("PRAGMA user_version", [], |row| row.get(0))?)
}

/// The steps that this file lacks.
fn missing_steps(db: &Transaction<'_>) -> Result<&'static [&'static str]> {
    let found = version(db)?;
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))?;
    if found == 0 && tables > 0 {
        return Err(unsupported(
            found,
            "is another program's database: it has tables and no format of ours; move it away to start with an empty queue",
        ));
    }
    usize::try_from(found).ok().and_then(|found| STEPS.get(found..)).ok_or_else(|| too_new(found))
}

fn too_new(found: i64) -> Error {
    unsupported(
        found,
        &format!(
            "has format {found}, this engine knows up to {FORMAT}; install a newer claude-mem-native, or move the file \
             away to start with an empty queue"
        ),
    )
}

fn unsupported(found: i64, what: &str) -> Error {
    Error::new(Code::SchemaUnsupported, format!("this file {what}; nothing was changed"))
        .with("format", found)
        .with("supportedFormat", FORMAT)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::error::Detail;

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
        assert_eq!(version(&migrated).unwrap(), FORMAT);
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
        assert_eq!((version(&db).unwrap(), schema(&db)), (1, before));
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
