//! The reference database, for tests.

use rusqlite::Connection;

/// A copy of it, gone with the directory; `None`, and a printed reason, where it is not at hand.
pub(super) fn database() -> Option<(tempfile::TempDir, Connection)> {
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/../shared/fixtures/claude-mem-6.0.2.db");
    if !std::path::Path::new(source).exists() {
        eprintln!("skipped: {source} is not there");
        return None;
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("claude-mem.db");
    std::fs::copy(source, &path).unwrap();
    let db = Connection::open(&path).unwrap();
    db.execute_batch("PRAGMA foreign_keys=ON").unwrap();
    Some((directory, db))
}
