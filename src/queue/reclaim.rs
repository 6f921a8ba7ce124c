//! Purging acknowledged messages, in steps, and giving their pages back.
//!
//! A message may go only once its acknowledgement is on the disk: `claude-mem.db` commits with
//! `synchronous=NORMAL`, so a power cut could otherwise drop an acknowledgement whose messages are gone. One
//! ledger write with `synchronous=FULL` fsyncs everything before it.

use std::{sync::Arc, time::Duration};

use super::{engine::Shared, state::Unpurged, storage};
use crate::{
    clock,
    db::{Call, Durability},
    error::Result,
    reply::Reply,
};

/// Acknowledged messages from which a purge starts although the queue is busy.
const COUNT: usize = 2_000;
/// Their bytes.
const BYTES: usize = 16 << 20;
/// Messages deleted in one transaction.
const STEP: i64 = 512;
/// Pages given back in one transaction.
const VACUUM_STEP: i64 = 2_048;

/// How long nothing must have come or gone before a purge that is not urgent.
const QUIET: Duration = Duration::from_secs(1);

/// Starts a purge where it is worth it; one at a time.
pub fn start(shared: &Arc<Shared>) {
    let started = shared.with(|state, _| {
        let idle = state.active.elapsed() >= QUIET;
        let sum = |of: fn(&Unpurged) -> usize| state.unpurged.values().map(of).sum::<usize>();
        let due = !state.unpurged.is_empty()
            && (idle || sum(|unpurged| unpurged.count) >= COUNT || sum(|unpurged| unpurged.bytes) >= BYTES);
        if !due || state.purging || state.closed {
            return None;
        }
        state.purging = true;
        Some(std::mem::take(&mut state.unpurged))
    });
    let Some(acknowledged) = started else { return };
    let mine = Arc::clone(shared);
    shared.main_writer.submit(
        Call::new(
            "sync-acknowledgements",
            Shared::bookkeeping_deadline(),
            |db| {
                db.prepare_cached(
                    "INSERT INTO native_ledger(key, value) VALUES ('synced_at_epoch', ?1)
                     ON CONFLICT(key) DO UPDATE SET value = excluded.value",
                )?
                .execute([clock::now_epoch()])?;
                Ok(())
            },
            Reply::new(move |outcome: Result<()>| match outcome {
                Ok(()) => purge(&mine, acknowledged.into_iter().map(|(id, unpurged)| (id, unpurged.upto)).collect()),
                Err(_) => mine.with(|state, _| {
                    // Later: what was taken out goes back, merged with what has come since.
                    state.purging = false;
                    for (id, old) in acknowledged {
                        let entry = state.unpurged.entry(id).or_default();
                        entry.upto = entry.upto.max(old.upto);
                        entry.count += old.count;
                        entry.bytes += old.bytes;
                    }
                }),
            }),
        )
        .durability(Durability::Full),
    );
}

/// Deletes step by step; each step lets what waits for the writer go first.
fn purge(shared: &Arc<Shared>, mut sessions: Vec<(i64, i64)>) {
    let Some((session_id, upto)) = sessions.last().copied() else { return vacuum(shared) };
    let mine = Arc::clone(shared);
    shared.queue_writer().submit(Call::new(
        "purge-acknowledged",
        Shared::bookkeeping_deadline(),
        move |db| storage::purge_acknowledged(db, session_id, upto, STEP),
        Reply::new(move |outcome: Result<usize>| match outcome {
            Ok(count) => {
                if i64::try_from(count).is_ok_and(|count| count < STEP) {
                    sessions.pop();
                }
                purge(&mine, sessions);
            }
            // The next open finds them by their watermark.
            Err(_) => mine.with(|state, _| state.purging = false),
        }),
    ));
}

/// Gives the pages of what was erased back, unless a purge is about to.
pub fn give_back(shared: &Arc<Shared>) {
    let started = shared.with(|state, _| !state.closed && !std::mem::replace(&mut state.purging, true));
    if started {
        vacuum(shared);
    }
}

/// Gives free pages back while the queue is empty or over half of the file is free.
fn vacuum(shared: &Arc<Shared>) {
    let empty = shared.read(|state| state.depth == 0);
    let mine = Arc::clone(shared);
    shared.queue_writer().submit(Call::new(
        "reclaim-pages",
        Shared::bookkeeping_deadline(),
        move |db| {
            let free: i64 = db.query_row("PRAGMA freelist_count", [], |row| row.get(0))?;
            let all: i64 = db.query_row("PRAGMA page_count", [], |row| row.get(0))?;
            if free == 0 || (!empty && free * 2 < all) {
                return Ok(false);
            }
            let mut statement = db.prepare(&format!("PRAGMA incremental_vacuum({VACUUM_STEP})"))?;
            let mut rows = statement.query([])?;
            while rows.next()?.is_some() {}
            Ok(free > VACUUM_STEP)
        },
        Reply::new(move |more: Result<bool>| {
            if more == Ok(true) {
                vacuum(&mine);
            } else {
                mine.with(|state, _| state.purging = false);
            }
        }),
    ));
}
