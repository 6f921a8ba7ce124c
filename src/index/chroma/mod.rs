//! Reading a Chroma persistent directory, so that its vectors can be taken over without embedding again.
//!
//! ```no_run
//! # fn main() -> Result<(), claude_mem_native::error::Error> {
//! use claude_mem_native::index::chroma::{self, LeftOut, Options};
//!
//! let mut chroma = chroma::open("/home/me/.claude-mem/vector-db".as_ref(), &Options::default())?;
//! let mut documents = chroma.documents();
//! for document in documents.by_ref() {
//!     let document = document?;
//!     println!("{}: {} components", document.id, document.vector.len());
//! }
//! println!("{} without a vector", documents.report().left_out(LeftOut::NoVector));
//! # Ok(())
//! # }
//! ```
//!
//! Chroma keeps ids, texts and metadata in `chroma.sqlite3`; vectors in the files of an HNSW index, and those
//! written since its last flush in a log, which is a table of the database. Both generations of writers are read
//! (0.x, Python, and 1.x, Rust). No Python is needed and nothing of the directory is executed: its pickle goes
//! through a decoder of a few opcodes, its database through a connection that trusts no schema.
//!
//! **Read-only.** All reading is done on a private copy ([`Options::scratch`]), which takes as much disk as the
//! database and the index and goes with the value. A Chroma process may be running: the copy is of a moment at
//! which no file changed. Where there was none, `ERR_BUSY`.
//!
//! **Damaged or hostile directories.** Whatever a file claims is bounded and compared with what the others say. A
//! file that contradicts itself or the others is `ERR_CORRUPT`; a single document that does is left out and counted
//! ([`LeftOut`]), since whoever needs it can embed it again. What no check can tell are the low bits of a single
//! vector, and an index exchanged for one with the same labels: compare a sample with the model before use.
//!
//! Lists as metadata values, which Chroma has since 1.5 and claude-mem does not use, are not read.

mod catalog;
mod documents;
mod hnsw;
mod index_metadata;
mod limits;
mod log;
mod pickle;
mod places;
mod report;
mod snapshot;
#[cfg(test)]
mod tests;
mod vector;

use std::{
    fmt::Display,
    path::{Path, PathBuf},
};

use rusqlite::Connection;
use tempfile::TempDir;

use self::{
    catalog::{Catalog, Chosen, refused},
    hnsw::Rows,
    index_metadata::IndexMetadata,
    places::Places,
    snapshot::{Segment, Snapshot},
};
pub use self::{
    catalog::{CollectionInfo, Space, Writer},
    documents::{Document, Documents, MetadataValue},
    report::{LeftOut, Report},
};
use crate::error::{Code, Error, Result};

/// What to read, and how.
#[derive(Debug, Clone)]
pub struct Options {
    /// The collection's name; `cm__claude-mem` by default.
    pub collection: String,
    /// The database that it is in, where several have one of that name; by default the only one, else Chroma's
    /// `default_database`.
    pub database: Option<String>,
    /// Leave out vectors whose length is not 1 (±0.000005). True by default: the model's are, so others are damaged.
    pub unit_length: bool,
    /// The directory in which the private copy is made; by default the system's for temporary files.
    pub scratch: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self { collection: "cm__claude-mem".to_owned(), database: None, unit_length: true, scratch: None }
    }
}

/// A collection of a Chroma directory, as it was when it was opened.
///
/// Memory: some 150 bytes a document for its id and the place of its vector.
#[derive(Debug)]
pub struct Chroma {
    // Before the directory of its file: what is open is not removed everywhere.
    db: Connection,
    rows: Option<Rows>,
    /// The original, for messages.
    path: PathBuf,
    collections: Vec<CollectionInfo>,
    collection: CollectionInfo,
    space: Space,
    writer: Writer,
    /// Of the documents.
    segment: String,
    has_booleans: bool,
    unit_length: bool,
    places: Places,
    /// What opening found.
    opened: Report,
    _folder: TempDir,
}

/// The collections of a directory.
///
/// # Errors
/// As [`open`].
pub fn collections(directory: &Path, scratch: Option<&Path>) -> Result<Vec<CollectionInfo>> {
    Ok(snapshot::take(directory, scratch, Catalog::open, |_| None)?.found.collections)
}

