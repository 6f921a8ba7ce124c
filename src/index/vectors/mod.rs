//! Vectors in memory: who is near to what.
//!
//! ```
//! # fn main() -> Result<(), claude_mem_native::error::Error> {
//! use claude_mem_native::{index::vectors::{Allowed, By, Entry, VectorIndex}, settings::Settings};
//!
//! let vectors = VectorIndex::new(3, &Settings::new("").index);
//! vectors.put(&[
//!     Entry { id: 1, group: 10, vector: &[1.0, 0.0, 0.0] },
//!     Entry { id: 2, group: 10, vector: &[0.0, 1.0, 0.0] },
//!     Entry { id: 3, group: 11, vector: &[0.6, 0.8, 0.0] },
//! ])?;
//! let hits = vectors.nearest(&[0.0, 2.0, 0.0], 10, By::Group, Allowed::All)?;
//! assert_eq!(hits.iter().map(|hit| hit.id).collect::<Vec<_>>(), [2, 3]);
//! # Ok(())
//! # }
//! ```
//!
//! An index knows *documents*: an id, a vector, and the *group* that it belongs to, as the documents of one row do.
//! All of it is derived from a table ([`Source`]): one thread, that which writes the table, puts and removes; any
//! number search at the same time.
//!
//! Vectors are kept once, at unit length, with 16 or 8 bits a number; distance is 1 − cosine. See [`blocks`] for how
//! they lie in memory.

mod blocks;
mod builder;
mod construction;
mod contents;
mod filling;
mod graph;
mod id_set;
mod kernel;
pub mod key_hash;
mod lines;
mod ranking;
mod search;
mod slots;
pub mod snapshot;
mod source;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;
mod usearch_file;
pub mod vector;

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use self::{builder::Builder, contents::Contents};
pub use self::{
    builder::Postponed,
    filling::Visit,
    id_set::IdSet,
    snapshot::{SnapshotInfo, keep_only},
    source::{Row, Source},
};
use crate::{
    error::{Error, Result},
    settings::{self, Precision},
};

/// From so many documents on a graph finds them; up to here each is compared, which misses none, needs no building and
/// takes some 0.2 ms. Among 20,000 a graph finds the nearest ten in an eighth of the time that comparing all takes, and
/// the nearest hundred rows in half of it.
pub const THRESHOLD: usize = 10_000;

/// One document to put.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// Its number. Another that is there under it is replaced.
    pub id: i64,
    /// What it belongs to. Meant for tens of documents, not for all.
    pub group: i64,
    /// Its vector, of any length above 0.
    pub vector: &'a [f32],
}

/// One document that was found.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hit {
    /// Its number.
    pub id: i64,
    /// What it belongs to.
    pub group: i64,
    /// 1 − cosine: 0 for the same direction, 2 for the opposite.
    pub distance: f32,
}

impl Hit {
    /// Rounding makes a cosine a little more than 1 or less than −1; no distance is.
    fn bounded(self) -> Self {
        Self { distance: self.distance.clamp(0.0, 2.0), ..self }
    }
}

/// What a search ranks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum By {
    /// Documents.
    Document,
    /// Groups: each once, with its best document.
    Group,
}

/// What a search may find.
#[derive(Debug, Clone, Copy)]
pub enum Allowed<'a> {
    /// Everything.
    All,
    /// Documents of these groups.
    Groups(&'a IdSet),
    /// These documents.
    Documents(&'a IdSet),
}

/// How an index answers at present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Every vector is compared.
    Exact,
    /// By a graph, and exactly where few are allowed.
    Graph,
    /// A graph is being built; until it is there answers come as exactly as before.
    Rebuilding,
    /// The vectors are not in memory: not yet, or they would be more than `vectorMemoryBudget`. Every one is read from
    /// the table for each search.
    FromFile,
}

impl State {
    /// What `status` and `health` call it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Graph => "graph",
            Self::Rebuilding => "rebuilding",
            Self::FromFile => "fromFile",
        }
    }
}

/// Bytes in memory by what they are for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Memory {
    /// The vectors.
    pub vectors: usize,
    /// The graph, and the one that is being built.
    pub graph: usize,
    /// Which document is where.
    pub maps: usize,
}

impl Memory {
    /// All of it.
    #[must_use]
    pub const fn total(self) -> usize {
        self.vectors + self.graph + self.maps
    }
}

