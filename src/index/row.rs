//! A row of one of the tables, as the index needs it: the columns of filters, the texts, and a hash of all of them.

use std::borrow::Cow;

use rusqlite::{
    Connection, Row,
    types::{Value, ValueRef},
};
use sha2::{Digest, Sha256};

use super::{
    document::{Field, Kind, RowKey},
    text,
};
use crate::error::Result;

/// A shortened SHA-256: of a row, or of a text.
pub type Hash = [u8; 16];

/// The columns that every kind has first: the row's number, then those of the table `rows` after `id`.
const FILTERS: usize = 9;

const OBSERVATIONS: &str =
    "SELECT t.id, t.project, t.type, t.concepts, t.files_read, t.files_modified, t.sdk_session_id,
  t.prompt_number, t.created_at_epoch, t.title, t.subtitle, t.narrative, t.text, t.facts FROM observations AS t";
const SUMMARIES: &str = "SELECT t.id, t.project, NULL, NULL, t.files_read, t.files_edited, t.sdk_session_id,
  t.prompt_number, t.created_at_epoch, t.request, t.investigated, t.learned, t.completed, t.next_steps, t.notes
  FROM session_summaries AS t";
/// A prompt is of its session's project. It has no `sdk_session_id` here: that of its session comes later, and would
/// make every prompt change once.
const PROMPTS: &str =
    "SELECT t.id, (SELECT s.project FROM sdk_sessions AS s WHERE s.claude_session_id = t.claude_session_id),
  NULL, NULL, NULL, NULL, NULL, t.prompt_number, t.created_at_epoch, t.prompt_text FROM user_prompts AS t";

/// The fields of a kind that are documents, with the column that each is read from. Facts are taken apart.
fn fields(kind: Kind) -> &'static [(Field, usize)] {
    match kind {
        Kind::Observation => &[(Field::Narrative, 11), (Field::Text, 12), (Field::Fact, 13)],
        Kind::Summary => &[
            (Field::Request, 9),
            (Field::Investigated, 10),
            (Field::Learned, 11),
            (Field::Completed, 12),
            (Field::NextSteps, 13),
            (Field::Notes, 14),
        ],
        Kind::Prompt => &[(Field::Prompt, 9)],
    }
}

/// The table of a kind.
#[must_use]
pub const fn table(kind: Kind) -> &'static str {
    match kind {
        Kind::Observation => "observations",
        Kind::Summary => "session_summaries",
        Kind::Prompt => "user_prompts",
    }
}

/// The query of a kind's rows as `t`; conditions follow.
#[must_use]
pub const fn query(kind: Kind) -> &'static str {
    match kind {
        Kind::Observation => OBSERVATIONS,
        Kind::Summary => SUMMARIES,
        Kind::Prompt => PROMPTS,
    }
}

/// The hash of a row that [`query`] has found.
///
/// # Errors
/// What SQLite answers.
pub fn hash(row: &Row<'_>) -> Result<Hash> {
    let mut hash = Sha256::new();
    for column in 0..row.as_ref().column_count() {
        let value = row.get_ref(column)?;
        let (tag, bytes): (u8, Cow<'_, [u8]>) = match value {
            ValueRef::Null => (0, Cow::Borrowed(&[])),
            ValueRef::Integer(integer) => (1, Cow::Owned(integer.to_le_bytes().into())),
            ValueRef::Real(real) => (2, Cow::Owned(real.to_le_bytes().into())),
            ValueRef::Text(bytes) => (3, Cow::Borrowed(bytes)),
            ValueRef::Blob(bytes) => (4, Cow::Borrowed(bytes)),
        };
        hash.update([tag]);
        hash.update((bytes.len() as u64).to_le_bytes());
        hash.update(&bytes);
    }
    Ok(shortened(hash))
}

/// The hash of a text.
#[must_use]
pub fn text_hash(text: &str) -> Hash {
    shortened(Sha256::new_with_prefix(text))
}

fn shortened(hash: Sha256) -> Hash {
    let mut short = Hash::default();
    short.copy_from_slice(&hash.finalize()[..size_of::<Hash>()]);
    short
}

