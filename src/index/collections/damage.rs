//! What a check looks for in `native/collections.db` beyond SQLite's own checks.

use rusqlite::Connection;

use super::{documents::Metadata, reading, storage};
use crate::{error::Result, index::vectors::vector};

/// The table `metadata` is not what the documents say.
pub const METADATA_DIFFERS: &str = "metadata-differs";
/// A stored vector is none.
pub const VECTOR_DAMAGED: &str = "vector-damaged";

/// Keys that one finding names at most.
const SHOWN: usize = 20;

/// One thing that is not as it should be.
#[derive(Debug, PartialEq, Eq)]
pub struct Damage {
    /// What kind of thing.
    pub kind: &'static str,
    /// The table.
    pub table: &'static str,
    /// What was found.
    pub message: String,
    /// How many rows.
    pub count: i64,
    /// Keys of the first of them.
    pub keys: Vec<i64>,
    /// Whether it can be made again.
    pub derived: bool,
}

/// Keys as they are found.
#[derive(Default)]
struct Keys {
    count: i64,
    first: Vec<i64>,
}

impl Keys {
    fn add(&mut self, key: i64) {
        self.count += 1;
        if self.first.len() < SHOWN {
            self.first.push(key);
        }
    }

    fn damage(self, kind: &'static str, table: &'static str, what: &str, derived: bool) -> Option<Damage> {
        let Self { count, first: keys } = self;
        (count > 0).then(|| Damage { kind, table, message: format!("{count} {what}"), count, keys, derived })
    }
}

/// Looks at every document: its metadata, and the table by which it is found; its vector, or that it is owed.
///
/// # Errors
/// What SQLite answers.
pub fn find(db: &Connection) -> Result<Vec<Damage>> {
    let (mut not_json, mut differs, mut lacks) = (Keys::default(), Keys::default(), Keys::default());
    let mut documents = db.prepare(
        "SELECT d.collection, d.key, d.metadata, d.owed = 0 AND NOT EXISTS (SELECT 1 FROM vectors v WHERE v.key = d.key)
         FROM documents d",
    )?;
    let mut known = db.prepare(
        "SELECT 1 FROM metadata WHERE collection = ?1 AND name = ?2 AND type = ?3 AND value = ?4 AND key = ?5",
    )?;
    let (mut rows, mut values) = (documents.query([])?, 0_i64);
    while let Some(row) = rows.next()? {
        let (collection, key): (i64, i64) = (row.get(0)?, row.get(1)?);
        if row.get(3)? {
            lacks.add(key);
        }
        let Some(text) = row.get_ref(2)?.as_str_or_null().ok().flatten() else { continue };
        if !serde_json::from_str::<serde_json::Value>(text).is_ok_and(|value| value.is_object()) {
            not_json.add(key);
            continue;
        }
        let metadata = Metadata::of_json(text);
        let mut all = true;
        for (name, value) in metadata.values() {
            let bound: rusqlite::types::Value = value.clone().into();
            all &= known.exists(rusqlite::params![collection, name, value.rank(), bound, key])?;
            values += 1;
        }
        if !all {
            differs.add(key);
        }
    }
    let stored: i64 = db.query_row("SELECT count(*) FROM metadata", [], |row| row.get(0))?;
    if stored > values {
        // Of what is gone, or was another once.
        differs.count += stored - values;
    }
    let mut damaged = Keys::default();
    damaged_vectors(db, |key, _| damaged.add(key))?;
    Ok([
        not_json.damage("metadata-damaged", "documents", "documents have metadata that is no JSON object", false),
        differs.damage(
            METADATA_DIFFERS,
            "metadata",
            "documents or values are not in the index of the metadata as they should be",
            true,
        ),
        damaged.damage(VECTOR_DAMAGED, "vectors", "vectors are damaged, and not compared with anything", true),
        lacks.damage("vector-missing", "vectors", "documents have no vector, although none is owed", false),
    ]
    .into_iter()
    .flatten()
    .collect())
}

/// Shows each vector that is none, with the collection of its document. One of another length is none where it was made
/// of a text: those that were handed over may be from before the model changed.
fn damaged_vectors(db: &Connection, mut found: impl FnMut(i64, i64)) -> Result<()> {
    let mut vectors = db.prepare(
        "SELECT v.key, v.vector, d.given, c.dimensions, c.id FROM vectors v JOIN documents d ON d.key = v.key
         JOIN collections c ON c.id = d.collection",
    )?;
    let mut rows = vectors.query([])?;
    while let Some(row) = rows.next()? {
        let blob = row.get_ref(1)?.as_blob().unwrap_or_default();
        let dimensions = usize::try_from(row.get::<_, i64>(3)?).unwrap_or(0);
        let dimensions = if row.get(2)? && !blob.is_empty() { blob.len() / 2 } else { dimensions };
        if vector::from_blob(blob, dimensions).is_err() {
            found(row.get(0)?, row.get(4)?);
        }
    }
    Ok(())
}

/// Has damaged vectors owed, where they can be made of a text; answers how many.
///
/// # Errors
/// What SQLite answers.
pub fn owe_damaged_vectors(db: &Connection) -> Result<usize> {
    let mut damaged = Vec::new();
    damaged_vectors(db, |key, collection| damaged.push((key, collection)))?;
    let mut owed = 0;
    for info in reading::all(db)? {
        let keys: Vec<i64> =
            damaged.iter().filter(|(_, collection)| *collection == info.id).map(|(key, _)| *key).collect();
        if !keys.is_empty() && info.space.model().is_some() {
            owed += storage::owe(db, info.id, &keys)?;
        }
    }
    Ok(owed)
}
