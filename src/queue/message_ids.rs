//! Message ids: given by our own writer, above the highest id and watermark of both files, and never twice.

use std::sync::atomic::{AtomicI64, Ordering};

use rusqlite::Connection;

use super::{engine::Shared, storage};
use crate::{db::Writer, error::Result, reply::Reply};

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

    /// Notes that an id of [`MessageIds::take`] was committed, and with it its floor.
    pub fn confirm(&self, id: i64, main_writer: &Writer) {
        let floor = floor_above(id);
        if self.floor.fetch_max(floor, Ordering::Relaxed) >= floor {
            return;
        }
        // The other file's floor follows when its lock is free: an enqueue never waits for it. Should it be
        // missed, the watermarks there still bound what could be swallowed.
        main_writer.call(
            "raise-id-floor",
            Shared::bookkeeping_deadline(),
            move |db| {
                db.prepare_cached(
                    "INSERT INTO native_ledger(key, value) VALUES ('id_floor', ?1)
                     ON CONFLICT(key) DO UPDATE SET value = max(CAST(value AS INTEGER), excluded.value)",
                )?
                .execute([floor])?;
                Ok(())
            },
            Reply::ignore(),
        );
    }
}

/// The end of the block that `id` lies in.
const fn floor_above(id: i64) -> i64 {
    (id / BLOCK + 1) * BLOCK
}
