//! Older files, and files whose ledger tells an untruth, come to step 10 with everything they had.

use std::{fs, time::Duration};

use rusqlite::{Connection, backup, types::Value};

use super::{
    super::{precopy, prepare},
    DataDir, WAIT, contract, look, old_rows, rows,
};
use crate::error::{Code, Detail};

const OLD: [&str; 4] = ["schema-v4-rows.db", "schema-v7-rows.db", "schema-v8-rows.db", "schema-v9-rows-nofts.db"];

/// What must hold of a file at step 10.
fn assert_complete(db: &Connection, name: &str) {
    let fresh = DataDir::new();
    let (found, wanted) = (contract(db), contract(&fresh.prepare().unwrap()));
    assert_eq!(found.keys().collect::<Vec<_>>(), wanted.keys().collect::<Vec<_>>(), "{name}");
    for (fact, mut wanted) in wanted {
        let mut found = found[&fact].clone();
        if fact.ends_with("columns") {
            // ALTER TABLE can only append.
            found.sort();
            wanted.sort();
        }
        assert!(found == wanted || fact.ends_with("places"), "{name}: {fact}: {found:#?}, not {wanted:#?}");
    }
    assert_eq!(rows(db, "SELECT version FROM schema_versions WHERE version BETWEEN 4 AND 10").len(), 7, "{name}");
    for table in ["observations", "session_summaries", "user_prompts"] {
        db.execute_batch(&format!("INSERT INTO {table}_fts({table}_fts, rank) VALUES ('integrity-check', 1)"))
            .unwrap_or_else(|error| panic!("{name}: {table}: {error}"));
    }
    assert_eq!(rows(db, "PRAGMA integrity_check"), ["[Text(\"ok\")]"], "{name}");
    assert_eq!(rows(db, "PRAGMA foreign_key_check"), [""; 0], "{name}");
    assert_eq!(rows(db, "SELECT name FROM sqlite_master WHERE name LIKE '%rebuild%'"), [""; 0], "{name}");
}

#[test]
fn older_files_come_to_step_10_with_their_rows() {
    for name in OLD {
        let Some(data) = DataDir::with(name) else { return };
        let before = old_rows(&look(&data.database()));
        let db = data.prepare().unwrap();
        assert_complete(&db, name);
        assert_eq!(old_rows(&db), before, "{name}");
        assert!(before.values().all(|rows| rows.len() >= 8), "{name} has rows to keep");

        let copy = look(&data.pre_native());
        assert_eq!(old_rows(&copy), before, "{name}: the copy");
        assert_eq!(rows(&copy, "SELECT version FROM schema_versions WHERE version = 10"), [""; 0]);
        drop(copy);
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(fs::metadata(data.pre_native()).unwrap().permissions().mode() & 0o777, 0o600);
        }
        assert!(!data.files().keys().any(|file| file.contains("partial")), "{:?}", data.files().keys());
        // It takes what 6.0.2 writes.
        db.execute_batch(
            "INSERT INTO observations(sdk_session_id, project, type, narrative, created_at, created_at_epoch)
                 SELECT sdk_session_id, project, 'change', 'zweiundzwanzig', '', 0 FROM sdk_sessions
                 WHERE sdk_session_id IS NOT NULL LIMIT 1;",
        )
        .unwrap();
        assert_eq!(rows(&db, "SELECT 1 FROM observations_fts('zweiundzwanzig')").len(), 1);
    }
}

#[test]
fn ids_that_were_given_once_are_not_given_again() {
    for name in OLD {
        let Some(data) = DataDir::with(name) else { return };
        data.execute(
            "DELETE FROM observations WHERE id > 5; DELETE FROM session_summaries;
             UPDATE sqlite_sequence SET seq = 70 WHERE name = 'session_summaries';",
        );
        let sequence = rows(&look(&data.database()), "SELECT name, seq FROM sqlite_sequence ORDER BY name");
        let db = data.prepare().unwrap();
        assert_eq!(rows(&db, "SELECT name, seq FROM sqlite_sequence ORDER BY name"), sequence, "{name}");
    }
}

#[test]
fn the_copy_is_made_once() {
    let Some(data) = DataDir::with("schema-v4-rows.db") else { return };
    fs::write(data.pre_native(), "older still").unwrap();
    drop(data.prepare().unwrap());
    assert_eq!(fs::read(data.pre_native()).unwrap(), b"older still");
}

#[test]
fn a_leftover_of_a_killed_copy_is_replaced() {
    let Some(data) = DataDir::with("schema-v7-rows.db") else { return };
    fs::write(data.path().join("claude-mem.db.pre-native.partial"), "half").unwrap();
    drop(data.prepare().unwrap());
    assert_eq!(rows(&look(&data.pre_native()), "SELECT count(*) FROM observations"), ["[Integer(8)]"]);
}

