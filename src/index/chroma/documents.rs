//! The documents as a stream, in the order in which they were added.

use std::{collections::VecDeque, path::Path};

use rusqlite::{Connection, types::ValueRef};

use super::{
    Chroma,
    catalog::{self, refused},
    limits, log,
    places::{Place, Source},
    report::{LeftOut, Report},
    vector,
};
use crate::error::{Error, Result};

/// Ids read at once; each document's vector, text and metadata only when it is its turn.
const PAGE: i64 = 256;
/// The metadata key of the text.
const DOCUMENT: &str = "chroma:document";

/// A document as Chroma holds it.
#[derive(Debug, Clone, PartialEq)]
pub struct Document {
    /// As it was given: claude-mem's are `obs_44_narrative` and so on.
    pub id: String,
    /// Finite, not zero, of the collection's dimension.
    pub vector: Vec<f32>,
    /// Absent where the caller gave a vector only.
    pub text: Option<String>,
    /// Sorted by key; without the text.
    pub metadata: Vec<(String, MetadataValue)>,
}

/// A value of a document's metadata.
#[derive(Debug, Clone, PartialEq)]
pub enum MetadataValue {
    /// A text.
    Text(String),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Float(f64),
    /// A truth value.
    Bool(bool),
}

/// An iterator over the documents; after an error it ends.
///
/// Memory: one page of ids and the document at hand.
#[derive(Debug)]
pub struct Documents<'a> {
    chroma: &'a mut Chroma,
    page: VecDeque<Entry>,
    /// The last row of `embeddings` that was read.
    last: i64,
    finished: bool,
    report: Report,
}

/// A row of `embeddings`; without an id where that cannot be one.
#[derive(Debug)]
struct Entry {
    rowid: i64,
    id: Option<String>,
    seq: Option<i64>,
}

impl<'a> Documents<'a> {
    pub(super) fn new(chroma: &'a mut Chroma) -> Self {
        chroma.places.forget_met();
        let report = chroma.opened.clone();
        Self { chroma, page: VecDeque::new(), last: i64::MIN, finished: false, report }
    }

    /// What was handed out and left out so far; complete after the end.
    #[must_use]
    pub const fn report(&self) -> &Report {
        &self.report
    }

    fn advance(&mut self) -> Result<Option<Document>> {
        loop {
            let Some(entry) = self.page.pop_front() else {
                if !self.turn_page()? {
                    self.count_the_rest();
                    return Ok(None);
                }
                continue;
            };
            match self.read(&entry)? {
                Ok(document) => {
                    self.report.documents += 1;
                    return Ok(Some(document));
                }
                Err(reason) => {
                    let named = entry.id.unwrap_or_else(|| format!("embeddings {}", entry.rowid));
                    self.report.count(reason, &named);
                }
            }
        }
    }

    /// Reads on in `embeddings`; false at its end.
    fn turn_page(&mut self) -> Result<bool> {
        let Chroma { db, path, segment, .. } = &*self.chroma;
        let read = || {
            // The plus keeps SQLite off the segment's index, after which it would have to sort.
            let mut statement = db.prepare_cached(
                "SELECT rowid, embedding_id, seq_id FROM embeddings WHERE rowid > ?1 AND +segment_id = ?2
                 ORDER BY rowid LIMIT ?3",
            )?;
            let rows = statement.query_map((self.last, segment, PAGE), |row| {
                let id = catalog::text(row.get_ref(1)?);
                let id = id.filter(|id| !id.is_empty() && id.len() <= limits::ID_BYTES).map(str::to_owned);
                Ok(Entry { rowid: row.get(0)?, id, seq: catalog::sequence(row.get_ref(2)?) })
            })?;
            rows.collect::<rusqlite::Result<VecDeque<_>>>()
        };
        self.page = read().map_err(|error| refused(path, "embeddings", error))?;
        if let Some(entry) = self.page.back() {
            self.last = entry.rowid;
        }
        Ok(!self.page.is_empty())
    }

