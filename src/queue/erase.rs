//! Sessions that are being deleted: nothing of theirs is delivered or taken any more, and everything that
//! `queue.db` has of them goes.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use rusqlite::{Connection, params};

use super::{
    consumer::EndReason,
    directory,
    engine::{Queue, Shared},
    import,
    lease::Phase,
    reclaim,
    state::State,
};
use crate::{
    db::Call,
    error::{Error, Result},
    reply::{self, Reply},
};

/// Messages of a session deleted in one transaction: `queue.db` is ours alone, but an enqueue should not wait for long.
const STEP: i64 = 512;
/// For how long one transaction goes on to the next session.
const STEP_TIME: Duration = Duration::from_millis(10);
/// Sessions that one transaction is given: it seldom comes so far.
const SESSIONS: usize = 256;

/// What was erased of a session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Erased {
    /// Messages that waited.
    pub messages: usize,
    /// Dead letters.
    pub dead_letters: usize,
}

/// Sessions on their way out; they are let in again when it is dropped, whatever has become of them.
pub struct Leaving {
    shared: Arc<Shared>,
    ids: Vec<i64>,
}

impl Drop for Leaving {
    fn drop(&mut self) {
        self.shared.with(|state, effects| {
            for id in &self.ids {
                state.leaving.remove(id);
                state.follow_up(*id, effects);
            }
        });
    }
}

/// What is refused while its session is on its way out.
pub fn check(state: &State, session_id: i64) -> Result<()> {
    if state.leaving.contains(&session_id) { Err(directory::unknown(session_id)) } else { Ok(()) }
}

impl Queue {
    /// Ends the consumers of sessions with `deleted` and revokes their batches: a commit that has not begun is
    /// rejected with `ERR_LEASE_LOST`, one that has is waited for. Until the answer is dropped, nothing new is
    /// taken for these sessions. Waits: not for the JS thread.
    ///
    /// # Errors
    /// `ERR_DISPOSED`; `ERR_BUSY` where a commit in flight waits for a lock for longer than `wait`.
    pub fn take_leave(&self, ids: &[i64], wait: Duration) -> Result<Leaving> {
        let shared = Arc::clone(self.shared());
        shared.with(|state, effects| {
            if state.closed {
                return Err(Error::disposed("memory"));
            }
            for id in ids {
                state.leaving.insert(*id);
                state.registry.remove(*id);
                state.end_consumer(*id, EndReason::Deleted, effects);
                if let Some(session) = state.sessions.get_mut(id) {
                    session.lapsed = None;
                    session.lease.take_if(|lease| lease.phase == Phase::Leased);
                }
            }
            Ok(())
        })?;
        let leaving = Leaving { shared, ids: ids.to_vec() };
        reply::wait(|reply| leaving.shared.directory.settle_commits(Instant::now() + wait, reply))?;
        Ok(leaving)
    }

    /// As [`Queue::take_leave`], for those of the sessions that nothing waits for: no message, no dead letter, no
    /// consumer. Answers with them, and with the newest message id of that moment.
    ///
    /// # Errors
    /// `ERR_DISPOSED`, `ERR_BUSY`.
    pub fn take_leave_of_idle(&self, ids: &[i64], wait: Duration) -> Result<(Leaving, Vec<i64>, i64)> {
        let shared = Arc::clone(self.shared());
        let (asked, mine) = (ids.to_vec(), Arc::clone(&shared));
        // Outlives the command: should its commit fail, they are let in again all the same.
        let idle: Arc<Mutex<Vec<i64>>> = Arc::default();
        let marked = Arc::clone(&idle);
        // On the queue's own thread: no enqueue is half-way.
        let outcome = reply::wait(|reply| {
            let run = move |db: &Connection| {
                let mut held = db.prepare_cached(
                    "SELECT EXISTS (SELECT 1 FROM messages WHERE session_id = ?1 AND id > ?2)
                       OR EXISTS (SELECT 1 FROM dead_letters WHERE session_id = ?1)",
                )?;
                for id in &asked {
                    let upto = mine.directory.watermark(db, *id)?.upto;
                    if held.query_row(params![id, upto], |row| row.get::<_, bool>(0))? {
                        continue;
                    }
                    let left = mine.with(|state, _| {
                        let busy = state.registry.get(*id).is_some()
                            || state.sessions.get(id).is_some_and(|session| {
                                session.depth > 0 || session.lease.is_some() || session.consumer.is_some()
                            });
                        !busy && state.leaving.insert(*id)
                    });
                    if left {
                        marked.lock().unwrap_or_else(PoisonError::into_inner).push(*id);
                    }
                }
                Ok(mine.ids.newest())
            };
            shared.queue_writer().submit(Call::new("find-idle-sessions", Instant::now() + wait, run, reply));
        });
        let idle = std::mem::take(&mut *idle.lock().unwrap_or_else(PoisonError::into_inner));
        let leaving = Leaving { shared, ids: idle.clone() };
        let newest = outcome?;
        Ok((leaving, idle, newest))
    }

    /// Erases everything that `queue.db` has of sessions that are leaving, in steps. Waits: not for the JS thread.
    ///
    /// # Errors
    /// `ERR_BUSY`, `ERR_DISPOSED`, `ERR_IO`; what was erased stays erased.
    pub fn erase(&self, ids: &[i64], wait: Duration) -> Result<Erased> {
        self.erase_what(ids, None, wait)
    }

