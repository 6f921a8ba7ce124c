//! What is read from `native/collections.db`, on any of its connections.

use rusqlite::{CachedStatement, Connection, OptionalExtension, Row, params_from_iter};

use super::{
    documents::{Document, Include, Metadata},
    storage::Space,
    where_filter::Filter,
};
use crate::{
    error::Result,
    index::vectors::{IdSet, vector},
};

/// A collection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// Never used again.
    pub id: i64,
    /// By which its owner knows it.
    pub name: String,
    /// What makes its vectors.
    pub space: Space,
    /// Grows with each write.
    pub revision: i64,
    /// Vectors that were taken away since it was made.
    pub removed: i64,
    /// When it was made, epoch ms.
    pub created_at_epoch: i64,
}

const INFO: &str = "id, name, dimensions, model, revision, removed, created_at_epoch";

fn info(row: &Row<'_>) -> rusqlite::Result<Info> {
    let dimensions = usize::try_from(row.get::<_, i64>(2)?).unwrap_or(0);
    Ok(Info {
        id: row.get(0)?,
        name: row.get(1)?,
        space: match row.get(3)? {
            Some(identity) => Space::Model { identity, dimensions },
            None => Space::Given { dimensions },
        },
        revision: row.get(4)?,
        removed: row.get(5)?,
        created_at_epoch: row.get(6)?,
    })
}

/// The collection called `name`.
///
/// # Errors
/// What SQLite answers.
pub fn find(db: &Connection, name: &str) -> Result<Option<Info>> {
    Ok(db
        .prepare_cached(&format!("SELECT {INFO} FROM collections WHERE name = ?1"))?
        .query_row([name], info)
        .optional()?)
}

/// All collections, by name.
///
/// # Errors
/// What SQLite answers.
pub fn all(db: &Connection) -> Result<Vec<Info>> {
    let mut statement = db.prepare_cached(&format!("SELECT {INFO} FROM collections ORDER BY name"))?;
    Ok(statement.query_map([], info)?.collect::<rusqlite::Result<_>>()?)
}

/// What is noted of the file with the graph of a collection's vectors.
///
/// # Errors
/// What SQLite answers.
pub fn snapshot(db: &Connection, collection: i64) -> Result<Option<String>> {
    let noted: Option<Option<String>> = db
        .prepare_cached("SELECT snapshot FROM collections WHERE id = ?1")?
        .query_row([collection], |row| row.get(0))
        .optional()?;
    Ok(noted.flatten())
}

/// Documents of a collection, and those of them whose vectors are owed.
///
/// # Errors
/// What SQLite answers.
pub fn counts(db: &Connection, collection: i64) -> Result<(u64, u64)> {
    let count = |sql| -> Result<u64> {
        Ok(db.prepare_cached(sql)?.query_row([collection], |row| row.get::<_, i64>(0))?.unsigned_abs())
    };
    Ok((
        count("SELECT count(*) FROM documents INDEXED BY documents_written WHERE collection = ?1")?,
        count("SELECT count(*) FROM documents WHERE collection = ?1 AND owed = 1")?,
    ))
}

/// `FROM documents d WHERE …` for those that `filter` holds for.
fn matching(collection: i64, filter: Option<&Filter>) -> (String, Vec<rusqlite::types::Value>) {
    match filter {
        None => ("FROM documents d WHERE d.collection = ?1".to_owned(), vec![collection.into()]),
        Some(filter) => {
            let condition = filter.condition(collection);
            // What the metadata finds is looked up by its key; the plus keeps SQLite from going through all instead.
            let through = if filter.is_found_by_metadata() { "+" } else { "" };
            (format!("FROM documents d WHERE {through}d.collection = ?1 AND {}", condition.sql), condition.bound)
        }
    }
}

/// How many documents `filter` holds for.
///
/// # Errors
/// What SQLite answers.
pub fn count(db: &Connection, collection: i64, filter: Option<&Filter>) -> Result<u64> {
    let (from, bound) = matching(collection, filter);
    let count: i64 =
        db.prepare(&format!("SELECT count(*) {from}"))?.query_row(params_from_iter(bound), |row| row.get(0))?;
    Ok(count.unsigned_abs())
}

