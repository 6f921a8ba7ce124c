//! Deleting for good: rows with their text indexes, whole projects with what waits for them, and what is old.
//!
//! Everything goes in steps of some 25 ms, so that hooks wait for none of it. Each function works on the thread
//! that calls it, and waits: not for the JS thread. One that fails half-way leaves what it has done; calling it
//! again finishes it.

mod project;
mod retention;
#[cfg(test)]
mod tests;

use std::time::Duration;

use rusqlite::Connection;

use crate::{
    db::{Steps, layout::Layout},
    error::{Error, Result},
    index,
    memory::Memory,
    reply,
    settings::Role,
    store::removal::{self, Kind, Removed, Which},
};

pub use project::{DeletedProject, delete_project};
pub use retention::{Retained, retention};

/// What became of ids that were to be deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeletedRows {
    /// Rows that are gone.
    pub deleted: usize,
    /// Ids that had no row.
    pub unknown: usize,
}

/// Deletes the rows `ids`; ids without a row are counted, not refused. Each step waits `wait` for a lock.
///
/// # Errors
/// `ERR_BUSY`, `ERR_DISPOSED`, `ERR_IO`, `ERR_CORRUPT`, `ERR_DISK_FULL`.
pub fn delete_rows(memory: &Memory, kind: Kind, mut ids: Vec<i64>, wait: Duration) -> Result<DeletedRows> {
    ids.sort_unstable();
    ids.dedup();
    let asked = ids.len();
    let deleted = remove(memory, kind, ids, wait)?;
    merge_away(memory, &[kind], wait)?;
    forget(memory)?;
    Ok(DeletedRows { deleted, unknown: asked - deleted })
}

/// How many ids one step is given: it seldom comes so far.
const CHUNK: usize = 1_024;

fn remove(memory: &Memory, kind: Kind, ids: Vec<i64>, wait: Duration) -> Result<usize> {
    let mut steps = Steps::new(memory.writer()?, "delete-rows", wait);
    let (mut left, mut deleted, mut batch) = (&*ids, 0, removal::FIRST_BATCH);
    while !left.is_empty() {
        go_on(memory)?;
        let chunk = left[..left.len().min(CHUNK)].to_vec();
        let removed: Removed = steps.run(move |db, until| removal::delete(db, kind, &chunk, batch, until))?;
        deleted += removed.deleted;
        batch = removed.batch;
        left = &left[removed.done..];
    }
    Ok(deleted)
}

/// Deletes rows by project and age until there are none.
fn remove_all(memory: &Memory, kind: Kind, which: &Which, wait: Duration) -> Result<usize> {
    let mut deleted = 0;
    loop {
        let which = which.clone();
        let ids = read(memory, "find-rows", move |db| removal::find(db, kind, &which))?;
        if ids.is_empty() {
            return Ok(deleted);
        }
        deleted += remove(memory, kind, ids, wait)?;
    }
}

/// With `secureDelete`: deleted rows leave the segments of the text indexes too. Without it that happens when
/// FTS5 merges them by itself.
fn merge_away(memory: &Memory, kinds: &[Kind], wait: Duration) -> Result<()> {
    if !memory.settings().secure_delete {
        return Ok(());
    }
    let mut steps = Steps::new(memory.writer()?, "merge-text-index", wait);
    for kind in kinds.iter().copied() {
        let mut first = true;
        while go_on(memory).and_then(|()| steps.run(move |db, _| removal::merge_full_text(db, kind, first)))? {
            first = false;
        }
    }
    Ok(())
}

/// Has the index forget what is gone from the tables: its documents, their vectors and the texts that they are found by.
/// Where the index is not open, with `secureDelete`, its file goes: it can be made again.
fn forget(memory: &Memory) -> Result<()> {
    go_on(memory)?;
    let secure = memory.settings().secure_delete;
    if let Ok(index) = memory.index() {
        let forgotten = reply::wait(|reply| index.forget(reply));
        // What an index cannot forget now, on a full disk say, it forgets when it next looks; whoever asked for more is
        // told.
        return if secure { forgotten } else { go_on(memory) };
    }
    if secure && memory.settings().role == Role::Owner {
        index::throw_away(&Layout::new(memory.settings().data_dir.clone()))?;
    }
    Ok(())
}

/// A memory that goes away is not kept waiting; calling again finishes.
fn go_on(memory: &Memory) -> Result<()> {
    if memory.is_disposed() { Err(Error::disposed("memory")) } else { Ok(()) }
}

fn read<T: Send + 'static>(
    memory: &Memory,
    name: &'static str,
    read: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
) -> Result<T> {
    let readers = memory.readers()?;
    reply::wait(|reply| readers.call(name, read, reply))
}
