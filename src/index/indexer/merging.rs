//! The segments of the text indexes, merged in steps once the backlog is done and enough was written.
//!
//! A merge that has begun is noted in the file, with its first step: disposed or killed in between, the next open goes on.

use std::time::{Duration, Instant};

use super::{
    super::{storage, table, text::segments},
    Indexer, Progress,
};
use crate::{error::Result, fault};

/// Rest between two steps, in which nobody has asked for anything: who searches without a pause meets none of them.
pub(super) const REST: Duration = Duration::from_millis(10);
/// Where the index that is being merged is noted.
const MERGING: &str = "merging";

/// How it stands with the segments.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Segments {
    /// Nobody has looked since rows were written.
    Unknown,
    /// This index is being merged.
    Merging(&'static str),
    /// They are few.
    Few,
}

impl Indexer {
    /// Whether a step may be made without being asked.
    pub(super) fn may_merge(&self) -> bool {
        let working = || self.shared.figures().progress == Progress::Working;
        self.segments != Segments::Few && self.file.is_some() && self.acts_alone() && self.may_try() && !working()
    }

    /// One step; whether there may be another. One that fails (the disk is full) costs nothing else: it is tried again
    /// once more was written, or after the next open.
    pub fn merge_segments(&mut self) -> bool {
        if self.file.is_none() || self.shared.is_closing() {
            return false;
        }
        self.merge_step().unwrap_or_else(|error| {
            self.segments = Segments::Few;
            if storage::is_doubt(&error) {
                self.discard(&error);
            }
            false
        })
    }

    fn merge_step(&mut self) -> Result<bool> {
        self.with_file(|indexer, db| {
            let (index, first) = match indexer.segments {
                Segments::Few => return Ok(false),
                Segments::Merging(index) => (Some(index), false),
                Segments::Unknown => {
                    let noted = table::note(db, MERGING)?;
                    match segments::INDEXES.into_iter().find(|index| noted.as_deref() == Some(index)) {
                        Some(index) => (Some(index), false),
                        None => (worth_merging(db)?, true),
                    }
                }
            };
            let Some(index) = index else {
                indexer.segments = Segments::Few;
                return Ok(false);
            };
            fault::point("index-merge");
            let transaction = db.unchecked_transaction()?;
            let more = segments::merge(&transaction, index, first)?;
            if first || !more {
                table::set_note(&transaction, MERGING, more.then_some(index))?;
            }
            fault::point("index-merge-commit");
            transaction.commit()?;
            indexer.segments = match (more, first) {
                (true, _) => Segments::Merging(index),
                // After one there may be the other.
                (false, false) => Segments::Unknown,
                // FTS5 sees nothing to merge, and would not the next time.
                (false, true) => Segments::Few,
            };
            indexer.logged = Some(Instant::now());
            Ok(indexer.segments != Segments::Few)
        })
    }
}

/// The first index whose segments are many.
fn worth_merging(db: &rusqlite::Connection) -> Result<Option<&'static str>> {
    for index in segments::INDEXES {
        if segments::are_many(db, index)? {
            return Ok(Some(index));
        }
    }
    Ok(None)
}
