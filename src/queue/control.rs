//! What clients change of a queue beside enqueueing: pauses and dead letters. They write `queue.db`, as when they
//! enqueue, and the owner brings its memory up to it.
//!
//! Each such change counts [`CHANGES`] up in its own transaction. The owner looks at that number when another connection
//! has committed: in each transaction of its writer ([`super::arrivals`]), and twice a second while it has nothing to do.
//! It reads pauses and dead letters anew then, under the write lock and on the writer's thread: what it has committed
//! itself is settled by then, and nobody can commit in between, so neither side's change is lost.
//!
//! What is in somebody's hands stays the owner's: clients neither claim nor throw away what waits.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use rusqlite::{Connection, OptionalExtension};

use super::{
    client::{ClientQueue, Shared as ClientShared},
    dead_letters::{self, DeadLetterFilter},
    engine::Shared,
    enqueue::Enqueued,
    message_ids,
    pause::{self, apply, lift},
    state::{ALL, State},
};
use crate::{
    clock,
    db::{Call, Durability},
    error::{Error, Result},
    reply::Reply,
};

/// The key in `meta`.
const CHANGES: &str = "client_changes";
/// Ends of a pause that lie no further apart are the same, ms: in memory one is kept as a deadline.
const SAME_MS: i64 = 2_000;

/// How often clients have changed something.
pub fn changes(db: &Connection) -> Result<i64> {
    let mut count = db.prepare_cached("SELECT value FROM meta WHERE key = ?1")?;
    Ok(count.query_row([CHANGES], |row| row.get(0)).optional()?.unwrap_or(0))
}

/// In the transaction of the change.
fn count_change(db: &Connection) -> Result<()> {
    db.prepare_cached("INSERT INTO meta(key, value) VALUES (?1, 1) ON CONFLICT(key) DO UPDATE SET value = value + 1")?
        .execute([CHANGES])?;
    Ok(())
}

struct Stored {
    until_epoch: Option<i64>,
    reason: Option<String>,
    owner: Option<Box<str>>,
}

/// Takes over what clients have changed since the number was `seen`. Under the write lock, on the writer's thread.
pub fn notice(shared: &Shared, db: &Connection, seen: &mut Option<i64>) -> Result<()> {
    let count = changes(db)?;
    if *seen == Some(count) {
        return Ok(());
    }
    let dead: i64 = db.prepare_cached("SELECT count(*) FROM dead_letters")?.query_row([], |row| row.get(0))?;
    let dead = usize::try_from(dead).unwrap_or(0);
    let Pauses { pauses, strangers } = pauses(shared, db)?;
    shared.with(|state, effects| {
        // This may be the first to see that the number is another session's: whoever activates that one finds no pause
        // any more, and would leave it in the file.
        for (key, name) in strangers {
            pause::forget(key, name, effects);
        }
        state.reclaimable |= dead < state.metrics.dead;
        state.metrics.dead = dead;
        for key in paused(state) {
            if !pauses.contains_key(&key) {
                lift(state, key, effects);
            }
        }
        for (key, Stored { until_epoch, reason, owner }) in pauses {
            if !is_paused_until(state, key, until_epoch) {
                let pause = pause::pause(until_epoch, reason, owner, shared.settings.max_pause);
                apply(state, key, pause, effects);
            }
        }
        effects.wake_clock = true;
    });
    *seen = Some(count);
    Ok(())
}

/// Pauses in the file that have not ended.
#[derive(Default)]
struct Pauses {
    /// Those of the session that has the number now.
    pauses: BTreeMap<i64, Stored>,
    /// Numbers whose pause is of a session that is gone, with whose they are now.
    strangers: Vec<(i64, Box<str>)>,
}

