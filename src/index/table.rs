//! The SQL of `rows` and `documents`. Plain functions on the write connection, inside a transaction of its thread.

use std::collections::HashMap;

use rusqlite::{Connection, OptionalExtension, ToSql, params, params_from_iter};

use super::{
    document::{DocumentId, Field, Kind, RowKey},
    row::{Hash, SourceRow, text_hash},
    text, vectors,
};
use crate::error::{Code, Error, Result};

/// What a transaction changed, for whoever keeps figures and vectors in memory.
#[derive(Debug, Default)]
pub struct Changes {
    /// Rows added, less rows deleted.
    pub rows: i64,
    /// Documents added, less documents deleted.
    pub documents: i64,
    /// Vectors owed more, or fewer.
    pub owed: i64,
    /// Ids of documents that are gone.
    pub gone: Vec<i64>,
    /// Documents that have got a vector: id, row, and the vector as it is stored.
    pub placed: Vec<(i64, RowKey, Vec<u8>)>,
}

/// A document as it is stored.
struct Stored {
    id: i64,
    text_hash: Hash,
    vector: Option<Vec<u8>>,
}

/// Makes what the index has of a row what the row is now.
///
/// # Errors
/// What SQLite answers.
pub fn put(db: &Connection, row: &SourceRow, changes: &mut Changes) -> Result<()> {
    let (key, kind) = (row.key(), row.kind.code());
    let known = db.prepare_cached("SELECT 1 FROM rows WHERE key = ?1")?.exists([key.0])?;
    let mut values: Vec<&dyn ToSql> = vec![&key.0, &kind, &row.id];
    values.extend(row.filters().iter().map(|value| value as &dyn ToSql));
    values.push(&row.hash);
    db.prepare_cached(
        "INSERT OR REPLACE INTO rows(key, kind, id, project, type, concepts, files_read, files_modified, sdk_session_id,
           prompt_number, created_at_epoch, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
    )?
    .execute(params_from_iter(values))?;
    changes.rows += i64::from(!known);
    row.index_texts(db)?;
    put_documents(db, row, changes)
}

fn put_documents(db: &Connection, row: &SourceRow, changes: &mut Changes) -> Result<()> {
    let key = row.key();
    let mut stored = stored(db, key)?;
    let removed = removed(db, key)?;
    let mut wanted = Vec::new();
    for document in row.documents() {
        let (place, hash) = ((document.field.code(), document.part), text_hash(&document.text));
        match stored.get(&place) {
            Some(known) if known.text_hash == hash => drop(stored.remove(&place)),
            _ if removed.get(&place) == Some(&hash) => {}
            _ => wanted.push((place, hash)),
        }
        if removed.get(&place).is_some_and(|removed| *removed != hash) {
            restore(db, key, place)?;
        }
    }
    // A text that has only moved, as facts do when another is put before them, keeps its vector.
    let mut vectors: HashMap<Hash, Vec<u8>> = HashMap::new();
    for gone in stored.into_values() {
        delete_document(db, gone.id, gone.vector.is_none(), changes)?;
        if let Some(vector) = gone.vector {
            vectors.insert(gone.text_hash, vector);
        }
    }
    let mut insert = db
        .prepare_cached("INSERT INTO documents(row_key, field, part, text_hash, vector) VALUES (?1, ?2, ?3, ?4, ?5)")?;
    for ((field, part), hash) in wanted {
        let vector = vectors.get(&hash);
        let id = insert.insert(params![key.0, field, part, hash, vector])?;
        changes.documents += 1;
        match vector {
            Some(vector) => changes.placed.push((id, key, vector.clone())),
            None => changes.owed += 1,
        }
    }
    Ok(())
}

