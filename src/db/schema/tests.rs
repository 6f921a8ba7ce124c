//! Everything here runs on files; those made by claude-mem itself lie beside the repository, and the tests
//! that need them say so where they are absent.

mod foreign;
mod interrupted;
mod migration;
mod parity;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, types::Value};

/// Long enough for a machine that is busy.
const WAIT: Duration = Duration::from_secs(10);

/// A fixture's path; prints why the test is skipped where it is absent.
fn fixture(name: &str) -> Option<PathBuf> {
    let path = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/fixtures")).join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: {} is not here", path.display());
    None
}

/// A data directory of its own, which goes with the value.
struct DataDir {
    directory: tempfile::TempDir,
}

impl DataDir {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    /// One with a copy of the fixture as its database.
    fn with(name: &str) -> Option<Self> {
        let from = fixture(name)?;
        let data = Self::new();
        fs::write(data.database(), fs::read(from).unwrap()).unwrap();
        Some(data)
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    fn database(&self) -> PathBuf {
        self.path().join("claude-mem.db")
    }

    fn pre_native(&self) -> PathBuf {
        self.path().join("claude-mem.db.pre-native")
    }

    fn prepare(&self) -> crate::error::Result<crate::db::Database> {
        super::prepare(&self.database(), WAIT)
    }

    /// Every file, with its bytes.
    fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let entries = fs::read_dir(self.path()).unwrap().map(|entry| entry.unwrap().path());
        entries
            .map(|path| (path.file_name().unwrap().to_string_lossy().into_owned(), fs::read(path).unwrap()))
            .collect()
    }

    fn execute(&self, sql: &str) {
        let db = Connection::open(self.database()).unwrap();
        db.execute_batch("PRAGMA foreign_keys=OFF").unwrap();
        db.execute_batch(sql).unwrap();
    }
}

/// All rows of a query as text, one a line.
fn rows(db: &Connection, sql: &str) -> Vec<String> {
    let mut statement = db.prepare(sql).unwrap();
    let width = statement.column_count();
    let rows = statement.query_map([], |row| {
        let cells: rusqlite::Result<Vec<Value>> = (0..width).map(|column| row.get(column)).collect();
        Ok(format!("{:?}", cells?))
    });
    rows.unwrap().collect::<rusqlite::Result<_>>().unwrap()
}

/// The facts that must agree with 6.0.2, object by object. Statements of triggers and virtual tables are
/// compared by their tokens.
fn contract(db: &Connection) -> BTreeMap<String, Vec<String>> {
    let ours = "name NOT LIKE 'native\\_%' ESCAPE '\\'";
    let tables: Vec<String> = db
        .prepare(&format!("SELECT name FROM sqlite_master WHERE type = 'table' AND {ours} ORDER BY name"))
        .unwrap()
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<rusqlite::Result<_>>()
        .unwrap();
    let mut facts = BTreeMap::new();
    for table in tables {
        let columns = format!("FROM pragma_table_xinfo('{table}')");
        let indexes = format!(
            "FROM pragma_index_list('{table}') AS list, pragma_index_xinfo(list.name) AS info ORDER BY list.name, info.seqno"
        );
        for (fact, sql) in [
            ("columns", format!("SELECT name, type, \"notnull\", dflt_value, pk, hidden {columns}")),
            ("column places", format!("SELECT name, cid {columns}")),
            (
                "indexes",
                format!(
                    "SELECT list.name, list.\"unique\", list.origin, list.partial, info.seqno, info.name, info.\"desc\",
                     info.coll, info.key {indexes}"
                ),
            ),
            ("index places", format!("SELECT list.name, info.cid {indexes}")),
            ("foreign keys", format!("SELECT * FROM pragma_foreign_key_list('{table}')")),
        ] {
            facts.insert(format!("{table}: {fact}"), rows(db, &sql));
        }
    }
    let mut statements = db
        .prepare(
            "SELECT name, sql FROM sqlite_master WHERE type = 'trigger' OR sql LIKE 'CREATE VIRTUAL%' ORDER BY name",
        )
        .unwrap();
    let statements = statements.query_map([], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?))).unwrap();
    for (name, sql) in statements.map(Result::unwrap) {
        facts.insert(format!("{name}: statement"), tokens(&sql));
    }
    facts
}

/// Words and marks of a statement, without case and white space.
fn tokens(sql: &str) -> Vec<String> {
    let mut tokens = vec![String::new()];
    for char in sql.to_lowercase().chars() {
        let word = char.is_alphanumeric() || char == '_';
        if !word || !tokens.last().is_some_and(|last| last.chars().all(|char| char.is_alphanumeric() || char == '_')) {
            tokens.push(String::new());
        }
        if !char.is_whitespace()
            && let Some(last) = tokens.last_mut()
        {
            last.push(char);
        }
    }
    tokens.retain(|token| !token.is_empty());
    tokens
}

/// Every row of claude-mem's tables with the columns of step 4, which no step may touch.
fn old_rows(db: &Connection) -> BTreeMap<&'static str, Vec<String>> {
    super::tables::TABLES
        .into_iter()
        .filter(|table| table.since == 4 && table.name != "schema_versions")
        .map(|table| {
            let columns: Vec<_> =
                table.columns.iter().filter(|column| column.since == 4).map(|column| column.name).collect();
            (table.name, rows(db, &format!("SELECT {} FROM {} ORDER BY id", columns.join(", "), table.name)))
        })
        .collect()
}

/// Opens for reading only, as a test that must not disturb what it looks at.
fn look(path: &Path) -> Connection {
    Connection::open_with_flags(path, rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap()
}
