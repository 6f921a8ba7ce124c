//! Message ids: above the highest id and watermark of both files, in the order of the commits, and never twice.
//! The owner gives them from memory, in blocks ([`MessageIds`]); a client takes one at a time from the file
//! ([`take_as_client`]). How they keep out of each other's way stands in [`super::arrivals`].

use std::sync::atomic::{AtomicI64, Ordering};

use rusqlite::{Connection, OptionalExtension};

use super::storage;
use crate::error::Result;

/// Ids are reserved in blocks, so that the floors are written rarely.
const BLOCK: i64 = 65_536;

/// The next id, and the floor below which the files say that ids may have been given.
pub struct MessageIds {
    next: AtomicI64,
    floor: AtomicI64,
}

impl MessageIds {
    /// Ids from `first` on.
    pub fn starting_at(first: i64) -> Self {
        Self { next: AtomicI64::new(first), floor: AtomicI64::new(first) }
    }

    /// The next message id; runs inside the queue writer's transaction. Ids of a transaction that is rolled
    /// back are skipped, never given again.
    pub fn take(&self, db: &Connection) -> Result<i64> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let floor = floor_above(id);
        // In memory it rises only with the COMMIT: until then each transaction writes it again.
        if floor > self.floor.load(Ordering::Relaxed) {
            storage::set_meta(db, "id_floor", floor)?;
        }
        Ok(id)
    }

    /// The id that would be given next: every one of ours lies below it.
    pub fn next(&self) -> i64 {
        self.next.load(Ordering::Relaxed)
    }

    /// Goes on above what others have given: the highest id in the file, and its floor where that is not ours.
    /// Under the write lock, on the queue writer's thread.
    pub fn follow(&self, highest: i64, floor: i64) {
        self.next.fetch_max(highest + 1, Ordering::Relaxed);
        // Of our own floor only a part is given; beyond it somebody else has taken ids, which may be purged by now.
        if floor > self.floor.load(Ordering::Relaxed) {
            self.next.fetch_max(floor + 1, Ordering::Relaxed);
        }
    }

    /// The newest id that was given; exact on the queue writer's thread, which gives them.
    pub fn newest(&self) -> i64 {
        self.next.load(Ordering::Relaxed) - 1
    }

    /// Notes that an id of [`MessageIds::take`] was committed, and with it its floor; answers the floor where it
    /// has risen.
    pub fn confirm(&self, id: i64) -> Option<i64> {
        let floor = floor_above(id);
        (self.floor.fetch_max(floor, Ordering::Relaxed) < floor).then_some(floor)
    }
}

/// The next message id for whoever is not the owner; inside its own `BEGIN IMMEDIATE`. `above` is what the other
/// file says that may have been given.
pub fn take_as_client(db: &Connection, above: i64) -> Result<i64> {
    let id = highest_stored(db)?.max(floor(db)?).max(above) + 1;
    // The owner's ids of before lie at or below its floor, those of after above this one.
    storage::set_meta(db, "id_floor", id)?;
    Ok(id)
}

/// Up to where the queue's file says that ids may have been given.
pub fn floor(db: &Connection) -> Result<i64> {
    let floor = db
        .prepare_cached("SELECT value FROM meta WHERE key = 'id_floor'")?
        .query_row([], |row| row.get(0))
        .optional()?;
    Ok(floor.unwrap_or(0))
}

/// The highest id of a message or dead letter in the queue's file.
pub fn highest_stored(db: &Connection) -> Result<i64> {
    Ok(db
        .prepare_cached(
            "SELECT max(coalesce((SELECT max(id) FROM messages), 0), coalesce((SELECT max(id) FROM dead_letters), 0))",
        )?
        .query_row([], |row| row.get(0))?)
}

/// The highest id that `queue.db` itself has noted of its sessions: acknowledged, or known when one was named. As high
/// as any that a file restored alone may still have messages for.
pub fn highest_noted(db: &Connection) -> Result<i64> {
    Ok(db
        .prepare_cached("SELECT coalesce(max(max(upto, shared_upto, named_at)), 0) FROM sessions")?
        .query_row([], |row| row.get(0))?)
}

/// The end of the block that `id` lies in.
const fn floor_above(id: i64) -> i64 {
    (id / BLOCK + 1) * BLOCK
}
