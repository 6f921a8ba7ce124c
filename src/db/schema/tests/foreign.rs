//! Files that are refused are left byte for byte as they were, with nothing new beside them.

use std::{fs, time::Instant};

use rusqlite::Connection;

use super::{super::check, DataDir, WAIT, rows};
use crate::error::{Code, Detail, Error};

const NEWER: [&str; 2] = ["newer-v9.1.1-fresh.db", "newer-v13.15.3-fresh.db"];

/// Refuses the file both ways, and leaves no trace.
fn assert_refused(data: &DataDir, code: Code, what: &str) -> Error {
    let before = data.files();
    let error = check(&data.database()).unwrap_err();
    assert_eq!(error.code, code, "{what}: {error}");
    assert_eq!(data.prepare().unwrap_err(), error, "{what}");
    let after = data.files();
    assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>(), "{what}");
    assert!(before == after, "{what}: a file was changed");
    assert!(error.message.starts_with(&data.database().display().to_string()), "{what}: {error}");
    assert!(error.details.iter().any(|(name, _)| *name == "path"), "{what}: {error:?}");
    error
}

/// Leaves `data` as a process does that is killed with `sql` in the log and nothing of it in the file: what
/// was on disk while the connection was open, with or without the log's index.
fn leave_log(data: &DataDir, sql: &str, with_index: bool) {
    let db = Connection::open(data.database()).unwrap();
    db.execute_batch("PRAGMA journal_mode=WAL; PRAGMA wal_autocheckpoint=0").unwrap();
    db.execute_batch(sql).unwrap();
    let files = data.files();
    drop(db);
    for (name, bytes) in files {
        let path = data.path().join(&name);
        if name.ends_with("-shm") && !with_index {
            drop(fs::remove_file(path));
        } else {
            fs::write(path, bytes).unwrap();
        }
    }
    let log = fs::metadata(data.path().join("claude-mem.db-wal")).unwrap().len();
    assert!(log > 0, "there is something in the log");
}

#[test]
fn newer_files_are_refused_untouched() {
    for name in NEWER {
        let Some(data) = DataDir::with(name) else { return };
        let error = assert_refused(&data, Code::SchemaUnsupported, name);
        assert!(error.message.contains("content_session_id") && error.message.contains("claude_session_id"), "{error}");
        let version = if name.contains("13.15.3") { 49.0 } else { 21.0 };
        assert!(error.details.contains(&("schemaVersion", Detail::Number(version))), "{error:?}");
    }
}

#[test]
fn newer_files_are_refused_untouched_with_a_log_beside_them() {
    for name in NEWER {
        for with_index in [true, false] {
            let Some(data) = DataDir::with(name) else { return };
            leave_log(&data, "UPDATE schema_versions SET applied_at = 'now'", with_index);
            assert_refused(&data, Code::SchemaUnsupported, name);
        }
    }
}

#[test]
fn newer_files_are_refused_untouched_while_somebody_has_them_open() {
    for name in NEWER {
        let Some(data) = DataDir::with(name) else { return };
        let db = Connection::open(data.database()).unwrap();
        db.execute_batch(
            "UPDATE schema_versions SET applied_at = 'now'; BEGIN IMMEDIATE; DELETE FROM schema_versions;",
        )
        .unwrap();
        assert_refused(&data, Code::SchemaUnsupported, name);
    }
}

#[test]
fn a_schema_that_is_only_in_the_log_counts() {
    // A newer version has made the file, or renamed the columns, and was killed before its first checkpoint.
    let renaming = "ALTER TABLE sdk_sessions RENAME COLUMN claude_session_id TO content_session_id;
                    ALTER TABLE sdk_sessions RENAME COLUMN sdk_session_id TO memory_session_id;
                    INSERT INTO schema_versions(version, applied_at) VALUES (17, '')";
    let created = "CREATE TABLE sdk_sessions(id INTEGER PRIMARY KEY, content_session_id TEXT, memory_session_id TEXT)";
    for with_index in [true, false] {
        let data = DataDir::new();
        leave_log(&data, created, with_index);
        assert_refused(&data, Code::SchemaUnsupported, "created");
        let Some(data) = DataDir::with("claude-mem-6.0.2.db") else { return };
        leave_log(&data, renaming, with_index);
        let error = assert_refused(&data, Code::SchemaUnsupported, "renamed");
        assert!(error.details.contains(&("schemaVersion", Detail::Number(17.0))), "{error:?}");
    }
}

#[test]
fn an_unfinished_change_of_the_schema_does_not_count() {
    let Some(data) = DataDir::with("claude-mem-6.0.2.db") else { return };
    let db = Connection::open(data.database()).unwrap();
    // Frames of a transaction that is too large for the cache are in the log before its COMMIT.
    db.execute_batch(
        "PRAGMA cache_size=10; PRAGMA cache_spill=1; BEGIN; ALTER TABLE observations ADD COLUMN unfinished;
         ALTER TABLE sdk_sessions RENAME COLUMN claude_session_id TO content_session_id;
         UPDATE user_prompts SET prompt_text = prompt_text || '!'; UPDATE observations SET unfinished = narrative;",
    )
    .unwrap();
    let log = fs::metadata(data.path().join("claude-mem.db-wal")).unwrap().len();
    assert!(log > 1_000_000, "the change is in the log: {log} bytes");
    check(&data.database()).unwrap();
}