/// Keys of the documents that `filter` holds for, in the order in which they first came.
///
/// # Errors
/// What SQLite answers.
pub fn keys(
    db: &Connection,
    collection: i64,
    filter: Option<&Filter>,
    offset: usize,
    limit: Option<usize>,
) -> Result<Vec<i64>> {
    let (from, bound) = matching(collection, filter);
    let limit = limit.map_or(-1, |limit| i64::try_from(limit).unwrap_or(-1));
    let mut statement = db.prepare(&format!("SELECT d.key {from} ORDER BY d.key LIMIT {limit} OFFSET {offset}"))?;
    Ok(statement.query_map(params_from_iter(bound), |row| row.get(0))?.collect::<rusqlite::Result<_>>()?)
}

/// The documents that `filter` holds for, as a set.
///
/// # Errors
/// What SQLite answers.
pub fn admitted(db: &Connection, collection: i64, filter: &Filter) -> Result<IdSet> {
    let Some(condition) = filter.by_one_value(collection) else {
        return Ok(keys(db, collection, Some(filter), 0, None)?.into());
    };
    let mut statement = db.prepare_cached(&condition.sql)?;
    let keys = statement.query_map(params_from_iter(condition.bound), |row| row.get(0))?;
    Ok(keys.collect::<rusqlite::Result<Vec<i64>>>()?.into())
}

/// Whether `filter` holds for at most `most` documents, as far as single values of the metadata tell.
///
/// # Errors
/// What SQLite answers.
pub fn is_selective(db: &Connection, collection: i64, filter: &Filter, most: usize) -> Result<bool> {
    Ok(at_most(db, collection, filter, most)?.is_some_and(|count| count <= most))
}

/// So many documents or fewer; `None` where that is not known. What is more than `most` is not counted.
fn at_most(db: &Connection, collection: i64, filter: &Filter, most: usize) -> Result<Option<usize>> {
    let each = |parts: &[Filter]| {
        parts.iter().map(|part| at_most(db, collection, part, most)).collect::<Result<Vec<Option<usize>>>>()
    };
    match filter {
        Filter::All(parts) => Ok(each(parts)?.into_iter().flatten().min()),
        Filter::Any(parts) => Ok(each(parts)?.into_iter().sum()),
        _ => {
            let Some(condition) = filter.by_one_value(collection) else { return Ok(None) };
            let mut statement = db.prepare_cached(&condition.sql)?;
            let mut rows = statement.query(params_from_iter(condition.bound))?;
            let mut count = 0;
            while count <= most && rows.next()?.is_some() {
                count += 1;
            }
            Ok(Some(count))
        }
    }
}

/// Whether `filter` holds for the document with this key; also not where it is gone.
///
/// # Errors
/// What SQLite answers.
pub fn holds(db: &Connection, key: i64, filter: &Filter) -> Result<bool> {
    let sql = if filter.reads_text() {
        "SELECT metadata, text FROM documents WHERE key = ?1"
    } else {
        "SELECT metadata, NULL FROM documents WHERE key = ?1"
    };
    let mut find = db.prepare_cached(sql)?;
    let found: Option<(Option<String>, Option<String>)> =
        find.query_row([key], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
    Ok(found.is_some_and(|(metadata, text)| {
        filter.holds_for(&metadata.as_deref().map(Metadata::of_json).unwrap_or_default(), text.as_deref())
    }))
}

/// Keys of the documents with these ids, those that there are, in the order in which they first came.
///
/// # Errors
/// What SQLite answers.
pub fn keys_of(db: &Connection, collection: i64, ids: &[String]) -> Result<Vec<i64>> {
    let mut find = db.prepare_cached("SELECT key FROM documents WHERE collection = ?1 AND id = ?2")?;
    let mut keys = Vec::with_capacity(ids.len());
    for id in ids {
        keys.extend(find.query_row((collection, id), |row| row.get::<_, i64>(0)).optional()?);
    }
    keys.sort_unstable();
    keys.dedup();
    Ok(keys)
}

/// Keys of the documents with these ids, where there are any ids, that `filter` holds for.
///
/// # Errors
/// What SQLite answers.
pub fn chosen(
    db: &Connection,
    collection: i64,
    ids: Option<&[String]>,
    filter: Option<&Filter>,
    offset: usize,
    limit: Option<usize>,
) -> Result<Vec<i64>> {
    let Some(ids) = ids else { return keys(db, collection, filter, offset, limit) };
    let mut found = keys_of(db, collection, ids)?;
    if filter.is_some() {
        let allowed = keys(db, collection, filter, 0, None)?;
        found.retain(|key| allowed.binary_search(key).is_ok());
    }
    Ok(found.into_iter().skip(offset).take(limit.unwrap_or(usize::MAX)).collect())
}

/// Documents by their keys, one after the other.
pub struct Documents<'db>(CachedStatement<'db>);

