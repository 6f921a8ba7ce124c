//! What is written to `native/collections.db`. Plain functions on its write connection, inside the writer's transaction.

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    documents::{Metadata, NewDocument, Scalar},
    identity,
    reading::{self, Info},
};
use crate::{
    error::{Code, Error, Result},
    index::vectors::vector,
};

/// What makes the vectors of a collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Space {
    /// The model with this identity, as JSON, of texts.
    Model {
        /// See `collections.model`.
        identity: String,
        /// Numbers in a vector.
        dimensions: usize,
    },
    /// The caller, whatever of.
    Given {
        /// Numbers in a vector.
        dimensions: usize,
    },
}

impl Space {
    /// Numbers in a vector.
    #[must_use]
    pub const fn dimensions(&self) -> usize {
        match self {
            Self::Model { dimensions, .. } | Self::Given { dimensions } => *dimensions,
        }
    }

    /// The identity of the model, as JSON.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        match self {
            Self::Model { identity, .. } => Some(identity),
            Self::Given { .. } => None,
        }
    }
}

/// What an upsert has stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stored {
    /// How many documents.
    pub documents: usize,
    /// Keys of those whose vectors are to be made.
    pub owed: Vec<i64>,
}

/// Makes the collection, where there is none of this name.
///
/// # Errors
/// `ERR_INVALID_ARG` where there is one with other vectors.
pub fn create(db: &Connection, name: &str, space: &Space, now: i64) -> Result<Info> {
    if let Some(found) = reading::find(db, name)? {
        let own = |model: Option<&str>| if model.is_some() { "of the model's" } else { "of your own" };
        if found.space.dimensions() == space.dimensions() && found.space.model().is_some() == space.model().is_some() {
            return Ok(found);
        }
        let message = format!(
            "there is a collection '{name}' with vectors of {} numbers {}, not of {} numbers {}; drop it, or use another \
             name",
            found.space.dimensions(),
            own(found.space.model()),
            space.dimensions(),
            own(space.model()),
        );
        return Err(Error::invalid(message).with("argument", "name"));
    }
    let dimensions = i64::try_from(space.dimensions()).unwrap_or(i64::MAX);
    db.prepare_cached("INSERT INTO collections(name, dimensions, model, created_at_epoch) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![name, dimensions, space.model(), now])?;
    reading::find(db, name)?.ok_or_else(|| Error::internal("a new collection is not there"))
}

/// Stores the documents, each as it is given: one that is there already is replaced, and keeps its place.
///
/// # Errors
/// `ERR_INVALID_ARG` for a vector of another length, `ERR_NO_MODEL` for a text without a vector where none can be made.
pub fn upsert(db: &Connection, collection: &Info, documents: &[NewDocument], now: i64) -> Result<Stored> {
    let dimensions = collection.space.dimensions();
    let revision = next_revision(db, collection.id)?;
    let mut stored = Stored { documents: documents.len(), owed: Vec::new() };
    let mut removed = 0;
    let mut find = db.prepare_cached(
        "SELECT key, metadata, given = 0 AND text IS ?3, owed FROM documents WHERE collection = ?1 AND id = ?2",
    )?;
    let mut insert = db.prepare_cached(
        "INSERT INTO documents(collection, id, revision, given, owed, created_at_epoch, updated_at_epoch, metadata, text)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?6, ?7, ?8) RETURNING key",
    )?;
    let mut replace = db.prepare_cached(
        "UPDATE documents SET revision = ?2, given = ?3, owed = ?4, updated_at_epoch = ?5, metadata = ?6, text = ?7
         WHERE key = ?1",
    )?;
    for (number, document) in documents.iter().enumerate() {
        let given = document.vector.is_some();
        match &document.vector {
            Some(vector) if vector.len() != dimensions => return Err(wrong_length(collection, number, vector.len())),
            None if collection.space.model().is_none() => return Err(without_vector(collection, number)),
            _ => {}
        }
        let metadata = document.metadata.as_ref().map(Metadata::to_json);
        type Known = (i64, Option<String>, bool, bool);
        let known: Option<Known> = find
            .query_row(params![collection.id, document.id, document.text], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?))
            })
            .optional()?;
        // Of the same text it is the same vector.
        let keeps = !given && known.as_ref().is_some_and(|(_, _, same, owed)| *same && !owed);
        let owed = !given && !keeps;
        let key = match known {
            Some((key, before, ..)) => {
                replace.execute(params![key, revision, given, owed, now, metadata, document.text])?;
                if before != metadata {
                    forget_metadata(db, collection.id, key, before.as_deref())?;
                    remember_metadata(db, collection.id, key, metadata.as_deref())?;
                }
                if owed {
                    removed += forget_vector(db, key)?;
                }
                key
            }
            None => {
                let row = params![collection.id, document.id, revision, given, owed, now, metadata, document.text];
                let key = insert.query_row(row, |row| row.get(0))?;
                remember_metadata(db, collection.id, key, metadata.as_deref())?;
                key
            }
        };
        if let Some(given) = &document.vector {
            put_vector(db, key, &vector::to_blob(&vector::unit(given, dimensions)?))?;
        } else if owed {
            stored.owed.push(key);
        }
    }
    note_removed(db, collection.id, removed)?;
    Ok(stored)
}

