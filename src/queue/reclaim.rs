//! Purging acknowledged messages, in steps, and giving their pages back.
//!
//! A message may go only once its acknowledgement is on the disk: `claude-mem.db` commits with
//! `synchronous=NORMAL`, so a power cut could otherwise drop an acknowledgement whose messages are gone. One
//! ledger write with `synchronous=FULL` fsyncs everything before it. An acknowledgement in `queue.db` itself needs
//! none: see [`Directory::secure`](super::directory::Directory::secure).
//!
//! A reader of another process that keeps a transaction open holds the log of `queue.db` back: it grows with every
//! write until that reader goes. Purging goes on meanwhile, because later messages take the free pages and the file
//! stays small; giving pages back waits, because it only writes: the file cannot shrink before the log starts over.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    engine::Shared,
    state::Unpurged,
    storage::{self, Purged},
};
use crate::{db::Call, error::Result, reply::Reply};

/// Acknowledged messages from which a purge starts although the queue is busy.
const COUNT: usize = 2_000;
/// Their bytes.
const BYTES: usize = 16 << 20;
/// Messages deleted in one transaction at most.
const STEP: usize = 512;
/// Payload bytes deleted in one transaction, about: to free a large message, all its pages are walked through.
const STEP_BYTES: usize = 8 << 20;
/// Pages given back in one transaction.
const VACUUM_STEP: i64 = 1_024;

/// How long nothing must have come or gone before a purge that is not urgent.
const QUIET: Duration = Duration::from_secs(1);
/// How long a purge that failed rests.
const REST: Duration = Duration::from_secs(5);

/// Starts a purge where it is worth it; one at a time.
pub fn start(shared: &Arc<Shared>) {
    begin(shared, false);
}

/// Starts a purge now, unless one is running.
pub fn start_now(shared: &Arc<Shared>) {
    begin(shared, true);
}

fn begin(shared: &Arc<Shared>, now: bool) {
    let started = shared.with(|state, _| {
        let resting = !now && state.purge_after.is_some_and(|until| until > Instant::now());
        if state.purging || state.closed || resting {
            return None;
        }
        let quiet = now || state.active.elapsed() >= QUIET;
        let sum = |of: fn(&Unpurged) -> usize| state.unpurged.values().map(of).sum::<usize>();
        let due = quiet || sum(|unpurged| unpurged.count) >= COUNT || sum(|unpurged| unpurged.bytes) >= BYTES;
        let nothing = state.unpurged.is_empty();
        if !due || (nothing && !(quiet && state.reclaimable)) {
            return None;
        }
        state.purging = true;
        Some(state.unpurged.iter().map(|(id, unpurged)| (*id, unpurged.upto)).collect::<Vec<_>>())
    });
    let Some(acknowledged) = started else { return };
    if acknowledged.is_empty() {
        return vacuum(shared);
    }
    let mine = Arc::clone(shared);
    shared.directory.secure(Reply::new(move |outcome: Result<()>| match outcome {
        Ok(()) => purge(&mine, acknowledged),
        // Nothing was deleted, and nothing will be before such a write has succeeded.
        Err(_) => rest(&mine),
    }));
}

/// Deletes step by step; each step lets what waits for the writer go first.
fn purge(shared: &Arc<Shared>, mut sessions: Vec<(i64, i64)>) {
    let (mine, lookup, asked) = (Arc::clone(shared), Arc::clone(shared), sessions.clone());
    shared.queue_writer().submit(Call::new(
        "purge-acknowledged",
        Shared::bookkeeping_deadline(),
        move |db| {
            let keep = |session_id| Ok(lookup.directory.watermark(db, session_id)?.keep);
            storage::purge_acknowledged(db, &asked, keep, STEP, STEP_BYTES)
        },
        Reply::new(move |outcome: Result<Vec<Purged>>| {
            let Ok(purged) = outcome else { return rest(&mine) };
            mine.with(|state, _| {
                for gone in &purged {
                    let Some(unpurged) = state.unpurged.get_mut(&gone.session_id) else { continue };
                    unpurged.count = unpurged.count.saturating_sub(gone.count);
                    unpurged.bytes = unpurged.bytes.saturating_sub(gone.bytes);
                    // More may have been acknowledged since: that is the next purge's.
                    if gone.finished && unpurged.upto <= gone.upto {
                        state.unpurged.remove(&gone.session_id);
                    }
                }
            });
            sessions.retain(|(id, _)| !purged.iter().any(|gone| gone.finished && gone.session_id == *id));
            if sessions.is_empty() { vacuum(&mine) } else { purge(&mine, sessions) }
        }),
    ));
}

/// A purge that failed is tried again, but not at once and not by every commit.
fn rest(shared: &Shared) {
    shared.with(|state, _| {
        state.purging = false;
        state.purge_after = Some(Instant::now() + REST);
    });
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
    let held_back = shared.queue_writer().figures().log_is_held_back();
    let empty = shared.with(|state, _| {
        state.reclaimable = held_back;
        state.purging = !held_back;
        state.depth == 0
    });
    if held_back {
        return;
    }
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

#[cfg(test)]
mod tests;
