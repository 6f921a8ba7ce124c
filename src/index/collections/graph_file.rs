//! The graphs of collections' vectors between two opens, in `native/collection-<id>-<generation>.usearch`: read where
//! they are as they were written, and otherwise built anew. What they have to be is noted in `collections.snapshot`.
//!
//! The owner writes and removes them; clients read what is noted, and may find it replaced. A file holds no vector and
//! no text: keys, which neighbours each has, and a fingerprint of each vector.

use std::{fs, path::PathBuf};

use rusqlite::Connection;

use super::{
    reading::{self, Info},
    storage::Space,
};
use crate::{
    db::layout::Layout,
    error::{Code, Result},
    index::vectors::{Row, SnapshotInfo, VectorIndex, Visit, keep_only, snapshot::name_of, vector},
    settings::{Role, Settings},
};

/// Where the files lie, and who may change them.
#[derive(Debug)]
pub struct GraphFiles {
    native: PathBuf,
    writes: bool,
}

/// What was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    /// Vectors in the table.
    pub count: usize,
    /// What the table has changed since the graph was saved; none where it was not loaded.
    pub changed: Option<usize>,
}

impl GraphFiles {
    /// Those of a data directory.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        let native = Layout::new(settings.data_dir.clone()).native();
        Self { native, writes: settings.role == Role::Owner }
    }

    /// Whether graphs are written here.
    #[must_use]
    pub const fn writes(&self) -> bool {
        self.writes
    }

    /// Reads the vectors of a collection into an empty index, with the graph of its file where that is as it was
    /// written. More than the budget are not in memory afterwards.
    ///
    /// # Errors
    /// What SQLite answers.
    pub fn read(&self, db: &Connection, info: &Info, index: &VectorIndex) -> Result<Read> {
        if let Some(noted) = reading::snapshot(db, info.id)?.and_then(|note| SnapshotInfo::from_json(&note).ok())
            && name_of(&noted.file) == Some(&name(info.id))
        {
            let mut count = 0;
            let scan = |visit: Visit<'_>| each_vector(db, info, &mut count, visit);
            if index.load_from(scan, &self.native, &noted, model(&info.space)).is_ok() {
                return Ok(Read { count, changed: Some(index.changed_since_graph()) });
            }
            // On any doubt the graph is built anew, from the table. A client may have come while it was replaced.
            if self.writes {
                drop(fs::remove_file(self.native.join(&noted.file)));
            }
        }
        let mut count = 0;
        index.fill_from(|visit| each_vector(db, info, &mut count, visit))?;
        Ok(Read { count, changed: None })
    }

    /// Writes the graph of a collection into a new file; what is to be noted. None where there is no graph.
    ///
    /// # Errors
    /// As [`VectorIndex::save`].
    pub fn save(&self, id: i64, space: &Space, index: &VectorIndex) -> Result<Option<SnapshotInfo>> {
        index.save(&self.native, &name(id), model(space))
    }

    /// Removes the files of a collection, but the one that is noted.
    ///
    /// # Errors
    /// `ERR_IO`.
    pub fn keep_only(&self, id: i64, noted: Option<&SnapshotInfo>) -> Result<()> {
        match keep_only(&self.native, &name(id), noted) {
            // Where there is no directory there are no files.
            Err(error) if error.code == Code::Io && !self.native.exists() => Ok(()),
            done => done,
        }
    }

    /// Removes what no collection of the open file notes: of those that were dropped, were never finished, or came with
    /// another `collections.db`. Without an open file none does.
    ///
    /// # Errors
    /// What SQLite answers.
    pub fn tidy(&self, db: Option<&Connection>) -> Result<()> {
        let Ok(files) = fs::read_dir(&self.native) else { return Ok(()) };
        let found: Vec<String> =
            files.filter_map(|file| file.ok()?.file_name().into_string().ok()).filter(|file| is_ours(file)).collect();
        if found.is_empty() {
            return Ok(());
        }
        let mut noted = Vec::new();
        if let Some(db) = db {
            for info in reading::all(db)? {
                let note = reading::snapshot(db, info.id)?.and_then(|note| SnapshotInfo::from_json(&note).ok());
                noted.extend(note.map(|note| note.file));
            }
        }
        for file in found.iter().filter(|file| !noted.contains(file)) {
            // One that stays costs its bytes, and goes the next time.
            drop(fs::remove_file(self.native.join(file)));
        }
        Ok(())
    }
}

/// What the files of a collection begin with.
fn name(id: i64) -> String {
    format!("collection-{id}")
}

fn is_ours(file: &str) -> bool {
    name_of(file)
        .and_then(|name| name.strip_prefix("collection-"))
        .is_some_and(|id| !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit()))
}

/// What makes the vectors: the caller's own are of none.
fn model(space: &Space) -> &str {
    space.model().unwrap_or_default()
}

/// Shows each vector of a collection; not one that is damaged, or of another length: such a one is compared with
/// nothing. Counts them all.
fn each_vector(db: &Connection, info: &Info, count: &mut usize, visit: Visit<'_>) -> Result<()> {
    let mut numbers = vec![0.0; info.space.dimensions()];
    let mut all = db.prepare_cached(
        "SELECT d.key, v.vector FROM documents d INDEXED BY documents_written JOIN vectors v ON v.key = d.key
         WHERE d.collection = ?1",
    )?;
    let mut rows = all.query([info.id])?;
    while let Some(row) = rows.next()? {
        *count += 1;
        let (key, blob) = (row.get(0)?, row.get_ref(1)?.as_blob().unwrap_or_default());
        if vector::read_blob(blob, &mut numbers).is_ok() {
            visit(Row { id: key, group: key, blob })?;
        }
    }
    Ok(())
}