/// One row, read.
#[derive(Debug, Clone)]
pub struct SourceRow {
    /// Which.
    pub kind: Kind,
    /// Its number.
    pub id: i64,
    /// Of all that is read of it.
    pub hash: Hash,
    values: Vec<Value>,
}

/// One document of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Text<'r> {
    /// Its field.
    pub field: Field,
    /// Which fact; else 0.
    pub part: u32,
    /// What is embedded.
    pub text: Cow<'r, str>,
}

impl SourceRow {
    /// The row that a [`query`] of its kind has found.
    ///
    /// # Errors
    /// What SQLite answers.
    pub fn read(kind: Kind, row: &Row<'_>) -> Result<Self> {
        let value = |column| {
            Ok(match row.get_ref(column)? {
                ValueRef::Null => Value::Null,
                ValueRef::Integer(integer) => Value::Integer(integer),
                ValueRef::Real(real) => Value::Real(real),
                ValueRef::Text(bytes) => Value::Text(String::from_utf8_lossy(bytes).into_owned()),
                ValueRef::Blob(bytes) => Value::Blob(bytes.to_vec()),
            })
        };
        let values = (0..row.as_ref().column_count()).map(value).collect::<Result<Vec<Value>>>()?;
        Ok(Self { kind, id: row.get(0)?, hash: hash(row)?, values })
    }

    /// The row with this number, where there is one.
    ///
    /// # Errors
    /// What SQLite answers.
    pub fn find(db: &Connection, kind: Kind, id: i64) -> Result<Option<Self>> {
        let mut statement = db.prepare_cached(&format!("{} WHERE t.id = ?1", query(kind)))?;
        let mut rows = statement.query([id])?;
        rows.next()?.map(|row| Self::read(kind, row)).transpose()
    }

    /// Its key.
    #[must_use]
    pub const fn key(&self) -> RowKey {
        RowKey::new(self.kind, self.id)
    }

    /// What the table `rows` has of it between `id` and `hash`.
    #[must_use]
    pub fn filters(&self) -> &[Value] {
        &self.values[1..FILTERS]
    }

    /// Bytes of its texts.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let bytes = |value: &Value| match value {
            Value::Text(text) => text.len(),
            Value::Blob(bytes) => bytes.len(),
            _ => size_of::<Value>(),
        };
        self.values.iter().map(bytes).sum()
    }

    /// A column as text: bytes that are no UTF-8 are replaced, numbers written out.
    fn text(&self, column: usize) -> Cow<'_, str> {
        match &self.values[column] {
            Value::Null => Cow::Borrowed(""),
            Value::Integer(integer) => Cow::Owned(integer.to_string()),
            Value::Real(real) => Cow::Owned(real.to_string()),
            Value::Text(text) => Cow::Borrowed(text),
            Value::Blob(bytes) => String::from_utf8_lossy(bytes),
        }
    }

    /// Its documents, each field that has a text and each fact: an array of facts that is no JSON has none, and a fact
    /// that is no text, or empty, is left out without moving the numbers of the others.
    #[must_use]
    pub fn documents(&self) -> Vec<Text<'_>> {
        let mut documents = Vec::new();
        for &(field, column) in fields(self.kind) {
            let text = self.text(column);
            if field == Field::Fact {
                let facts = strings(&text).unwrap_or_default();
                documents.extend(facts.into_iter().zip(0..).filter_map(|(fact, part)| {
                    let text = fact.filter(|fact| !fact.is_empty())?;
                    Some(Text { field, part, text: Cow::Owned(text) })
                }));
            } else if !text.is_empty() {
                documents.push(Text { field, part: 0, text });
            }
        }
        documents
    }

    /// The text of one of its documents, where it has that one.
    #[must_use]
    pub fn document(&self, field: Field, part: u32) -> Option<String> {
        let found = self.documents().into_iter().find(|text| text.field == field && text.part == part)?;
        Some(found.text.into_owned())
    }

    /// Has the text indexes of `db` find it.
    ///
    /// # Errors
    /// What SQLite answers.
    pub fn index_texts(&self, db: &Connection) -> Result<()> {
        let lines = |column| {
            let text = self.text(column);
            match strings(&text) {
                Some(items) => Cow::Owned(items.into_iter().flatten().collect::<Vec<_>>().join("\n")),
                None => text,
            }
        };
        let files = || {
            let mut paths: Vec<String> = Vec::new();
            for column in [4, 5] {
                let text = self.text(column);
                let found = match strings(&text) {
                    Some(items) => items.into_iter().flatten().collect(),
                    None => vec![text.into_owned()],
                };
                for path in found {
                    if !path.is_empty() && !paths.contains(&path) {
                        paths.push(path);
                    }
                }
            }
            Cow::Owned(paths.join("\n"))
        };
        let columns: Vec<(&str, Cow<'_, str>)> = match self.kind {
            Kind::Observation => vec![
                ("title", self.text(9)),
                ("subtitle", self.text(10)),
                ("narrative", self.text(11)),
                ("text", self.text(12)),
                ("facts", lines(13)),
                ("concepts", lines(3)),
                ("files", files()),
            ],
            Kind::Summary => vec![
                ("files", files()),
                ("request", self.text(9)),
                ("investigated", self.text(10)),
                ("learned", self.text(11)),
                ("completed", self.text(12)),
                ("next_steps", self.text(13)),
                ("notes", self.text(14)),
            ],
            Kind::Prompt => vec![("prompt", self.text(9))],
        };
        let texts: text::Texts<'_> = text::COLUMNS
            .map(|name| columns.iter().find(|(column, _)| *column == name).map_or("", |(_, text)| text.as_ref()));
        text::put(db, self.key(), &texts)
    }
}