fn stored(db: &Connection, key: RowKey) -> Result<HashMap<(i64, u32), Stored>> {
    let mut statement =
        db.prepare_cached("SELECT field, part, id, text_hash, vector FROM documents WHERE row_key = ?1")?;
    let found = statement.query_map([key.0], |row| {
        let stored = Stored { id: row.get(2)?, text_hash: row.get(3)?, vector: row.get(4)? };
        Ok(((row.get(0)?, row.get(1)?), stored))
    })?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

fn removed(db: &Connection, key: RowKey) -> Result<HashMap<(i64, u32), Hash>> {
    let mut statement = db.prepare_cached("SELECT field, part, text_hash FROM removed WHERE row_key = ?1")?;
    let found = statement.query_map([key.0], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

fn restore(db: &Connection, key: RowKey, (field, part): (i64, u32)) -> Result<()> {
    db.prepare_cached("DELETE FROM removed WHERE row_key = ?1 AND field = ?2 AND part = ?3")?
        .execute(params![key.0, field, part])?;
    Ok(())
}

fn delete_document(db: &Connection, id: i64, owed: bool, changes: &mut Changes) -> Result<()> {
    db.prepare_cached("DELETE FROM documents WHERE id = ?1")?.execute([id])?;
    changes.gone.push(id);
    changes.documents -= 1;
    changes.owed -= i64::from(owed);
    Ok(())
}

/// Forgets a row with all that was made of it.
///
/// # Errors
/// What SQLite answers.
pub fn delete(db: &Connection, key: RowKey, changes: &mut Changes) -> Result<()> {
    for stored in stored(db, key)?.into_values() {
        delete_document(db, stored.id, stored.vector.is_none(), changes)?;
    }
    db.prepare_cached("DELETE FROM removed WHERE row_key = ?1")?.execute([key.0])?;
    text::remove(db, key)?;
    let deleted = db.prepare_cached("DELETE FROM rows WHERE key = ?1")?.execute([key.0])?;
    changes.rows -= i64::try_from(deleted).unwrap_or(0);
    Ok(())
}

/// Takes a document out until its text changes; whether it was there.
///
/// # Errors
/// What SQLite answers.
pub fn remove_document(db: &Connection, document: DocumentId, changes: &mut Changes) -> Result<bool> {
    let Some((id, owed, _)) = find(db, document)? else { return Ok(false) };
    db.prepare_cached(
        "INSERT OR REPLACE INTO removed(row_key, field, part, text_hash)
         SELECT row_key, field, part, text_hash FROM documents WHERE id = ?1",
    )?
    .execute([id])?;
    delete_document(db, id, owed, changes)?;
    Ok(true)
}

/// The id of a document, whether its vector is owed, and the hash of its text.
///
/// # Errors
/// What SQLite answers.
pub fn find(db: &Connection, document: DocumentId) -> Result<Option<(i64, bool, Hash)>> {
    Ok(db
        .prepare_cached(
            "SELECT id, vector IS NULL, text_hash FROM documents WHERE row_key = ?1 AND field = ?2 AND part = ?3",
        )?
        .query_row(params![document.row().0, document.field.code(), document.part], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()?)
}

/// Stores the vector of a document that owes one; whether it did.
///
/// # Errors
/// What SQLite answers.
pub fn set_vector(db: &Connection, id: i64, vector: Vec<u8>, changes: &mut Changes) -> Result<bool> {
    let row: Option<i64> = db
        .prepare_cached("UPDATE documents SET vector = ?2 WHERE id = ?1 AND vector IS NULL RETURNING row_key")?
        .query_row(params![id, vector], |row| row.get(0))
        .optional()?;
    if let Some(row) = row {
        changes.owed -= 1;
        changes.placed.push((id, RowKey(row), vector));
    }
    Ok(row.is_some())
}

/// As [`set_vector`], where the document's text still is the one with this hash.
///
/// # Errors
/// What SQLite answers.
pub fn set_vector_of(db: &Connection, id: i64, text: &Hash, vector: Vec<u8>, changes: &mut Changes) -> Result<bool> {
    let same =
        db.prepare_cached("SELECT 1 FROM documents WHERE id = ?1 AND text_hash = ?2")?.exists(params![id, text])?;
    if same { set_vector(db, id, vector, changes) } else { Ok(false) }
}

/// Stores another vector for a document that has one: under a new id. False where there is no document of this id.
///
/// # Errors
/// What SQLite answers.
pub fn replace_vector(db: &Connection, id: i64, vector: Vec<u8>, changes: &mut Changes) -> Result<bool> {
    let found: Option<(i64, i64, u32, Hash, bool)> = db
        .prepare_cached("SELECT row_key, field, part, text_hash, vector IS NULL FROM documents WHERE id = ?1")?
        .query_row([id], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?)))
        .optional()?;
    let Some((key, field, part, hash, owed)) = found else { return Ok(false) };
    delete_document(db, id, owed, changes)?;
    let id = db
        .prepare_cached("INSERT INTO documents(row_key, field, part, text_hash, vector) VALUES (?1, ?2, ?3, ?4, ?5)")?
        .insert(params![key, field, part, hash, vector])?;
    changes.documents += 1;
    changes.placed.push((id, RowKey(key), vector));
    Ok(true)
}

/// Has every vector be owed again, each document under a new id.
///
/// # Errors
/// What SQLite answers.
pub fn disown_vectors(db: &Connection, changes: &mut Changes) -> Result<()> {
    let mut statement = db.prepare_cached("SELECT id FROM documents WHERE vector IS NOT NULL")?;
    let ids: Vec<i64> = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    let mut copy = db.prepare_cached(
        "INSERT INTO documents(row_key, field, part, text_hash) SELECT row_key, -field, part, text_hash FROM documents
         WHERE id = ?1",
    )?;
    for id in ids {
        // The old one still holds the place: the copy stands beside it for a moment.
        copy.execute([id])?;
        delete_document(db, id, false, changes)?;
        changes.documents += 1;
        changes.owed += 1;
    }
    db.execute("UPDATE documents SET field = -field WHERE field < 0", [])?;
    Ok(())
}

/// One document that owes its vector.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    /// Its id.
    pub id: i64,
    /// Its name.
    pub document: DocumentId,
    /// The hash of the text that is to be embedded.
    pub text_hash: Hash,
}

/// Documents that owe their vectors, newest first.
///
/// # Errors
/// What SQLite answers.
pub fn owed(db: &Connection, limit: usize) -> Result<Vec<Owed>> {
    let mut statement = db.prepare_cached(
        "SELECT id, row_key, field, part, text_hash FROM documents WHERE vector IS NULL ORDER BY id DESC LIMIT ?1",
    )?;
    let found = statement.query_map([i64::try_from(limit).unwrap_or(i64::MAX)], |row| {
        Ok((row.get(0)?, RowKey(row.get(1)?), row.get(2)?, row.get(3)?, row.get(4)?))
    })?;
    let mut owed = Vec::new();
    for document in found {
        let (id, key, field, part, text_hash) = document?;
        if let Some(field) = Field::of_code(field) {
            owed.push(Owed { id, document: DocumentId { row_id: key.row_id(), field, part }, text_hash });
        }
    }
    Ok(owed)
}

/// How much there is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lines of `rows`.
    pub rows: i64,
    /// Documents.
    pub documents: i64,
    /// Those without a vector.
    pub owed: i64,
}

