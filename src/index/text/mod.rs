//! The text indexes of `native/index.db`: words, and pieces of words.
//!
//! Both are FTS5 tables without content of their own (`content=''`, `contentless_delete=1`), keyed by
//! [`RowKey`](super::document::RowKey): snippets are cut from the rows themselves.
//!
//! `words` has a column a field and knows words by their stem (`porter`), without diacritics; characters of scripts
//! that are written without spaces are words of their own (see [`cjk`]). `pieces` knows every three characters of a
//! row's texts, for identifiers and parts of words; `vocabulary` lists the stems of `words`.

pub mod cjk;
pub mod segments;
#[cfg(test)]
mod tests;

use std::borrow::Cow;

use rusqlite::{Connection, ToSql, params, params_from_iter};

use crate::{error::Result, index::document::RowKey};

/// The columns of a row that words are found in, in the order of the index. A row has those of its kind; the others
/// stay empty (`""`, as NULL does):
///
/// - an observation: `title`, `subtitle`, `narrative`, `text`, `facts`, `concepts`, `files`;
/// - a summary: `files`, `request`, `investigated`, `learned`, `completed`, `next_steps`, `notes`;
/// - a prompt: `prompt` (its `prompt_text`).
///
/// A JSON array is its elements, each on a line (texts only; where the column holds no array, the text as it is).
/// `files` is `files_read` and `files_modified` (of a summary: `files_edited`), each path once.
pub const COLUMNS: [&str; 14] = [
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
    "notes",
    "prompt",
];

/// The texts of one row, by the columns of [`COLUMNS`], as they are stored: what the indexes need is done here.
pub type Texts<'a> = [&'a str; COLUMNS.len()];

/// How `words` takes a text apart. `remove_diacritics 2` is the corrected form of the default.
pub const WORDS_TOKENIZER: &str = "porter unicode61 remove_diacritics 2";

/// Makes the empty indexes.
///
/// # Errors
/// What SQLite answers.
pub fn create(db: &Connection) -> Result<()> {
    db.execute_batch(&format!(
        "CREATE VIRTUAL TABLE words USING fts5({}, content='', contentless_delete=1, tokenize='{WORDS_TOKENIZER}');
         CREATE VIRTUAL TABLE vocabulary USING fts5vocab(words, row);
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
    let words: Vec<Cow<'_, str>> = texts.iter().map(|text| cjk::spaced(text)).collect();
    let values = [&key.0 as &dyn ToSql].into_iter().chain(words.iter().map(|text| text as &dyn ToSql));
    db.prepare_cached(&insert)?.execute(params_from_iter(values))?;
    let body = texts.iter().filter(|text| !text.is_empty()).copied().collect::<Vec<_>>().join("\n");
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
