//! A process that dies at any point of a migration leaves a file that the next open completes.

use std::{
    process::{Command, Stdio},
    time::Duration,
};

use super::{DataDir, WAIT, contract, fixture, look, old_rows, rows};

/// Where a child process finds the database that it is to prepare.
const DATABASE: &str = "CLAUDE_MEM_NATIVE_TEST_PREPARE";

/// Every point at which the child can be killed.
const POINTS: [&str; 10] = [
    "schema-copy",
    "schema-step-4",
    "schema-step-5",
    "schema-step-6",
    "schema-step-7",
    "schema-step-8",
    "schema-step-9",
    "schema-step-10",
    "schema-step-search",
    "schema-step-native",
];

/// The body of the child process; passes at once in an ordinary run.
#[test]
fn child_that_prepares() {
    let Some(database) = std::env::var_os(DATABASE) else { return };
    drop(super::super::prepare(database.as_ref(), WAIT).unwrap());
}

/// A child process that prepares the database.
fn child(data: &DataDir) -> Command {
    let mut child = Command::new(std::env::current_exe().unwrap());
    child.args(["--exact", "db::schema::tests::interrupted::child_that_prepares"]);
    child.env(DATABASE, data.database()).stdout(Stdio::null()).stderr(Stdio::null());
    child
}

/// Whether the child reached `point`, and died there.
fn killed_at(point: &str, data: &DataDir) -> bool {
    !child(data).env("CLAUDE_MEM_NATIVE_FAULT", format!("{point}=abort")).status().unwrap().success()
}

#[test]
fn a_migration_is_completed_from_wherever_it_stopped() {
    let Some(_) = fixture("schema-v4-rows.db") else { return };
    let wanted = {
        let data = DataDir::with("schema-v4-rows.db").unwrap();
        contract(&data.prepare().unwrap())
    };
    for point in POINTS {
        let data = DataDir::with("schema-v4-rows.db").unwrap();
        let before = old_rows(&look(&data.database()));
        let killed = killed_at(point, &data);
        assert_eq!(killed, point != "schema-step-4", "step 4 was done already: {point}");
        let copy = data.pre_native().exists().then(|| std::fs::read(data.pre_native()).unwrap());
        assert!(copy.is_some(), "{point}");
        let db = data.prepare().unwrap();
        assert_eq!(contract(&db), wanted, "{point}");
        assert_eq!(old_rows(&db), before, "{point}");
        assert_eq!(rows(&db, "SELECT version FROM schema_versions").len(), 7, "{point}");
        assert_eq!(std::fs::read(data.pre_native()).ok(), copy, "{point}: the copy stays that of the first start");
    }
}

#[test]
fn each_step_has_a_transaction_of_its_own() {
    let Some(data) = DataDir::with("schema-v4-rows.db") else { return };
    assert!(killed_at("schema-step-8", &data));
    let db = look(&data.database());
    assert_eq!(rows(&db, "SELECT max(version) FROM schema_versions"), ["[Integer(7)]"]);
    assert_eq!(
        rows(&db, "SELECT count(*) FROM pragma_table_info('observations') WHERE name = 'title'"),
        ["[Integer(0)]"]
    );
    assert_eq!(
        rows(&db, "SELECT count(*) FROM pragma_table_info('observations') WHERE name = 'prompt_number'"),
        ["[Integer(1)]"]
    );
}

#[test]
fn a_new_database_appears_as_a_whole() {
    for point in ["schema-step-4", "schema-step-9", "schema-step-native"] {
        let data = DataDir::new();
        assert!(killed_at(point, &data), "{point}");
        assert_eq!(rows(&look(&data.database()), "SELECT name FROM sqlite_master"), [""; 0], "{point}");
        let db = data.prepare().unwrap();
        assert_eq!(rows(&db, "SELECT version FROM schema_versions").len(), 7, "{point}");
        assert!(!data.pre_native().exists(), "{point}");
    }
}

#[test]
fn a_migration_that_is_killed_again_and_again_loses_nothing() {
    let Some(_) = fixture("schema-v4-rows.db") else { return };
    let (mut data, mut before) = (DataDir::new(), None);
    let mut killed = 0;
    for round in 0..60 {
        let before = before.get_or_insert_with(|| {
            data = DataDir::with("schema-v4-rows.db").unwrap();
            old_rows(&look(&data.database()))
        });
        let mut child = child(&data).spawn().unwrap();
        std::thread::sleep(Duration::from_micros(round % 30 * 700));
        child.kill().unwrap();
        if child.wait().unwrap().success() {
            // This one was through: what it left must be whole, and the next starts anew.
            assert_eq!(old_rows(&data.prepare().unwrap()), *before, "round {round}");
            data = DataDir::with("schema-v4-rows.db").unwrap();
        } else {
            killed += 1;
            assert_eq!(old_rows(&look(&data.database())), *before, "round {round}");
        }
    }
    let db = data.prepare().unwrap();
    assert_eq!(Some(old_rows(&db)), before);
    assert_eq!(rows(&db, "PRAGMA integrity_check"), ["[Text(\"ok\")]"]);
    assert_eq!(rows(&look(&data.pre_native()), "PRAGMA integrity_check"), ["[Text(\"ok\")]"]);
    eprintln!("{killed} of 60 were killed on the way");
}
