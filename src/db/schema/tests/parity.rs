//! A database of ours equals one of 6.0.2.

use super::{super::prepare, DataDir, WAIT, contract, fixture, look, rows};

#[test]
fn a_new_database_equals_that_of_6_0_2() {
    let Some(reference) = DataDir::with("claude-mem-6.0.2.db") else { return };
    let data = DataDir::new();
    // A directory that is not there yet, and a name that would mean something in a URI.
    let path = data.path().join("100% new?#dir").join("claude-mem.db");
    let db = prepare(&path, WAIT).unwrap();
    let (ours, theirs) = (contract(&db), contract(&look(&reference.database())));
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    for (name, facts) in theirs {
        assert_eq!(ours[&name], facts, "{name}");
    }
    assert_eq!(rows(&db, "SELECT id, version FROM schema_versions").len(), 7);
    assert_eq!(
        rows(&db, "SELECT id, version FROM schema_versions"),
        rows(&look(&reference.database()), "SELECT id, version FROM schema_versions")
    );
    assert_eq!(rows(&db, "PRAGMA journal_mode"), ["[Text(\"wal\")]"]);
    assert_eq!(rows(&db, "PRAGMA foreign_keys"), ["[Integer(1)]"]);
    assert_eq!(rows(&db, "PRAGMA legacy_alter_table"), ["[Integer(0)]"]);
    assert_eq!(std::fs::read_dir(path.parent().unwrap()).unwrap().count(), 3, "the file, its log and its index");
}

#[test]
fn a_database_of_6_0_2_only_gets_our_tables() {
    let Some(data) = DataDir::with("claude-mem-6.0.2.db") else { return };
    let reference = DataDir::with("claude-mem-6.0.2.db").unwrap();
    let db = data.prepare().unwrap();
    assert_eq!(contract(&db), contract(&look(&reference.database())));
    assert_eq!(
        rows(&db, "SELECT name FROM sqlite_master WHERE name LIKE 'native%' AND type = 'table' ORDER BY name"),
        ["[Text(\"native_ack\")]", "[Text(\"native_ledger\")]"]
    );
    assert_eq!(rows(&db, "SELECT count(*) FROM observations"), ["[Integer(3496)]"]);
    assert!(!data.pre_native().exists(), "nothing of theirs was changed");
}

#[test]
fn the_second_open_writes_nothing() {
    let data = DataDir::new();
    drop(data.prepare().unwrap());
    let before = data.files();
    // Somebody writes; an open that needs nothing does not wait for it.
    let writer = rusqlite::Connection::open(data.database()).unwrap();
    writer.execute_batch("BEGIN IMMEDIATE").unwrap();
    drop(prepare(&data.database(), std::time::Duration::ZERO).unwrap());
    drop(writer);
    assert_eq!(data.files(), before);
}

#[test]
fn a_file_of_7_4_5_works_and_keeps_what_is_its_own() {
    let Some(data) = DataDir::with("newer-v7.4.5-fresh.db") else { return };
    let reference = fixture("newer-v7.4.5-fresh.db").unwrap();
    let original = DataDir::new();
    std::fs::copy(reference, original.database()).unwrap();
    let db = data.prepare().unwrap();
    assert_eq!(contract(&db), contract(&look(&original.database())));
    assert_eq!(
        rows(&db, "SELECT * FROM schema_versions"),
        rows(&look(&original.database()), "SELECT * FROM schema_versions")
    );
    assert!(!data.pre_native().exists());
    db.execute_batch(
        "INSERT INTO sdk_sessions(claude_session_id, sdk_session_id, project, started_at, started_at_epoch)
         VALUES ('c', 's', 'p', '', 0);
         INSERT INTO observations(sdk_session_id, project, type, title, created_at, created_at_epoch)
         VALUES ('s', 'p', 'change', 'kept', '', 0);",
    )
    .unwrap();
    assert_eq!(rows(&db, "SELECT rowid FROM observations_fts WHERE observations_fts MATCH 'kept'"), ["[Integer(1)]"]);
}
