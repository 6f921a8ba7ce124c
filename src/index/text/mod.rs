//! The text indexes of `native/index.db`: words, and pieces of words.
//!
//! Both are FTS5 tables without content of their own (`content=''`, `contentless_delete=1`), keyed by
//! [`RowKey`](super::document::RowKey): snippets are cut from the rows themselves.

use rusqlite::{Connection, ToSql, params, params_from_iter};

use crate::{error::Result, index::document::RowKey};

/// The columns of a row that words are found in, in the order of the index. A row has those of its kind; the others
/// stay empty.
pub const COLUMNS: [&str; 13] = [
    "title",
    "subtitle",
    "narrative",
    "text",
    "facts",
    "concepts",
    "files",
    "request",
    "investigated",
    "learned",
    "completed",
    "next_steps",
    "notes_or_prompt",
];

/// The texts of one row, by the columns of [`COLUMNS`].
pub type Texts<'a> = [&'a str; COLUMNS.len()];

/// Makes the empty indexes.
///
/// # Errors
/// What SQLite answers.
pub fn create(db: &Connection) -> Result<()> {
    db.execute_batch(&format!(
        "CREATE VIRTUAL TABLE words USING fts5({}, content='', contentless_delete=1, tokenize='porter unicode61');
         CREATE VIRTUAL TABLE pieces USING fts5(body, content='', contentless_delete=1, tokenize='trigram');",
        COLUMNS.join(", ")
    ))?;
    Ok(())
}

/// Has the indexes find a row by `texts`, whatever they knew of it.
///
/// # Errors
/// What SQLite answers.
pub fn put(db: &Connection, key: RowKey, texts: &Texts<'_>) -> Result<()> {
    remove(db, key)?;
    let marks = vec!["?"; COLUMNS.len() + 1].join(", ");
    let insert = format!("INSERT INTO words(rowid, {}) VALUES ({marks})", COLUMNS.join(", "));
    let values = [&key.0 as &dyn ToSql].into_iter().chain(texts.iter().map(|text| text as &dyn ToSql));
    db.prepare_cached(&insert)?.execute(params_from_iter(values))?;
    let body = texts.join("\n");
    db.prepare_cached("INSERT INTO pieces(rowid, body) VALUES (?1, ?2)")?.execute(params![key.0, body])?;
    Ok(())
}

/// Has the indexes forget a row.
///
/// # Errors
/// What SQLite answers.
pub fn remove(db: &Connection, key: RowKey) -> Result<()> {
    db.prepare_cached("DELETE FROM words WHERE rowid = ?1")?.execute([key.0])?;
    db.prepare_cached("DELETE FROM pieces WHERE rowid = ?1")?.execute([key.0])?;
    Ok(())
}