#[test]
fn a_known_file_with_a_log_keeps_what_is_in_it() {
    let Some(data) = DataDir::with("claude-mem-6.0.2.db") else { return };
    leave_log(&data, "INSERT INTO schema_versions(version, applied_at) VALUES (11, '')", false);
    let before = data.files();
    let since = Instant::now();
    check(&data.database()).unwrap();
    eprintln!("a file of 14 MB with a log beside it was inspected in {:?}", since.elapsed());
    assert!(data.files() == before);
    let db = data.prepare().unwrap();
    assert_eq!(rows(&db, "SELECT count(*) FROM schema_versions"), ["[Integer(8)]"]);
}

#[test]
fn a_checkpoint_that_was_cut_short_is_no_damage() {
    let Some(data) = DataDir::with("newer-v9.1.1-fresh.db") else { return };
    leave_log(
        &data,
        "WITH RECURSIVE n(i) AS (SELECT 100 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
         INSERT INTO schema_versions(version, applied_at) SELECT i, hex(randomblob(500)) FROM n",
        false,
    );
    let mut files = data.files();
    drop(Connection::open(data.database()).unwrap().query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())));
    // Of all its pages only the first, with the new number of pages, has reached the file.
    let whole = fs::read(data.database()).unwrap();
    files.get_mut("claude-mem.db").unwrap()[..4096].copy_from_slice(&whole[..4096]);
    assert!(whole.len() > 2 * files["claude-mem.db"].len());
    for (name, bytes) in files {
        fs::write(data.path().join(name), bytes).unwrap();
    }
    assert_refused(&data, Code::SchemaUnsupported, "cut short");
}

#[test]
fn a_rollback_journal_is_rolled_back_in_the_copy_only() {
    let data = DataDir::new();
    data.execute(
        "CREATE TABLE sdk_sessions(id INTEGER PRIMARY KEY, content_session_id TEXT);
         INSERT INTO sdk_sessions(content_session_id) VALUES ('x')",
    );
    let db = Connection::open(data.database()).unwrap();
    db.execute_batch(
        "PRAGMA cache_size=1; PRAGMA cache_spill=1; BEGIN; DROP TABLE sdk_sessions; CREATE TABLE a(x);
         WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 2000) INSERT INTO a SELECT randomblob(900) FROM n;",
    )
    .unwrap();
    let files = data.files();
    db.execute_batch("ROLLBACK").unwrap();
    drop(db);
    assert!(files["claude-mem.db-journal"].len() > 512, "the journal is hot");
    for (name, bytes) in files {
        fs::write(data.path().join(name), bytes).unwrap();
    }
    assert_refused(&data, Code::SchemaUnsupported, "journal");
}

#[test]
fn a_table_that_asks_for_more_than_we_know_is_refused() {
    let Some(data) = DataDir::with("claude-mem-6.0.2.db") else { return };
    data.execute(
        "DROP TABLE user_prompts; CREATE TABLE user_prompts(id INTEGER PRIMARY KEY, claude_session_id TEXT NOT NULL,
         prompt_number INTEGER NOT NULL, prompt_text TEXT NOT NULL, created_at TEXT NOT NULL,
         created_at_epoch INTEGER NOT NULL, device TEXT NOT NULL)",
    );
    let error = assert_refused(&data, Code::SchemaUnsupported, "NOT NULL");
    assert!(error.message.contains("device"), "{error}");
}

#[test]
fn a_view_in_the_place_of_a_table_is_refused() {
    let data = DataDir::new();
    data.execute("CREATE TABLE t(id); CREATE VIEW observations AS SELECT * FROM t");
    assert_refused(&data, Code::SchemaUnsupported, "view");
}

#[test]
fn a_newer_format_of_ours_is_refused() {
    let data = DataDir::new();
    drop(data.prepare().unwrap());
    data.execute("UPDATE native_ledger SET value = 99 WHERE key = 'format'; PRAGMA wal_checkpoint(TRUNCATE)");
    let error = assert_refused(&data, Code::SchemaUnsupported, "format");
    assert!(error.message.contains("99") && error.message.contains("update claude-mem-native"), "{error}");
    for (name, value) in [("format", 99.0), ("supportedFormat", 1.0)] {
        assert!(error.details.contains(&(name, Detail::Number(value))), "{error:?}");
    }
}

#[test]
fn what_is_no_database_is_corrupt() {
    let data = DataDir::new();
    for bytes in [&b"not a database"[..], &[7; 20_000][..]] {
        fs::write(data.database(), bytes).unwrap();
        let error = assert_refused(&data, Code::Corrupt, "noise");
        assert!(error.message.contains("restore"), "{error}");
    }
    // A header that promises more than there is.
    let Some(whole) = super::fixture("claude-mem-6.0.2.db") else { return };
    fs::write(data.database(), &fs::read(whole).unwrap()[..8192]).unwrap();
    assert_refused(&data, Code::Corrupt, "cut off");
}