#[test]
fn no_room_for_the_copy_changes_nothing() {
    let Some(data) = DataDir::with("schema-v7-rows.db") else { return };
    let db = look(&data.database());
    let error = precopy::make_once(&db, &data.database(), |_| Ok(1_000)).unwrap_err();
    assert_eq!(error.code, Code::DiskFull);
    let bytes = fs::metadata(data.database()).unwrap().len();
    assert!(error.details.contains(&("freeBytes", Detail::Number(1_000.0))), "{error:?}");
    assert!(error.message.contains(&(bytes * 2).to_string()) && error.message.contains("1000"), "{error}");
    drop(db);
    assert!(data.files().keys().all(|name| !name.contains("pre-native")));
}

/// Each is done to a file of 6.0.2, with its ledger left as it was.
const LIES: [&str; 8] = [
    "ALTER TABLE sdk_sessions DROP COLUMN worker_port",
    "ALTER TABLE sdk_sessions DROP COLUMN prompt_counter",
    "ALTER TABLE session_summaries DROP COLUMN prompt_number",
    "DROP TRIGGER observations_ai; DROP TRIGGER observations_au; DROP TRIGGER observations_ad; DROP TABLE observations_fts;
     ALTER TABLE observations DROP COLUMN subtitle; ALTER TABLE observations DROP COLUMN concepts",
    "DROP TABLE user_prompts_fts; DROP TABLE user_prompts",
    "DROP TRIGGER user_prompts_ai; DROP TABLE user_prompts_fts",
    "DROP INDEX idx_observations_created; DROP INDEX idx_user_prompts_created",
    "DROP TRIGGER session_summaries_ad; DELETE FROM session_summaries WHERE id < 10",
];

#[test]
fn a_ledger_that_lies_is_not_believed() {
    for lie in LIES {
        let Some(data) = DataDir::with("claude-mem-6.0.2.db") else { return };
        data.execute(lie);
        let ledger = rows(&look(&data.database()), "SELECT * FROM schema_versions");
        let db = data.prepare().unwrap();
        assert_complete(&db, lie);
        assert_eq!(rows(&db, "SELECT count(*) FROM observations"), ["[Integer(3496)]"], "{lie}");
        assert_eq!(rows(&db, "SELECT * FROM schema_versions"), ledger, "{lie}");
        let only_search = lie.starts_with("DROP TRIGGER session_summaries");
        assert_eq!(data.pre_native().exists(), !only_search, "{lie}");
    }
}

#[test]
fn an_old_file_that_calls_itself_new_is_not_believed() {
    for name in OLD {
        let Some(data) = DataDir::with(name) else { return };
        data.execute("INSERT OR IGNORE INTO schema_versions(version, applied_at) VALUES (5, ''), (6, ''), (7, ''), (8, ''), (9, ''), (10, '')");
        let before = old_rows(&look(&data.database()));
        let db = data.prepare().unwrap();
        assert_complete(&db, name);
        assert_eq!(old_rows(&db), before, "{name}");
        assert!(data.pre_native().exists(), "{name}");
    }
}

#[test]
fn a_step_that_is_there_but_unrecorded_is_recorded() {
    let Some(data) = DataDir::with("claude-mem-6.0.2.db") else { return };
    data.execute("DELETE FROM schema_versions WHERE version IN (5, 7, 9, 10)");
    let db = data.prepare().unwrap();
    assert_complete(&db, "ledger of 4, 6, 8");
    assert!(!data.pre_native().exists(), "rows in the ledger take nothing from anybody");
}