/// What the file says, under the write lock.
fn pauses(shared: &Shared, db: &Connection) -> Result<Pauses> {
    let mut statement = db.prepare_cached(
        "SELECT session_id, until_epoch, reason, claude_session_id FROM pauses
         WHERE until_epoch IS NULL OR until_epoch > ?1",
    )?;
    let mut rows = statement.query([clock::now_epoch()])?;
    let mut found = Pauses::default();
    while let Some(row) = rows.next()? {
        let key: i64 = row.get(0)?;
        let stored = Stored { until_epoch: row.get(1)?, reason: row.get(2)?, owner: row.get(3)? };
        let known = shared.directory.session(db, key)?;
        let name = known.as_ref().and_then(|known| known.name());
        if let (Some(name), Some(owner)) = (name, &stored.owner)
            && **owner != *name
        {
            found.strangers.push((key, name.into()));
            continue;
        }
        found.pauses.insert(key, stored);
    }
    Ok(found)
}

fn paused(state: &State) -> Vec<i64> {
    let own = state.sessions.iter().filter(|(_, session)| session.pause.is_some()).map(|(id, _)| *id);
    state.pause_all.is_some().then_some(ALL).into_iter().chain(own).collect()
}

fn is_paused_until(state: &State, key: i64, until_epoch: Option<i64>) -> bool {
    let pause = match key {
        ALL => state.pause_all.as_ref(),
        _ => state.sessions.get(&key).and_then(|session| session.pause.as_ref()),
    };
    pause.is_some_and(|pause| match (&pause.until, until_epoch) {
        (None, None) => true,
        (Some((_, known)), Some(wanted)) => known.abs_diff(wanted) < SAME_MS.unsigned_abs(),
        _ => false,
    })
}

impl ClientQueue {
    fn change<T: Send + 'static>(
        &self,
        name: &'static str,
        durability: Durability,
        mut run: impl FnMut(&ClientShared, &Connection) -> Result<T> + Send + 'static,
        reply: Reply<T>,
    ) {
        let shared = Arc::clone(self.shared());
        if shared.is_closed() {
            return reply.settle(Err(Error::disposed("memory")));
        }
        let deadline = Instant::now() + shared.settings.deadline;
        let run = move |db: &Connection| {
            let changed = run(&shared, db)?;
            count_change(db)?;
            Ok(changed)
        };
        self.writer().submit(Call::new(name, deadline, run, reply).durability(durability));
    }

    /// As [`super::Queue::pause`]; an owner ends its consumers within a second.
    pub fn pause(&self, session_id: Option<i64>, until_epoch: Option<i64>, reason: Option<String>, reply: Reply<()>) {
        let key = session_id.unwrap_or(ALL);
        let run = move |shared: &ClientShared, db: &Connection| {
            let known = shared.directory.session(db, key)?;
            pause::store(db, key, until_epoch, reason.as_deref(), known.as_ref().and_then(|known| known.name()))
        };
        self.change("pause", Durability::Normal, run, reply);
    }

    /// As [`super::Queue::resume`].
    pub fn resume(&self, session_id: Option<i64>, reply: Reply<()>) {
        let key = session_id.unwrap_or(ALL);
        self.change("resume", Durability::Normal, move |_, db| pause::remove(db, key), reply);
    }

    /// As [`super::Queue::retry_dead_letter`].
    pub fn retry_dead_letter(&self, id: i64, reply: Reply<Enqueued>) {
        let run = move |shared: &ClientShared, db: &Connection| {
            let newest = message_ids::highest_stored(db)?.max(message_ids::floor(db)?);
            let retried = dead_letters::requeue(
                db,
                &*shared.directory,
                id,
                |session_id, bytes| shared.check_room(db, session_id, bytes),
                || message_ids::take_as_client(db, shared.given_elsewhere(db, newest)?),
            )?;
            shared.note_id(retried.id);
            Ok(Enqueued { id: retried.id, depth: shared.depth(db, retried.session_id)?, duplicate: None })
        };
        self.change("retryDeadLetter", Durability::Full, run, reply);
    }

    /// As [`super::Queue::purge_dead_letters`].
    pub fn purge_dead_letters(&self, filter: DeadLetterFilter, reply: Reply<usize>) {
        self.change("purgeDeadLetters", Durability::Normal, move |_, db| dead_letters::delete(db, &filter), reply);
    }
}