    fn read(&mut self, entry: &Entry) -> Result<std::result::Result<Document, LeftOut>> {
        let Some(id) = &entry.id else { return Ok(Err(LeftOut::InvalidId)) };
        let Some(place) = self.chroma.places.get_mut(id) else { return Ok(Err(LeftOut::NoVector)) };
        if std::mem::replace(&mut place.met, true) {
            return Ok(Err(LeftOut::DuplicateId));
        }
        let place = *place;
        if !in_step(&place, entry.seq) {
            return Ok(Err(LeftOut::OutOfStep));
        }
        let Chroma { db, path, rows, has_booleans, unit_length, .. } = &*self.chroma;
        let vector = match (place.source, rows) {
            (Source::Log(seq), _) => log::vector(db, path, seq)?,
            (Source::Row(row), Some(rows)) => rows.vector(row)?,
            (Source::Row(_), None) => return Ok(Err(LeftOut::NoVector)),
            (Source::Nowhere(reason), _) => return Ok(Err(reason)),
        };
        if let Some(reason) = vector::fault(&vector, *unit_length) {
            return Ok(Err(reason));
        }
        Ok(metadata(db, path, entry.rowid, *has_booleans)?.map(|(text, metadata)| Document {
            id: id.clone(),
            vector,
            text,
            metadata,
        }))
    }

    fn count_the_rest(&mut self) {
        for id in self.chroma.places.not_met() {
            self.report.count(LeftOut::NotInEmbeddings, id);
        }
    }
}

impl Iterator for Documents<'_> {
    type Item = std::result::Result<Document, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.finished {
            return None;
        }
        let next = self.advance().transpose();
        self.finished = !matches!(next, Some(Ok(_)));
        next
    }
}

/// Whether the text, last written by the log's entry `seq`, belongs to the vector. Chroma brings them up to date
/// separately, and a vector of one text with another text would be a wrong answer for ever.
fn in_step(place: &Place, seq: Option<i64>) -> bool {
    let Some(seq) = seq else { return false };
    match place.source {
        Source::Log(vector) => vector <= seq && seq <= place.upto,
        Source::Row(_) | Source::Nowhere(_) => seq <= place.upto,
    }
}

type Described = (Option<String>, Vec<(String, MetadataValue)>);

/// Text and metadata of a document.
fn metadata(
    db: &Connection,
    path: &Path,
    rowid: i64,
    has_booleans: bool,
) -> Result<std::result::Result<Described, LeftOut>> {
    let read = || {
        let booleans = if has_booleans { "bool_value" } else { "NULL" };
        // By name, so that a table without its primary key is refused rather than searched for each document. A text
        // beyond the limit is told by its length, and not loaded.
        let mut statement = db.prepare_cached(&format!(
            "SELECT key, CASE WHEN octet_length(string_value) <= ?2 THEN string_value END, int_value, float_value,
                    {booleans}, octet_length(string_value)
             FROM embedding_metadata INDEXED BY sqlite_autoindex_embedding_metadata_1 WHERE id = ?1
             ORDER BY id, key"
        ))?;
        let mut rows = statement.query((rowid, limits::TEXT_BYTES))?;
        let mut text = None;
        let mut metadata = Vec::new();
        let mut bytes = 0;
        while let Some(row) = rows.next()? {
            let Some(key) = catalog::text(row.get_ref(0)?) else { return Ok(Err(LeftOut::DamagedText)) };
            if key.len() > limits::ID_BYTES || metadata.len() >= limits::METADATA_KEYS {
                return Ok(Err(LeftOut::TooLarge));
            }
            let value = match (row.get_ref(1)?, row.get_ref(2)?, row.get_ref(3)?, row.get_ref(4)?) {
                (ValueRef::Null, ..) if row.get_ref(5)? != ValueRef::Null => return Ok(Err(LeftOut::TooLarge)),
                (value @ ValueRef::Text(_), ..) => match catalog::text(value) {
                    Some(value) if key == DOCUMENT => {
                        text = Some(value.to_owned());
                        continue;
                    }
                    Some(value) => MetadataValue::Text(value.to_owned()),
                    None => return Ok(Err(LeftOut::DamagedText)),
                },
                (ValueRef::Null, ValueRef::Integer(number), ..) => MetadataValue::Integer(number),
                (ValueRef::Null, ValueRef::Null, ValueRef::Real(number), _) => MetadataValue::Float(number),
                (ValueRef::Null, ValueRef::Null, ValueRef::Null, ValueRef::Integer(truth @ 0..=1)) => {
                    MetadataValue::Bool(truth == 1)
                }
                // A key without a value.
                (ValueRef::Null, ValueRef::Null, ValueRef::Null, ValueRef::Null) => continue,
                _ => return Ok(Err(LeftOut::DamagedText)),
            };
            bytes += key.len() + if let MetadataValue::Text(text) = &value { text.len() } else { 8 };
            if bytes > limits::METADATA_BYTES {
                return Ok(Err(LeftOut::TooLarge));
            }
            metadata.push((key.to_owned(), value));
        }
        Ok(Ok((text, metadata)))
    };
    read().map_err(|error| refused(path, "embedding_metadata", error))
}
