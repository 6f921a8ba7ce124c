//! The graph between two opens: loaded from its snapshot where that is as it was written, and saved in time.

use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::{
    super::{
        table,
        vectors::{
            State,
            snapshot::{self, SnapshotInfo},
        },
    },
    Indexer,
};
use crate::error::Result;

/// The least time between two snapshots.
const SAVE: Duration = Duration::from_secs(10);
/// Where the last snapshot is noted, and what its files are called.
const SNAPSHOT: &str = "snapshot";
const VECTORS: &str = "vectors";

impl Indexer {
    /// Brings the vectors into memory, with the graph of the last snapshot where that is as it was written.
    pub(super) fn load_vectors(&mut self, db: &Connection) -> Result<()> {
        (self.saved, self.saved_at) = (self.shared.vector_changes(), Some(Instant::now()));
        if let (Some(note), Some(native)) = (table::note(db, SNAPSHOT)?, self.shared.path.parent()) {
            let loaded = SnapshotInfo::from_json(&note)
                .and_then(|info| self.shared.vectors.load(native, &info, &self.shared.embedder.identity().name));
            if loaded.is_ok() {
                return Ok(());
            }
            // On any doubt the graph is built anew, from the table.
            table::set_note(db, SNAPSHOT, None)?;
            snapshot::keep_only(native, VECTORS, None)?;
        }
        // The first graph is kept at once: it takes seconds to build.
        self.saved_at = None;
        self.shared.vectors.fill()?;
        // The whole table has gone through the page cache, and will not be read again.
        db.execute_batch("PRAGMA shrink_memory")?;
        Ok(())
    }

    /// Keeps the graph, where there is one, in a file for the next open: once nothing has changed for a while.
    pub(super) fn save_vectors(&mut self) -> Result<()> {
        let (changes, rest) = (self.shared.vector_changes(), self.saved_at.is_none_or(|at| at.elapsed() > SAVE));
        let (Some(file), Some(native)) = (&self.file, self.shared.path.parent()) else { return Ok(()) };
        let vectors = &self.shared.vectors;
        // One that is about to be replaced is not worth a file, unless what was to replace it could not be made.
        let settled = !vectors.is_working() || vectors.failure().is_some();
        let graph = settled && vectors.state() == State::Graph && self.embedding.is_none();
        let noted = || table::note(&file.db, SNAPSHOT).map(|note| note.is_some());
        if !graph || !rest || (changes == self.saved && noted()?) {
            return Ok(());
        }
        let saved = self.shared.vectors.save(native, VECTORS, &self.shared.embedder.identity().name)?;
        if let Some(info) = saved {
            table::set_note(&file.db, SNAPSHOT, Some(&info.to_json()))?;
            snapshot::keep_only(native, VECTORS, Some(&info))?;
        }
        (self.saved, self.saved_at) = (changes, Some(Instant::now()));
        self.logged = Some(Instant::now());
        Ok(())
    }
}
