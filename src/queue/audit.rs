//! The counters and leases in native memory against the rows of `queue.db`, and these against each other.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use rusqlite::Connection;

use super::{
    engine::{Queue, Shared, on_queue},
    state::State,
};
use crate::{
    db::{Durability, Writer},
    error::Result,
    reply,
};

/// Between two comparisons.
const PAUSE: Duration = Duration::from_millis(50);
/// Comparisons at most: a queue that is never quiet is not compared.
const TRIES: usize = 20;

/// A session whose counters are not what its rows say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// `sdk_sessions.id`.
    pub session_db_id: i64,
    /// Messages and bytes as counted.
    pub counted: (usize, usize),
    /// Messages and bytes as stored.
    pub stored: (usize, usize),
}

/// What does not fit together; nothing of it by default.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Audit {
    /// Sessions whose counters are wrong.
    pub counters: Vec<Difference>,
    /// Dead letters as counted and as stored, where these differ.
    pub dead_letters: Option<(usize, usize)>,
    /// Sessions with a lease that nobody holds: at the next open it would count an attempt.
    pub leases: Vec<i64>,
    /// Messages that are not there and have attempts.
    pub attempts: Vec<i64>,
}

type Compared = (Instant, Audit);

impl Queue {
    /// Compares until two comparisons in a row agree, with nothing enqueued or committed in between; none where the
    /// queue was never quiet for so long. With `mend` the counters are then set to what is stored, and stray leases and
    /// attempts deleted. Blocks.
    ///
    /// # Errors
    /// `ERR_DISPOSED`; what SQLite answers.
    pub fn audit(&self, mend: bool) -> Result<Option<Audit>> {
        let mut before: Option<Compared> = None;
        for _ in 0..TRIES {
            let (shared, expected) = (Arc::clone(self.shared()), before.clone());
            let seen = reply::wait(move |reply| {
                let mine = Arc::clone(&shared);
                let run = move |db: &Connection| compare(&mine, db, expected.as_ref().filter(|_| mend));
                on_queue(&shared, "audit", Durability::Normal, run, reply);
            })?;
            if seen.is_some() && seen == before {
                return Ok(seen.map(|(_, audit)| audit));
            }
            before = seen;
            std::thread::sleep(PAUSE);
        }
        Ok(None)
    }
}

/// Runs on the queue's writer, so that no enqueue is stored meanwhile. None where one is on its way.
fn compare(shared: &Shared, db: &Connection, mend: Option<&Compared>) -> Result<Option<Compared>> {
    let watermarks: HashMap<i64, i64> =
        shared.directory.watermarks(db)?.0.into_iter().map(|(id, watermark)| (id, watermark.upto)).collect();
    let mut stored: BTreeMap<i64, (usize, usize, i64)> = BTreeMap::new();
    let mut messages =
        db.prepare_cached("SELECT id, session_id, bytes, enqueued_at_epoch FROM messages ORDER BY id")?;
    let mut rows = messages.query([])?;
    while let Some(row) = rows.next()? {
        let session: i64 = row.get(1)?;
        if row.get::<_, i64>(0)? > watermarks.get(&session).copied().unwrap_or(0) {
            let entry = stored.entry(session).or_insert((0, 0, row.get(3)?));
            entry.0 += 1;
            entry.1 += usize::try_from(row.get::<_, i64>(2)?).unwrap_or(0);
        }
    }
    let dead: i64 = db.prepare_cached("SELECT count(*) FROM dead_letters")?.query_row([], |row| row.get(0))?;
    let dead = usize::try_from(dead).unwrap_or(0);
    let leases: Vec<(i64, i64)> = db
        .prepare_cached("SELECT session_id, token FROM leases ORDER BY session_id")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<rusqlite::Result<_>>()?;
    let attempts: Vec<i64> = db
        .prepare_cached(
            "SELECT message_id FROM attempts WHERE message_id NOT IN (SELECT id FROM messages) ORDER BY message_id",
        )?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let seen = shared.read(|state| {
        // One that is held may have no message left: the holder has sent all of them to the dead letters.
        let held = |(id, token): (i64, i64)| {
            state.sessions.get(&id).and_then(|session| session.lease.as_ref()).is_some_and(|lease| lease.token == token)
        };
        (!in_flight(shared)).then(|| {
            let audit = Audit {
                counters: differences(state, &stored),
                dead_letters: (state.metrics.dead != dead).then_some((state.metrics.dead, dead)),
                leases: leases.into_iter().filter(|lease| !held(*lease)).map(|(id, _)| id).collect(),
                attempts,
            };
            (state.active, audit)
        })
    });
    if let Some(seen) = seen.as_ref().filter(|seen| mend == Some(*seen)) {
        delete_strays(db, &seen.1)?;
        shared.with(|state, effects| {
            state.metrics.dead = dead;
            for difference in &seen.1.counters {
                let (depth, bytes) = difference.stored;
                let session = state.session(difference.session_db_id);
                session.depth = depth;
                session.durable = depth;
                session.bytes = bytes;
                session.oldest_epoch = stored.get(&difference.session_db_id).map(|(_, _, epoch)| *epoch);
                state.depth = state.depth + depth - difference.counted.0.min(state.depth + depth);
                state.bytes = state.bytes + bytes - difference.counted.1.min(state.bytes + bytes);
                state.follow_up(difference.session_db_id, effects);
            }
        });
    }
    Ok(seen)
}

fn delete_strays(db: &Connection, audit: &Audit) -> Result<()> {
    for (sql, ids) in [
        ("DELETE FROM leases WHERE session_id = ?1", &audit.leases),
        ("DELETE FROM attempts WHERE message_id = ?1", &audit.attempts),
    ] {
        let mut delete = db.prepare_cached(sql)?;
        for id in ids {
            delete.execute([id])?;
        }
    }
    Ok(())
}

/// Whether an enqueue or a commit is on its way, beside the comparison that is running.
fn in_flight(shared: &Shared) -> bool {
    let waiting = |writer: &Writer| writer.figures().waiting.load(Ordering::Relaxed);
    waiting(shared.queue_writer()) > 1 || shared.directory.commits_in_flight()
}

fn differences(state: &State, stored: &BTreeMap<i64, (usize, usize, i64)>) -> Vec<Difference> {
    let ids: BTreeSet<i64> = stored.keys().chain(state.sessions.keys()).copied().collect();
    let difference = |id| {
        let counted = state.sessions.get(&id).map_or((0, 0), |session| (session.depth, session.bytes));
        let stored = stored.get(&id).map_or((0, 0), |(count, bytes, _)| (*count, *bytes));
        (counted != stored).then_some(Difference { session_db_id: id, counted, stored })
    };
    ids.into_iter().filter_map(difference).collect()
}