/// The vectors of one table.
pub struct VectorIndex {
    shared: Arc<Shared>,
}

struct Shared {
    dimensions: usize,
    settings: settings::Index,
    source: Option<Arc<dyn Source>>,
    contents: RwLock<Contents>,
    builder: Builder,
}

impl VectorIndex {
    /// An empty index that is all in memory, of vectors of `dimensions` numbers (1 to 65,536).
    #[must_use]
    pub fn new(dimensions: usize, settings: &settings::Index) -> Self {
        Self::with(dimensions, settings, None)
    }

    /// The index of a table. Until [`Self::fill`] it answers by reading the table.
    #[must_use]
    pub fn of(source: Arc<dyn Source>, dimensions: usize, settings: &settings::Index) -> Self {
        Self::with(dimensions, settings, Some(source))
    }

    fn with(dimensions: usize, settings: &settings::Index, source: Option<Arc<dyn Source>>) -> Self {
        Self::with_threshold(dimensions, settings, source, THRESHOLD)
    }

    fn with_threshold(
        dimensions: usize,
        settings: &settings::Index,
        source: Option<Arc<dyn Source>>,
        threshold: usize,
    ) -> Self {
        let dimensions = dimensions.clamp(1, vector::MAX_DIMENSIONS);
        let mut contents = Contents::new(dimensions, settings.precision, threshold, settings.memory_budget);
        contents.loaded = source.is_none();
        Self {
            shared: Arc::new(Shared {
                dimensions,
                settings: settings.clone(),
                source,
                contents: RwLock::new(contents),
                builder: Builder::default(),
            }),
        }
    }

    /// Puts documents, each in place of the one of its id. Either all are put or none.
    ///
    /// # Errors
    /// `ERR_INVALID_ARG` for a vector that is not of the index's length, has a number that is NaN or infinite, or only
    /// zeros; it names the document.
    pub fn put(&self, entries: &[Entry<'_>]) -> Result<()> {
        let units = entries
            .iter()
            .map(|entry| {
                vector::unit(entry.vector, self.shared.dimensions)
                    .map(vector::as_stored)
                    .map_err(|error| Error { message: format!("document {}: {}", entry.id, error.message), ..error })
            })
            .collect::<Result<Vec<_>>>()?;
        let mut contents = self.shared.write();
        if !contents.loaded {
            // The table has it.
            return Ok(());
        }
        for (entry, unit) in entries.iter().zip(&units) {
            contents.put(entry.id, entry.group, unit)?;
        }
        if !contents.keep_within_budget() {
            self.shared.give_up_memory(&mut contents);
        }
        drop(contents);
        self.shared.build_in_background();
        Ok(())
    }

    /// Removes documents. Ids that are not there do not matter.
    pub fn remove(&self, ids: &[i64]) {
        let mut contents = self.shared.write();
        for &id in ids {
            if let Some(slot) = contents.slots.of_id(id) {
                contents.remove(slot);
            }
        }
        drop(contents);
        self.shared.build_in_background();
    }

    /// Removes all documents of groups.
    pub fn remove_groups(&self, groups: &[i64]) {
        let mut contents = self.shared.write();
        for &group in groups {
            loop {
                // One at a time, as a removal may move another document of the group.
                let Some(slot) = contents.slots.of_group(group).next() else { break };
                contents.remove(slot);
            }
        }
        drop(contents);
        self.shared.build_in_background();
    }

    /// Removes everything.
    pub fn clear(&self) {
        let mut contents = self.shared.write();
        *contents = contents.emptied(self.shared.settings.precision);
    }

    /// The `k` nearest to `query`, nearest first; of equal distance the lower id first.
    ///
    /// # Errors
    /// `ERR_INVALID_ARG` for a query that is no vector of this index; those of the [`Source`] where the vectors are not
    /// in memory.
    pub fn nearest(&self, query: &[f32], k: usize, by: By, allowed: Allowed<'_>) -> Result<Vec<Hit>> {
        let query = vector::unit(query, self.shared.dimensions)?;
        if k == 0 {
            return Ok(Vec::new());
        }
        let contents = self.shared.read();
        if contents.loaded {
            return Ok(contents.nearest(&query, k, by, allowed));
        }
        drop(contents);
        self.shared.source()?.nearest(&query, k, by, allowed)
    }

    /// The document of each group that is nearest to `query`, always exactly; `None` for a group that has none.
    ///
    /// # Errors
    /// As [`Self::nearest`].
    pub fn best_of(&self, query: &[f32], groups: &[i64]) -> Result<Vec<Option<Hit>>> {
        let query = vector::unit(query, self.shared.dimensions)?;
        let contents = self.shared.read();
        if contents.loaded {
            return Ok(contents.best_of(&query, groups));
        }
        drop(contents);
        self.shared.source()?.best_of(&query, groups)
    }

    /// The vector of a document at unit length, as exactly as it is kept in memory; `None` where it is not there. The
    /// table has it more exactly.
    #[must_use]
    pub fn get(&self, id: i64) -> Option<Vec<f32>> {
        let contents = self.shared.read();
        contents.slots.of_id(id).map(|slot| contents.blocks.get(slot))
    }

    /// Numbers in a vector.
    #[must_use]
    pub fn dimensions(&self) -> usize {
        self.shared.dimensions
    }

    /// Documents in memory.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shared.read().slots.live()
    }