/// The elements of a JSON array of texts, `None` for each that is no text; `None` where the text is no JSON array.
fn strings(text: &str) -> Option<Vec<Option<String>>> {
    let Ok(serde_json::Value::Array(items)) = serde_json::from_str(text) else { return None };
    Some(
        items
            .into_iter()
            .map(|item| if let serde_json::Value::String(text) = item { Some(text) } else { None })
            .collect(),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn observation(values: &str) -> SourceRow {
        let db = Connection::open_in_memory().unwrap();
        db.execute_batch(&format!(
            "CREATE TABLE observations(id INTEGER PRIMARY KEY, project TEXT, type TEXT, concepts TEXT, files_read TEXT,
               files_modified TEXT, sdk_session_id TEXT, prompt_number INTEGER, created_at_epoch INTEGER, title TEXT,
               subtitle TEXT, narrative TEXT, text TEXT, facts TEXT);
             INSERT INTO observations(id, narrative, text, facts) VALUES (7, {values})"
        ))
        .unwrap();
        SourceRow::find(&db, Kind::Observation, 7).unwrap().unwrap()
    }

    #[test]
    fn documents_are_fields_with_text_and_facts_by_their_number() {
        let names = |values: &str| -> Vec<(Field, u32, String)> {
            let row = observation(values);
            row.documents().into_iter().map(|text| (text.field, text.part, text.text.into_owned())).collect()
        };
        assert_eq!(
            names(r#"'n', 't', '["a","","b",5,"c"]'"#),
            [
                (Field::Narrative, 0, "n".into()),
                (Field::Text, 0, "t".into()),
                (Field::Fact, 0, "a".into()),
                (Field::Fact, 2, "b".into()),
                (Field::Fact, 4, "c".into()),
            ]
        );
        for none in
            ["'', NULL, NULL", "NULL, NULL, ''", "NULL, NULL, '[\"a\"'", "NULL, NULL, '\"a\"'", "NULL, NULL, '[]'"]
        {
            assert!(names(none).is_empty(), "{none}");
        }
        // Bytes that are no UTF-8, and a number where a text should be.
        assert_eq!(names("x'61ff', 5, x'5b2261225d'").len(), 3);
    }

    #[test]
    fn a_hash_tells_columns_and_types_apart() {
        let hashes =
            ["'ab', 'c', NULL", "'a', 'bc', NULL", "NULL, 'abc', NULL", "'', 'abc', NULL", "x'6162', 'c', NULL"]
                .map(|values| observation(values).hash);
        for (at, hash) in hashes.iter().enumerate() {
            assert!(!hashes[..at].contains(hash), "{at}");
        }
        assert_eq!(hashes[0], observation("'ab', 'c', NULL").hash);
    }
}