/// Opens a collection of a directory. Copies it and reads the index's labels and the log's ids, so it takes some
/// 100 ms for 3,000 documents; vectors and texts are read while iterating.
///
/// # Errors
/// `ERR_NOT_FOUND` where there is no such directory, no Chroma database in it or no such collection (the message
/// names those there are); `ERR_CORRUPT` naming the file and the place; `ERR_BUSY` where a Chroma process keeps
/// writing; `ERR_INVALID_ARG` where several databases have the collection; `ERR_IO`, `ERR_DISK_FULL`.
pub fn open(directory: &Path, options: &Options) -> Result<Chroma> {
    let path = directory.join("chroma.sqlite3");
    let look = |database: &snapshot::Copied| {
        let catalog = Catalog::open(database)?;
        let chosen = catalog.choose(&path, &options.collection, options.database.as_deref())?;
        Ok((catalog, chosen))
    };
    let Snapshot { found, segment, folder } =
        snapshot::take(directory, options.scratch.as_deref(), look, |(_, chosen)| chosen.vector_segment.clone())?;
    let (catalog, chosen) = found;
    let Catalog { db, has_booleans, collections, writer } = catalog;
    let Chosen { collection, space, metadata_segment, vector_seq, .. } = chosen;
    let mut opened = Report::default();
    let mut places = Places::default();
    let mut rows = None;
    // Without a dimension nothing was ever added.
    if let Some(dimension) = collection.dimension {
        let mut start = 0;
        if let Some((index, metadata)) = read_index(segment, dimension)? {
            let upto = vector_seq.or(metadata.max_seq_id);
            start = upto.unwrap_or(0);
            places = log::of_index(&path, &index, &metadata, upto.unwrap_or(i64::MAX), &mut opened)?;
            check_order(&db, &path, &metadata_segment, &metadata)?;
            rows = Some(index);
        }
        log::replay(&db, &path, &collection.id, dimension, start, &mut places, &mut opened)?;
    }
    Ok(Chroma {
        db,
        rows,
        path,
        collections,
        collection,
        space,
        writer,
        segment: metadata_segment,
        has_booleans,
        unit_length: options.unit_length,
        places,
        opened,
        _folder: folder,
    })
}

impl Chroma {
    /// The collection that was opened.
    #[must_use]
    pub const fn collection(&self) -> &CollectionInfo {
        &self.collection
    }

    /// All collections of the directory.
    #[must_use]
    pub fn collections(&self) -> &[CollectionInfo] {
        &self.collections
    }

    /// How the collection measures distances.
    #[must_use]
    pub const fn space(&self) -> Space {
        self.space
    }

    /// The generation of the last writer.
    #[must_use]
    pub const fn writer(&self) -> Writer {
        self.writer
    }

    /// The documents from the first on, in the order in which they were added.
    pub fn documents(&mut self) -> Documents<'_> {
        Documents::new(self)
    }
}

/// The index and its labels; none before the first flush, when there is no pickle.
fn read_index(segment: Option<Segment>, dimension: usize) -> Result<Option<(Rows, IndexMetadata)>> {
    let Some(Segment { header, rows, pickle: Some(pickle) }) = segment else { return Ok(None) };
    let missing = |name: &str| corrupt(&pickle.original.with_file_name(name), "the file", "missing beside a pickle");
    let header = header.ok_or_else(|| missing("header.bin"))?;
    let rows = rows.ok_or_else(|| missing("data_level0.bin"))?;
    let metadata = IndexMetadata::read(&pickle, dimension)?;
    let rows = Rows::open(&header, &rows, dimension)?;
    let unknown = metadata.labels.values().filter(|label| rows.find(**label) == Err(LeftOut::RowMissing)).count();
    // A crash leaves out the newest rows at most, and those only that the log still has.
    if unknown > metadata.labels.len() / 8 {
        let what = format!("{unknown} of {} labels are not in data_level0.bin", metadata.labels.len());
        return Err(corrupt(&pickle.original, "its labels", what));
    }
    Ok(Some((rows, metadata)))
}

/// Labels are given in the order in which documents are added, and so are the rows of `embeddings`. A pickle of
/// another directory has the same ids and labels, perhaps, but in another order. (A document that was deleted and
/// added again between two flushes keeps its label in 0.x, so a few exceptions are normal.)
fn check_order(db: &Connection, path: &Path, segment: &str, metadata: &IndexMetadata) -> Result<()> {
    let place = "embeddings";
    let read = || {
        let mut statement = db.prepare("SELECT embedding_id FROM embeddings WHERE +segment_id = ?1 ORDER BY rowid")?;
        let mut rows = statement.query([segment])?;
        let (mut pairs, mut falls, mut last) = (0_u64, 0_u64, None);
        while let Some(row) = rows.next()? {
            let Some(label) = catalog::text(row.get_ref(0)?).and_then(|id| metadata.labels.get(id)) else { continue };
            if let Some(last) = last.replace(label) {
                pairs += 1;
                falls += u64::from(label < last);
            }
        }
        Ok((pairs, falls))
    };
    let (pairs, falls) = read().map_err(|error| refused(path, place, error))?;
    if pairs >= 16 && falls > pairs / 8 {
        let what = format!("the index's labels are in another order ({falls} of {pairs}): it is another collection's");
        return Err(corrupt(path, place, what));
    }
    Ok(())
}

/// `file` is damaged at `place`, or not what it should be.
fn corrupt(file: &Path, place: impl Display, what: impl Display) -> Error {
    Error::new(
        Code::Corrupt,
        format!("{}: {place}: {what}; leave the directory out, and its documents are embedded again", file.display()),
    )
    .with("path", file.display().to_string())
    .with("place", place.to_string())
}