    /// Whether no document is in memory.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Groups that have documents in memory.
    #[must_use]
    pub fn groups(&self) -> usize {
        self.shared.read().slots.groups()
    }

    /// How vectors are kept at present: with 8 bits a number also where 16 would be more than the budget.
    #[must_use]
    pub fn precision(&self) -> Precision {
        self.shared.read().blocks.precision()
    }

    /// How searches are answered at present.
    #[must_use]
    pub fn state(&self) -> State {
        let contents = self.shared.read();
        match (contents.loaded, contents.building, contents.graph.is_some()) {
            (false, ..) => State::FromFile,
            (true, true, _) => State::Rebuilding,
            (true, false, true) => State::Graph,
            (true, false, false) => State::Exact,
        }
    }

    /// Whether there is a graph to search by: also while another is being built.
    #[must_use]
    pub fn has_graph(&self) -> bool {
        self.shared.read().graph.is_some()
    }

    /// Why there is no graph though there are enough vectors for one: what the system refused. Answers are exact, and
    /// slower; [`Self::fill`] tries again.
    #[must_use]
    pub fn failure(&self) -> Option<Error> {
        self.shared.read().failure.clone()
    }

    /// Whether something of the graph is being made in the background, or about to be.
    #[must_use]
    pub fn is_working(&self) -> bool {
        let contents = self.shared.read();
        contents.building || contents.work(self.shared.builder.is_postponed()).is_some()
    }

    /// Has a graph wait for as long as the answer is kept, except where searches would compare [`THRESHOLD`] documents
    /// for it that they need not compare otherwise.
    #[must_use]
    pub fn postpone_building(&self) -> Postponed {
        self.shared.postpone_building()
    }

    /// Whether somebody has it wait.
    #[cfg(test)]
    pub(crate) fn is_postponed(&self) -> bool {
        self.shared.builder.is_postponed()
    }

    /// Documents that the graph does not know, and places in it that lead to nothing: after a [`Self::load`] what the
    /// table has changed since.
    #[must_use]
    pub fn changed_since_graph(&self) -> usize {
        let contents = self.shared.read();
        contents.slots.pending() + contents.slots.dead()
    }

    /// Ends what goes on in the background, and waits until it has. Dropping the index does it too.
    pub fn stop(&self) {
        self.shared.builder.stop();
    }

    /// Bytes in memory.
    #[must_use]
    pub fn memory(&self) -> Memory {
        self.shared.read().memory()
    }
}

impl Drop for VectorIndex {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Shared {
    /// Lets the vectors go where they can be read from a table.
    fn give_up_memory(&self, contents: &mut Contents) {
        if self.source.is_some() {
            *contents = contents.emptied(self.settings.precision);
            contents.loaded = false;
        }
    }

    fn read(&self) -> RwLockReadGuard<'_, Contents> {
        self.contents.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Contents> {
        self.contents.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// What is read where the vectors are not in memory.
    fn source(&self) -> Result<source::Reading<'_>> {
        let source =
            self.source.as_deref().ok_or_else(|| Error::internal("vectors neither in memory nor in a table"))?;
        Ok(source::Reading { source, dimensions: self.dimensions })
    }
}