    /// As [`Queue::erase`], for sessions that were idle when `newest` was the newest message id. What a client, which
    /// knows of no leave-taking, has enqueued since was taken and must not vanish: it stays, and becomes dead letters as
    /// its session is gone.
    ///
    /// # Errors
    /// As [`Queue::erase`].
    pub fn erase_idle(&self, ids: &[i64], newest: i64, wait: Duration) -> Result<()> {
        self.erase_what(ids, Some(newest), wait).map(drop)
    }

    fn erase_what(&self, ids: &[i64], idle_at: Option<i64>, wait: Duration) -> Result<Erased> {
        let (mut sum, mut left) = (Erased::default(), ids);
        while !left.is_empty() {
            let some = left[..left.len().min(SESSIONS)].to_vec();
            let steps = reply::wait(|reply| self.erase_step(some, idle_at, wait, reply))?;
            for step in &steps {
                sum.messages += step.waiting;
                sum.dead_letters += step.dead_letters;
            }
            left = &left[steps.iter().filter(|step| !step.more).count()..];
        }
        Ok(sum)
    }

    /// One transaction: sessions in their order, until it is full. Only the last of the answer may have more.
    fn erase_step(&self, ids: Vec<i64>, idle_at: Option<i64>, wait: Duration, reply: Reply<Vec<Step>>) {
        let (shared, settle) = (Arc::clone(self.shared()), Arc::clone(self.shared()));
        let run = move |db: &Connection| {
            let (until, mut steps) = (Instant::now() + STEP_TIME, Vec::new());
            for id in &ids {
                let step = step(&shared, db, *id, idle_at)?;
                let full = step.more || Instant::now() >= until;
                steps.push(step);
                if full {
                    break;
                }
            }
            Ok(steps)
        };
        let settled = Reply::new(move |outcome: Result<Vec<Step>>| {
            settle.with(|state, effects| {
                for step in outcome.iter().flatten() {
                    apply(state, step);
                    state.follow_up(step.session_id, effects);
                }
                effects.then(move || reply.settle(outcome));
            });
        });
        self.shared().queue_writer().submit(Call::new("erase-session", Instant::now() + wait, run, settled));
    }

    /// Gives the pages of what was erased back, where it is worth it.
    pub fn give_back_pages(&self) {
        reclaim::give_back(self.shared());
    }
}

struct Step {
    session_id: i64,
    waiting: usize,
    bytes: usize,
    dead_letters: usize,
    more: bool,
}

fn step(shared: &Shared, db: &Connection, session_id: i64, idle_at: Option<i64>) -> Result<Step> {
    // What is acknowledged is out of the counters already; of an idle session that is everything, and its watermark
    // may be gone with its row.
    let upto = match idle_at {
        Some(newest) => newest,
        None => shared.directory.watermark(db, session_id)?.upto,
    };
    let last = idle_at.unwrap_or(i64::MAX);
    let mut step = Step { session_id, waiting: 0, bytes: 0, dead_letters: 0, more: false };
    let mut delete = db.prepare_cached(
        "DELETE FROM messages WHERE id IN (SELECT id FROM messages WHERE session_id = ?1 AND id <= ?3 ORDER BY id
           LIMIT ?2) RETURNING id, bytes",
    )?;
    let mut rows = delete.query(params![session_id, STEP, last])?;
    let mut deleted = 0;
    while let Some(row) = rows.next()? {
        deleted += 1;
        if row.get::<_, i64>(0)? > upto {
            step.waiting += 1;
            step.bytes += usize::try_from(row.get::<_, i64>(1)?).unwrap_or(0);
        }
    }
    drop(rows);
    if deleted == STEP {
        step.more = true;
        return Ok(step);
    }
    step.dead_letters = db
        .prepare_cached("DELETE FROM dead_letters WHERE session_id = ?1 AND id <= ?2")?
        .execute([session_id, last])?;
    for sql in [
        "DELETE FROM attempts WHERE session_id = ?1 AND message_id <= ?2",
        "DELETE FROM dedupe_keys WHERE session_id = ?1 AND message_id <= ?2",
    ] {
        db.prepare_cached(sql)?.execute([session_id, last])?;
    }
    for sql in [
        "DELETE FROM backoffs WHERE session_id = ?1",
        "DELETE FROM pauses WHERE session_id = ?1",
        "DELETE FROM leases WHERE session_id = ?1",
        // Its watermark goes with it: the floor of the ids lies above.
        "DELETE FROM sessions WHERE session_id = ?1",
    ] {
        db.prepare_cached(sql)?.execute([session_id])?;
    }
    import::forget(db, session_id)?;
    Ok(step)
}

fn apply(state: &mut State, step: &Step) {
    let session_id = step.session_id;
    state.count_out(session_id, step.waiting, step.bytes, true);
    state.metrics.dead = state.metrics.dead.saturating_sub(step.dead_letters);
    if !step.more {
        state.unpurged.remove(&session_id);
        if let Some(session) = state.sessions.get_mut(&session_id) {
            session.not_before = None;
            session.attempts = 0;
            session.pause = None;
        }
    }
}