impl Counts {
    /// Takes changes in.
    pub const fn add(&mut self, changes: &Changes) {
        self.rows += changes.rows;
        self.documents += changes.documents;
        self.owed += changes.owed;
    }
}

/// # Errors
/// What SQLite answers.
pub fn counts(db: &Connection) -> Result<Counts> {
    Ok(db.query_row(
        "SELECT (SELECT count(*) FROM rows), (SELECT count(*) FROM documents),
           (SELECT count(*) FROM documents WHERE vector IS NULL)",
        [],
        |row| Ok(Counts { rows: row.get(0)?, documents: row.get(1)?, owed: row.get(2)? }),
    )?)
}

/// How many rows of a kind there are, and the highest number; 0 where there is none.
///
/// # Errors
/// What SQLite answers.
pub fn extent(db: &Connection, kind: Kind) -> Result<(i64, i64)> {
    Ok(db
        .prepare_cached("SELECT count(*), coalesce(max(id), 0) FROM rows WHERE kind = ?1")?
        .query_row([kind.code()], |row| Ok((row.get(0)?, row.get(1)?)))?)
}

/// The numbers and hashes of a kind's rows above `after`, up to `upto`, in order.
///
/// # Errors
/// What SQLite answers.
pub fn hashes(db: &Connection, kind: Kind, after: i64, upto: i64) -> Result<Vec<(i64, Hash)>> {
    let mut statement =
        db.prepare_cached("SELECT id, hash FROM rows WHERE key > ?1 AND key <= ?2 AND kind = ?3 ORDER BY key")?;
    // The keys of a number's three kinds lie beside each other.
    let (low, high) = (RowKey::new(kind, after).0, RowKey::new(kind, upto.min((1 << 61) - 1)).0);
    let found = statement.query_map(params![low, high, kind.code()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(found.collect::<rusqlite::Result<_>>()?)
}

/// Merges the segments of the text indexes into one each, so that what was deleted leaves its bytes too.
///
/// # Errors
/// What SQLite answers.
pub fn merge_texts(db: &Connection) -> Result<()> {
    for index in ["words", "pieces"] {
        db.execute(&format!("INSERT INTO {index}({index}) VALUES ('optimize')"), [])?;
    }
    Ok(())
}

/// A note in `meta`.
///
/// # Errors
/// What SQLite answers.
pub fn note(db: &Connection, name: &str) -> Result<Option<String>> {
    Ok(db.prepare_cached("SELECT value FROM meta WHERE name = ?1")?.query_row([name], |row| row.get(0)).optional()?)
}

/// Writes a note in `meta`, or takes it away.
///
/// # Errors
/// What SQLite answers.
pub fn set_note(db: &Connection, name: &str, value: Option<&str>) -> Result<()> {
    match value {
        Some(value) => db
            .prepare_cached("INSERT OR REPLACE INTO meta(name, value) VALUES (?1, ?2)")?
            .execute(params![name, value])?,
        None => db.prepare_cached("DELETE FROM meta WHERE name = ?1")?.execute([name])?,
    };
    Ok(())
}

/// Shows every vector.
///
/// # Errors
/// What SQLite answers, and `visit`.
pub fn each_vector(db: &Connection, visit: &mut dyn FnMut(vectors::Row<'_>) -> Result<()>) -> Result<()> {
    let mut statement = db.prepare_cached("SELECT id, row_key, vector FROM documents WHERE vector IS NOT NULL")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        visit_vector(row, visit)?;
    }
    Ok(())
}

/// Shows the vector of a row of `id, row_key, vector`.
///
/// # Errors
/// What SQLite answers, and `visit`.
pub fn visit_vector(row: &rusqlite::Row<'_>, visit: &mut dyn FnMut(vectors::Row<'_>) -> Result<()>) -> Result<()> {
    let blob = row.get_ref(2)?;
    let blob = blob.as_blob().map_err(|_| Error::new(Code::Corrupt, "a stored vector is no BLOB; index again"))?;
    visit(vectors::Row { id: row.get(0)?, group: row.get(1)?, blob })
}

/// The stored vector of a document; `None` where it has none.
///
/// # Errors
/// What SQLite answers.
pub fn vector(db: &Connection, document: DocumentId) -> Result<Option<Vec<u8>>> {
    let found: Option<Option<Vec<u8>>> = db
        .prepare_cached("SELECT vector FROM documents WHERE row_key = ?1 AND field = ?2 AND part = ?3")?
        .query_row(params![document.row().0, document.field.code(), document.part], |row| row.get(0))
        .optional()?;
    Ok(found.flatten())
}