impl<'db> Documents<'db> {
    /// Of each what is to be included.
    ///
    /// # Errors
    /// What SQLite answers.
    pub fn of(db: &'db Connection, include: Include) -> Result<Self> {
        let column = |wanted: bool, name: &'static str| if wanted { name } else { "NULL" };
        let vector = if include.vector { "(SELECT vector FROM vectors WHERE key = ?1)" } else { "NULL" };
        let sql = format!(
            "SELECT id, {}, {}, {vector} FROM documents WHERE key = ?1",
            column(include.text, "text"),
            column(include.metadata, "metadata")
        );
        Ok(Self(db.prepare_cached(&sql)?))
    }

    /// The document with this key; none where it is gone.
    ///
    /// # Errors
    /// What SQLite answers.
    pub fn read(&mut self, key: i64) -> Result<Option<Document>> {
        let document = |row: &Row<'_>| {
            Ok(Document {
                id: row.get(0)?,
                text: row.get(1)?,
                metadata: row.get(2)?,
                // A damaged one is none; a check finds it.
                vector: row.get_ref(3)?.as_blob().ok().and_then(|blob| vector::from_blob(blob, blob.len() / 2).ok()),
            })
        };
        Ok(self.0.query_row([key], document).optional()?)
    }
}

/// A text whose vector is owed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    /// Its document.
    pub key: i64,
    /// When it was written.
    pub revision: i64,
    /// What the vector is made of.
    pub text: String,
}

fn owed_row(row: &Row<'_>) -> rusqlite::Result<Owed> {
    Ok(Owed { key: row.get(0)?, revision: row.get(1)?, text: row.get::<_, Option<String>>(2)?.unwrap_or_default() })
}

/// Those of the documents `keys` whose vectors are owed.
///
/// # Errors
/// What SQLite answers.
pub fn owed_of(db: &Connection, keys: &[i64]) -> Result<Vec<Owed>> {
    let mut find = db.prepare_cached("SELECT key, revision, text FROM documents WHERE key = ?1 AND owed = 1")?;
    let mut owed = Vec::with_capacity(keys.len());
    for key in keys {
        owed.extend(find.query_row([key], owed_row).optional()?);
    }
    Ok(owed)
}

/// How many of the documents `keys` owe their vectors.
///
/// # Errors
/// What SQLite answers.
pub fn count_owed(db: &Connection, keys: &[i64]) -> Result<usize> {
    let mut find = db.prepare_cached("SELECT 1 FROM documents WHERE key = ?1 AND owed = 1")?;
    let mut count = 0;
    for key in keys {
        count += usize::from(find.exists([key])?);
    }
    Ok(count)
}

/// The collection of a document; none where it is gone.
///
/// # Errors
/// What SQLite answers.
pub fn collection_of(db: &Connection, key: i64) -> Result<Option<Info>> {
    let sql = format!("SELECT {INFO} FROM collections WHERE id = (SELECT collection FROM documents WHERE key = ?1)");
    Ok(db.prepare_cached(&sql)?.query_row([key], info).optional()?)
}

/// The first documents of a collection whose vectors are owed.
///
/// # Errors
/// What SQLite answers.
pub fn first_owed(db: &Connection, collection: i64, limit: usize) -> Result<Vec<Owed>> {
    let mut statement = db.prepare_cached(
        "SELECT key, revision, text FROM documents WHERE collection = ?1 AND owed = 1 ORDER BY key LIMIT ?2",
    )?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    Ok(statement.query_map([collection, limit], owed_row)?.collect::<rusqlite::Result<_>>()?)
}