/// Removes documents; answers how many there were.
///
/// # Errors
/// What SQLite answers.
pub fn remove(db: &Connection, collection: i64, keys: &[i64]) -> Result<usize> {
    let mut find = db.prepare_cached("SELECT metadata FROM documents WHERE key = ?1 AND collection = ?2")?;
    let mut delete = db.prepare_cached("DELETE FROM documents WHERE key = ?1")?;
    let (mut count, mut removed) = (0, 0);
    for &key in keys {
        let found: Option<Option<String>> = find.query_row([key, collection], |row| row.get(0)).optional()?;
        let Some(metadata) = found else { continue };
        forget_metadata(db, collection, key, metadata.as_deref())?;
        removed += forget_vector(db, key)?;
        delete.execute([key])?;
        count += 1;
    }
    if count > 0 {
        next_revision(db, collection)?;
        note_removed(db, collection, removed)?;
    }
    Ok(count)
}

/// Removes a collection with all its documents; answers whether there was one.
///
/// # Errors
/// What SQLite answers.
pub fn drop_collection(db: &Connection, name: &str) -> Result<bool> {
    let Some(found) = reading::find(db, name)? else { return Ok(false) };
    db.prepare_cached("DELETE FROM metadata WHERE collection = ?1")?.execute([found.id])?;
    // Its vectors go with a document.
    db.prepare_cached("DELETE FROM documents WHERE collection = ?1")?.execute([found.id])?;
    db.prepare_cached("DELETE FROM collections WHERE id = ?1")?.execute([found.id])?;
    Ok(true)
}

/// A vector that was made of a document's text.
#[derive(Debug)]
pub struct Made {
    /// The document.
    pub key: i64,
    /// When the text was read: one that was written since owes another.
    pub revision: i64,
    /// See [`vector::to_blob`].
    pub vector: Vec<u8>,
}

/// Stores vectors that were owed, made with the model `identity`; answers how many were still wanted.
///
/// # Errors
/// What SQLite answers.
pub fn pay(db: &Connection, collection: i64, identity: &str, made: &[Made]) -> Result<usize> {
    let model: Option<Option<String>> = db
        .prepare_cached("SELECT model FROM collections WHERE id = ?1")?
        .query_row([collection], |row| row.get(0))
        .optional()?;
    if model.flatten().as_deref() != Some(identity) {
        // Dropped meanwhile, or of another model: still owed.
        return Ok(0);
    }
    let revision = next_revision(db, collection)?;
    let mut settle = db
        .prepare_cached("UPDATE documents SET owed = 0, revision = ?3 WHERE key = ?1 AND revision = ?2 AND owed = 1")?;
    let mut paid = 0;
    for Made { key, revision: read, vector } in made {
        if settle.execute([*key, *read, revision])? > 0 {
            put_vector(db, *key, vector)?;
            paid += 1;
        }
    }
    Ok(paid)
}

/// Has a collection of another model's vectors owe all that were made of texts; those that the caller gave stay.
///
/// # Errors
/// What SQLite answers.
pub fn change_model(
    db: &Connection,
    collection: i64,
    identity: &str,
    dimensions: usize,
    probes: &[Vec<f32>],
) -> Result<()> {
    let revision = next_revision(db, collection)?;
    let removed = db
        .prepare_cached(
            "DELETE FROM vectors WHERE key IN (SELECT key FROM documents WHERE collection = ?1 AND given = 0)",
        )?
        .execute([collection])?;
    db.prepare_cached("UPDATE documents SET owed = 1, revision = ?2 WHERE collection = ?1 AND given = 0")?
        .execute([collection, revision])?;
    let dimensions = i64::try_from(dimensions).unwrap_or(i64::MAX);
    db.prepare_cached("UPDATE collections SET model = ?2, dimensions = ?3 WHERE id = ?1")?
        .execute(params![collection, identity, dimensions])?;
    identity::store(db, collection, probes)?;
    note_removed(db, collection, removed)
}