#[test]
fn a_rebuilt_table_keeps_what_others_have_added() {
    let Some(data) = DataDir::with("schema-v8-rows.db") else { return };
    data.execute(
        "ALTER TABLE observations ADD COLUMN \"Star Rating\" INTEGER NOT NULL DEFAULT 3;
         UPDATE observations SET \"Star Rating\" = id;
         CREATE INDEX theirs ON observations(\"Star Rating\") WHERE id > 2;
         CREATE TABLE seen(id);
         CREATE TRIGGER their_trigger AFTER INSERT ON observations BEGIN INSERT INTO seen VALUES (new.id); END;
         CREATE VIEW their_view AS SELECT id, project FROM observations;",
    );
    let db = data.prepare().unwrap();
    assert_eq!(rows(&db, "SELECT count(*), sum(id = \"Star Rating\") FROM observations"), ["[Integer(8), Integer(8)]"]);
    assert_eq!(rows(&db, "SELECT count(*) FROM seen"), ["[Integer(0)]"], "copying is not inserting");
    assert_eq!(rows(&db, "SELECT count(*) FROM their_view"), ["[Integer(8)]"]);
    assert_eq!(
        rows(&db, "SELECT partial FROM pragma_index_list('observations') WHERE name = 'theirs'"),
        ["[Integer(1)]"]
    );
    db.execute_batch(
        "INSERT INTO observations(sdk_session_id, project, type, created_at, created_at_epoch)
         SELECT sdk_session_id, 'p', 'change', '', 0 FROM observations LIMIT 1",
    )
    .unwrap();
    assert_eq!(rows(&db, "SELECT count(*) FROM seen"), ["[Integer(1)]"]);
    assert_eq!(rows(&db, "SELECT \"Star Rating\" FROM observations ORDER BY id DESC LIMIT 1"), ["[Integer(3)]"]);
}

#[test]
fn tables_of_the_very_first_versions_stay_beside_ours() {
    let data = DataDir::new();
    data.execute("CREATE TABLE memories(id INTEGER PRIMARY KEY, text TEXT); INSERT INTO memories(text) VALUES ('old')");
    let db = data.prepare().unwrap();
    assert_eq!(rows(&db, "SELECT text FROM memories"), ["[Text(\"old\")]"]);
    assert!(data.pre_native().exists());
    db.execute_batch("DROP TABLE memories").unwrap();
    assert_complete(&db, "first versions");
}

#[test]
fn the_copy_is_whole_while_others_write() {
    let Some(data) = DataDir::with("schema-v7-rows.db") else { return };
    let db = prepare(&data.database(), WAIT).unwrap();
    fs::remove_file(data.pre_native()).unwrap();
    let writer = Connection::open(data.database()).unwrap();
    writer.execute_batch("BEGIN IMMEDIATE; DELETE FROM observations").unwrap();
    precopy::make_once(&db, &data.database(), |_| Ok(u64::MAX)).unwrap();
    writer.execute_batch("COMMIT").unwrap();
    let copy = look(&data.pre_native());
    assert_eq!(rows(&copy, "SELECT count(*) FROM observations"), ["[Integer(8)]"]);
    assert_eq!(rows(&copy, "PRAGMA integrity_check"), ["[Text(\"ok\")]"]);
}

#[test]
fn a_lock_that_outlasts_the_wait_is_busy_and_changes_nothing() {
    let Some(data) = DataDir::with("schema-v8-rows.db") else { return };
    let hook = Connection::open(data.database()).unwrap();
    hook.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = prepare(&data.database(), Duration::from_millis(100)).unwrap_err();
    assert_eq!(error.code, Code::Busy);
    assert!(error.message.contains("claude-mem.db"), "{error}");
    hook.execute_batch("ROLLBACK").unwrap();
    assert_eq!(rows(&hook, "SELECT max(version) FROM schema_versions"), ["[Integer(8)]"]);
}

#[test]
fn a_lock_that_ends_in_time_is_waited_for() {
    let Some(data) = DataDir::with("schema-v8-rows.db") else { return };
    let hook = Connection::open(data.database()).unwrap();
    hook.execute_batch("BEGIN IMMEDIATE; UPDATE observations SET project = 'from the hook'").unwrap();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            std::thread::sleep(Duration::from_millis(300));
            hook.execute_batch("COMMIT").unwrap();
        });
        let db = data.prepare().unwrap();
        assert_eq!(rows(&db, "SELECT DISTINCT project FROM observations"), ["[Text(\"from the hook\")]"]);
    });
}

#[test]
fn a_file_in_rollback_mode_is_taken_over() {
    let Some(from) = super::fixture("schema-v9-rows-nofts.db") else { return };
    let data = DataDir::new();
    let mut db = Connection::open(data.database()).unwrap();
    let source = look(&from_copy(&from, &data));
    backup::Backup::new(&source, &mut db).unwrap().step(-1).unwrap();
    let mode: Value = db.query_row("PRAGMA journal_mode=DELETE", [], |row| row.get(0)).unwrap();
    assert_eq!(mode, Value::Text("delete".to_owned()));
    drop(db);
    let db = data.prepare().unwrap();
    assert_complete(&db, "rollback mode");
}

fn from_copy(from: &std::path::Path, data: &DataDir) -> std::path::PathBuf {
    let to = data.path().join("source.db");
    fs::write(&to, fs::read(from).unwrap()).unwrap();
    to
}

#[test]
fn older_tables_of_ours_are_brought_up_with_their_rows() {
    for older in
        ["UPDATE native_ledger SET value = 0 WHERE key = 'format'", "DELETE FROM native_ledger WHERE key = 'format'"]
    {
        let data = DataDir::new();
        drop(data.prepare().unwrap());
        data.execute("INSERT INTO native_ack VALUES (1, 'a', 7); INSERT INTO native_ledger VALUES ('id_floor', 65536)");
        data.execute(older);
        let db = data.prepare().unwrap();
        let ledger = rows(&db, "SELECT key, value FROM native_ledger ORDER BY key");
        assert_eq!(ledger, ["[Text(\"format\"), Integer(1)]", "[Text(\"id_floor\"), Integer(65536)]"], "{older}");
        assert_eq!(rows(&db, "SELECT upto FROM native_ack"), ["[Integer(7)]"], "{older}");
        assert!(!data.pre_native().exists(), "our own tables alone need no copy");
    }
}
