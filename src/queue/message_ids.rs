//! Message ids: given by our own writer, above the highest id and watermark of both files, and never twice.

use std::sync::atomic::{AtomicI64, Ordering};

use rusqlite::Connection;

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

/// The end of the block that `id` lies in.
const fn floor_above(id: i64) -> i64 {
    (id / BLOCK + 1) * BLOCK
}
