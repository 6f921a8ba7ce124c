//! The format of `native/collections.db`: its steps, for [`Format`].
//!
//! - `collections`: `dimensions` numbers in each vector. `model` is the identity of the model that makes them of texts,
//!   as JSON; NULL where every vector is the caller's own. `probes` is what that model makes of a few fixed texts, by
//!   which another of the same name is told from it: little-endian floats; NULL before the first vector. `revision`
//!   grows with each write to its documents, `removed` by the vectors that a write has taken away: whoever has vectors
//!   in memory looks there. `snapshot` says of the file with the graph of its vectors what it has to be, as JSON; NULL
//!   where there never was one. The file may be missing.
//! - `documents`: `key` is never used again, also not for another document of the same id. `revision` is that of the
//!   collection when it was last written. `given` says that the vector is the caller's own, `owed` that it is not made
//!   yet. The text stands last: what comes before it is read without its overflow pages.
//! - `vectors`: 16-bit floats (IEEE binary16, little endian) of unit length; none while one is owed.
//! - `metadata`: each value of a document's metadata by which it can be found, made of `documents.metadata`.

use std::path::Path;

use rusqlite::Connection;

use crate::{
    db::{Database, Format},
    error::Result,
};

/// `STEPS[n]` makes format n + 1 out of format n. A step that was released never changes.
const STEPS: [&str; 3] = [
    "CREATE TABLE collections(
       id INTEGER PRIMARY KEY AUTOINCREMENT,
       name TEXT NOT NULL UNIQUE,
       dimensions INTEGER NOT NULL,
       model TEXT,
       revision INTEGER NOT NULL DEFAULT 0,
       removed INTEGER NOT NULL DEFAULT 0,
       created_at_epoch INTEGER NOT NULL);
     CREATE TABLE documents(
       key INTEGER PRIMARY KEY AUTOINCREMENT,
       collection INTEGER NOT NULL REFERENCES collections(id),
       id TEXT NOT NULL,
       revision INTEGER NOT NULL,
       given INTEGER NOT NULL,
       owed INTEGER NOT NULL,
       created_at_epoch INTEGER NOT NULL,
       updated_at_epoch INTEGER NOT NULL,
       metadata TEXT,
       text TEXT,
       UNIQUE(collection, id));
     CREATE INDEX documents_written ON documents(collection, revision);
     CREATE INDEX documents_owed ON documents(collection) WHERE owed = 1;
     CREATE TABLE vectors(
       key INTEGER PRIMARY KEY REFERENCES documents(key) ON DELETE CASCADE,
       vector BLOB NOT NULL);
     CREATE TABLE metadata(
       collection INTEGER NOT NULL,
       name TEXT NOT NULL,
       type INTEGER NOT NULL,
       value,
       key INTEGER NOT NULL,
       PRIMARY KEY(collection, name, type, value, key)) WITHOUT ROWID;",
    "ALTER TABLE collections ADD COLUMN probes BLOB;",
    "ALTER TABLE collections ADD COLUMN snapshot TEXT;",
];

/// The tables.
pub const TABLES: [&str; 4] = ["collections", "documents", "vectors", "metadata"];

/// See [`Format`].
const FORMAT: Format = Format { steps: &STEPS, fresh: "no collections" };

/// Opens `collections.db` read-write in today's format, creating it where it is missing.
///
/// # Errors
/// As [`Format::open`].
pub fn open(path: &Path, secure_delete: bool) -> Result<Database> {
    FORMAT.open(path, secure_delete)
}

/// An empty `collections.db` in memory, for whoever reads one that is missing.
///
/// # Errors
/// What SQLite answers.
pub fn stand_in() -> Result<Database> {
    FORMAT.stand_in()
}

/// Whether an open `collections.db` can be read as it is; not yet where somebody is just creating it.
///
/// # Errors
/// As [`Format::is_ready`].
pub fn is_ready(db: &Connection, path: &Path) -> Result<bool> {
    FORMAT.is_ready(db, path)
}