/// Has documents owe their vectors, where they are made of texts; answers how many.
///
/// # Errors
/// What SQLite answers.
pub fn owe(db: &Connection, collection: i64, keys: &[i64]) -> Result<usize> {
    let revision = next_revision(db, collection)?;
    let mut owe = db.prepare_cached("UPDATE documents SET owed = 1, revision = ?2 WHERE key = ?1 AND given = 0")?;
    let (mut owed, mut removed) = (0, 0);
    for &key in keys {
        if owe.execute([key, revision])? > 0 {
            removed += forget_vector(db, key)?;
            owed += 1;
        }
    }
    note_removed(db, collection, removed)?;
    Ok(owed)
}

/// Makes the table `metadata` again of what the documents say; answers how many rows it has now.
///
/// # Errors
/// What SQLite answers.
pub fn rebuild_metadata(db: &Connection) -> Result<usize> {
    db.execute("DELETE FROM metadata", [])?;
    let mut documents = db.prepare("SELECT collection, key, metadata FROM documents WHERE metadata IS NOT NULL")?;
    let mut rows = documents.query([])?;
    let mut count = 0;
    while let Some(row) = rows.next()? {
        count += remember_metadata(db, row.get(0)?, row.get(1)?, row.get_ref(2)?.as_str().ok())?;
    }
    Ok(count)
}

/// Notes what the file with the graph of a collection's vectors has to be; answers whether there is that collection. It
/// is no change of the collection.
///
/// # Errors
/// What SQLite answers.
pub fn note_snapshot(db: &Connection, collection: i64, note: &str) -> Result<bool> {
    let mut note_it = db.prepare_cached("UPDATE collections SET snapshot = ?2 WHERE id = ?1")?;
    Ok(note_it.execute(params![collection, note])? > 0)
}

fn next_revision(db: &Connection, collection: i64) -> Result<i64> {
    Ok(db
        .prepare_cached("UPDATE collections SET revision = revision + 1 WHERE id = ?1 RETURNING revision")?
        .query_row([collection], |row| row.get(0))?)
}

fn note_removed(db: &Connection, collection: i64, count: usize) -> Result<()> {
    if count > 0 {
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        db.prepare_cached("UPDATE collections SET removed = removed + ?2 WHERE id = ?1")?
            .execute([collection, count])?;
    }
    Ok(())
}

fn put_vector(db: &Connection, key: i64, blob: &[u8]) -> Result<()> {
    db.prepare_cached("INSERT OR REPLACE INTO vectors(key, vector) VALUES (?1, ?2)")?.execute(params![key, blob])?;
    Ok(())
}

fn forget_vector(db: &Connection, key: i64) -> Result<usize> {
    Ok(db.prepare_cached("DELETE FROM vectors WHERE key = ?1")?.execute([key])?)
}

/// Made of the text that is stored, as [`forget_metadata`] is: a number that JSON has rounded is the same in both.
fn remember_metadata(db: &Connection, collection: i64, key: i64, stored: Option<&str>) -> Result<usize> {
    let mut insert = db.prepare_cached(
        "INSERT OR REPLACE INTO metadata(collection, name, type, value, key) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    let metadata = stored.map(Metadata::of_json).unwrap_or_default();
    for (name, value) in metadata.values() {
        insert.execute(params![collection, name, value.rank(), bound(value), key])?;
    }
    Ok(metadata.values().count())
}

fn forget_metadata(db: &Connection, collection: i64, key: i64, stored: Option<&str>) -> Result<()> {
    let mut delete = db.prepare_cached(
        "DELETE FROM metadata WHERE collection = ?1 AND name = ?2 AND type = ?3 AND value = ?4 AND key = ?5",
    )?;
    let before = stored.map(Metadata::of_json).unwrap_or_default();
    for (name, value) in before.values() {
        delete.execute(params![collection, name, value.rank(), bound(value), key])?;
    }
    Ok(())
}

fn bound(value: &Scalar) -> rusqlite::types::Value {
    value.clone().into()
}

fn wrong_length(collection: &Info, number: usize, length: usize) -> Error {
    let (place, dimensions) = (format!("documents[{number}].vector"), collection.space.dimensions());
    Error::invalid(format!(
        "'{place}' has {length} numbers, those of the collection '{}' have {dimensions}; nothing was stored",
        collection.name
    ))
    .with("argument", place)
    .with("dimensions", dimensions)
}

fn without_vector(collection: &Info, number: usize) -> Error {
    Error::new(
        Code::NoModel,
        format!(
            "'documents[{number}]' has no vector, and the vectors of the collection '{}' are your own: hand one over with \
             each document; nothing was stored",
            collection.name
        ),
    )
}

#[cfg(test)]
mod tests;