#[test]
fn a_directory_in_its_place_is_an_io_error() {
    let data = DataDir::new();
    fs::create_dir(data.database()).unwrap();
    let error = check(&data.database()).unwrap_err();
    assert_eq!(error.code, Code::Io, "{error}");
    assert_eq!(data.prepare().unwrap_err().code, Code::Io);
}

#[test]
fn an_empty_file_is_a_new_database() {
    let data = DataDir::new();
    fs::write(data.database(), "").unwrap();
    check(&data.database()).unwrap();
    assert_eq!(fs::metadata(data.database()).unwrap().len(), 0);
    let db = data.prepare().unwrap();
    assert_eq!(rows(&db, "SELECT count(*) FROM schema_versions"), ["[Integer(7)]"]);
    assert!(!data.pre_native().exists());
}

#[test]
fn a_file_that_others_write_and_close_all_the_time_is_never_misjudged() {
    // Each round makes a log, checkpoints it and deletes it, as a hook does that is alone for a moment.
    let Some(data) = DataDir::with("newer-v9.1.1-fresh.db") else { return };
    let stop = std::sync::atomic::AtomicBool::new(false);
    let relaxed = std::sync::atomic::Ordering::Relaxed;
    /// Ends the writer also where a check fails: the scope waits for it.
    struct Stop<'a>(&'a std::sync::atomic::AtomicBool);
    impl Drop for Stop<'_> {
        fn drop(&mut self) {
            self.0.store(true, std::sync::atomic::Ordering::Relaxed);
        }
    }
    std::thread::scope(|scope| {
        let _stop = Stop(&stop);
        scope.spawn(|| {
            for round in 0.. {
                if stop.load(relaxed) {
                    break;
                }
                let db = Connection::open(data.database()).unwrap();
                db.busy_timeout(WAIT).unwrap();
                db.execute("UPDATE schema_versions SET applied_at = ?", [round]).unwrap();
                // A few tables, made anew: with one more each round every look would take longer than the one before.
                let table = round % 8;
                db.execute_batch(&format!("DROP TABLE IF EXISTS t{table}; CREATE TABLE t{table}(x)")).unwrap();
            }
        });
        // A look that meets a writer is repeated; on some machines that is often.
        let began = Instant::now();
        for _ in 0..100 {
            if began.elapsed() > std::time::Duration::from_secs(20) {
                break;
            }
            let error = check(&data.database()).unwrap_err();
            assert_eq!(error.code, Code::SchemaUnsupported, "{error}");
        }
    });
    assert_eq!(data.files().len(), 1, "{:?}", data.files().keys());
}

/// Where a child process finds the database that it may not touch; it prints the code of the error.
const FORBIDDEN: &str = "CLAUDE_MEM_NATIVE_TEST_FORBIDDEN";

/// The body of the child process; passes at once in an ordinary run.
#[test]
fn child_without_rights() {
    let Some(database) = std::env::var_os(FORBIDDEN) else { return };
    let error = super::super::prepare(database.as_ref(), WAIT).unwrap_err();
    println!("\nrefused: {error}");
}

#[cfg(unix)]
#[test]
fn a_file_without_the_right_to_read_or_write_it_is_refused_by_name() {
    use std::os::unix::{
        fs::{MetadataExt, PermissionsExt},
        process::CommandExt,
    };
    for (mode, code) in [(0o444, "ERR_READ_ONLY"), (0o000, "ERR_IO")] {
        let Some(data) = DataDir::with("claude-mem-6.0.2.db") else { return };
        fs::set_permissions(data.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::set_permissions(data.database(), fs::Permissions::from_mode(mode)).unwrap();
        let mut child = std::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "db::schema::tests::foreign::child_without_rights", "--nocapture"]);
        child.env(FORBIDDEN, data.database());
        if fs::metadata(data.path()).unwrap().uid() == 0 {
            // Root may do everything; nobody may not.
            child.uid(65_534);
        }
        let output = match child.output() {
            Ok(output) => String::from_utf8_lossy(&output.stdout).into_owned(),
            Err(error) => return eprintln!("skipped: no process of another user can be started ({error})"),
        };
        assert!(output.contains(&format!("refused: {code}: {}", data.database().display())), "{mode:o}: {output}");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_path_that_is_no_utf_8_is_as_good_as_any() {
    use std::os::unix::ffi::OsStrExt;
    let Some(data) = DataDir::with("newer-v9.1.1-fresh.db") else { return };
    let directory = data.path().join(std::ffi::OsStr::from_bytes(b"\xff?immutable=0&#"));
    fs::create_dir(&directory).unwrap();
    let database = directory.join("claude-mem.db");
    fs::rename(data.database(), &database).unwrap();
    assert_eq!(check(&database).unwrap_err().code, Code::SchemaUnsupported);
}
