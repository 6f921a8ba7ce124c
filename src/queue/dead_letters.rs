//! Dead letters: list, show, retry, purge; and the messages that get there without a failed attempt.

use std::{collections::HashSet, sync::Arc};

use rusqlite::{Connection, OptionalExtension, Row, params};

use super::{
    claim::Batch,
    directory::{Known, Sessions},
    effects::Effects,
    engine::{Queue, Shared, on_queue},
    enqueue::{self, Enqueued},
    erase,
    lease::Phase,
    release::lost,
    state::State,
    storage::{self, NewMessage},
};
use crate::{
    clock,
    db::{Call, Durability},
    error::{Code, Error, Result},
    reply::Reply,
};

/// The reason of a message whose session is gone or another.
const SESSION_GONE: &str = "session-gone";
/// The reason of a message that the caller sent away.
const REJECTED: &str = "rejected";
/// Dead letters moved in one transaction.
const STEP: i64 = 500;

/// A message that is not delivered any more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The message's id.
    pub id: i64,
    /// `sdk_sessions.id`.
    pub session_db_id: i64,
    /// The session it was meant for.
    pub claude_session_id: String,
    /// The message's `type`.
    pub kind: Option<String>,
    /// Counted attempts.
    pub attempts: u32,
    /// `max-attempts`, `session-gone` or `rejected`.
    pub reason: String,
    /// What the last attempt said.
    pub error: Option<String>,
    /// When it came, epoch ms.
    pub enqueued_at_epoch: i64,
    /// When it died, epoch ms.
    pub dead_at_epoch: i64,
    /// Bytes of its JSON text.
    pub bytes: i64,
    /// Its JSON text, where one was asked for.
    pub payload: Option<String>,
}

/// Which dead letters.
#[derive(Debug, Clone, Default)]
pub struct DeadLetterFilter {
    /// Only these ids.
    pub ids: Option<Vec<i64>>,
    /// Only this session.
    pub session_db_id: Option<i64>,
    /// Only those that died before this time, epoch ms.
    pub older_than_epoch: Option<i64>,
}

const COLUMNS: &str =
    "id, session_id, claude_session_id, type, attempts, reason, error, enqueued_at_epoch, dead_at_epoch, bytes";

fn read(row: &Row<'_>) -> rusqlite::Result<DeadLetter> {
    Ok(DeadLetter {
        id: row.get(0)?,
        session_db_id: row.get(1)?,
        claude_session_id: row.get(2)?,
        kind: row.get(3)?,
        attempts: row.get(4)?,
        reason: row.get(5)?,
        error: row.get(6)?,
        enqueued_at_epoch: row.get(7)?,
        dead_at_epoch: row.get(8)?,
        bytes: row.get(9)?,
        payload: None,
    })
}

/// Dead letters, the newest first, without their text.
pub fn list(db: &Connection, session_id: Option<i64>, limit: i64, offset: i64) -> Result<Vec<DeadLetter>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM dead_letters WHERE ?1 IS NULL OR session_id = ?1
         ORDER BY dead_at_epoch DESC, id DESC LIMIT ?2 OFFSET ?3"
    );
    Ok(db
        .prepare_cached(&sql)?
        .query_map(params![session_id, limit, offset], read)?
        .collect::<rusqlite::Result<_>>()?)
}

/// One dead letter with its text.
pub fn find(db: &Connection, id: i64) -> Result<Option<DeadLetter>> {
    let sql = format!("SELECT {COLUMNS}, payload FROM dead_letters WHERE id = ?1");
    Ok(db
        .prepare_cached(&sql)?
        .query_row([id], |row| Ok(DeadLetter { payload: row.get(10)?, ..read(row)? }))
        .optional()?)
}

/// Deletes those that fit every filter that is given; answers how many.
pub fn delete(db: &Connection, filter: &DeadLetterFilter) -> Result<usize> {
    let mut remove = db.prepare_cached(
        "DELETE FROM dead_letters WHERE (?1 IS NULL OR id = ?1) AND (?2 IS NULL OR session_id = ?2)
         AND (?3 IS NULL OR dead_at_epoch < ?3)",
    )?;
    let (session, older) = (filter.session_db_id, filter.older_than_epoch);
    match &filter.ids {
        None => Ok(remove.execute(params![None::<i64>, session, older])?),
        Some(ids) => ids.iter().try_fold(0, |sum, id| Ok(sum + remove.execute(params![id, session, older])?)),
    }
}

impl Queue {
    /// Lists dead letters, the newest first, without their text.
    pub fn dead_letters(&self, session_id: Option<i64>, limit: i64, offset: i64, reply: Reply<Vec<DeadLetter>>) {
        on_queue(
            self.shared(),
            "deadLetters",
            Durability::Normal,
            move |db| list(db, session_id, limit, offset),
            reply,
        );
    }

    /// One dead letter with its text, or `None`.
    pub fn dead_letter(&self, id: i64, reply: Reply<Option<DeadLetter>>) {
        on_queue(self.shared(), "getDeadLetter", Durability::Normal, move |db| find(db, id), reply);
    }

    /// Enqueues a dead letter again, at the tail and under a new id: its place in the order is given up.
    pub fn retry_dead_letter(&self, id: i64, reply: Reply<Enqueued>) {
        let (shared, settle) = (Arc::clone(self.shared()), Arc::clone(self.shared()));
        on_queue(
            self.shared(),
            "retryDeadLetter",
            Durability::Full,
            move |db| retry(&shared, db, id),
            Reply::new(move |outcome: Result<Retried>| {
                if let Ok(retried) = &outcome {
                    settle.confirm_id(retried.id);
                }
                settle.with(|state, effects| {
                    let answer = outcome.map(|retried| {
                        state.metrics.dead = state.metrics.dead.saturating_sub(1);
                        state.count_in(retried.session_id, retried.bytes, retried.epoch);
                        let session = state.session(retried.session_id);
                        session.durable += 1;
                        let depth = session.depth;
                        state.follow_up(retried.session_id, effects);
                        Enqueued { id: retried.id, depth, duplicate: None }
                    });
                    effects.then(move || reply.settle(answer));
                });
            }),
        );
    }

    /// Throws dead letters away; answers how many.
    pub fn purge_dead_letters(&self, filter: DeadLetterFilter, reply: Reply<usize>) {
        let settle = Arc::clone(self.shared());
        on_queue(
            self.shared(),
            "purgeDeadLetters",
            Durability::Normal,
            move |db| delete(db, &filter),
            Reply::new(move |outcome: Result<usize>| {
                if let Ok(count) = outcome {
                    settle.with(|state, effects| {
                        state.metrics.dead = state.metrics.dead.saturating_sub(count);
                        state.reclaimable |= count > 0;
                        effects.wake_clock |= count > 0;
                    });
                }
                reply.settle(outcome);
            }),
        );
    }
}

/// What moving messages to the dead letters did.
pub struct Burial {
    pub count: usize,
    bytes: usize,
    evicted: usize,
    /// The session's oldest message now.
    head: Option<(i64, u32)>,
}

impl Burial {
    /// Brings the counters up to it.
    pub fn apply(&self, state: &mut State, session_id: i64) {
        state.count_out(session_id, self.count, self.bytes, true);
        state.set_head(session_id, self.head);
        state.metrics.dead = (state.metrics.dead + self.count).saturating_sub(self.evicted);
        state.metrics.dead_evicted += self.evicted as u64;
    }
}

/// Moves messages of a session to the dead letters, which stay bounded in number and age. The caller commits
/// with `synchronous=FULL` before any watermark may pass them.
pub fn bury(
    shared: &Shared,
    db: &Connection,
    session_id: i64,
    ids: &[i64],
    reason: &str,
    error: Option<&str>,
) -> Result<Burial> {
    let (now, bounds) = (clock::now_epoch(), &shared.settings.bounds);
    let (count, bytes) = storage::move_to_dead_letters(db, ids, reason, error, now)?;
    let age = i64::try_from(bounds.dead_letter_age.as_millis()).unwrap_or(i64::MAX);
    let evicted = storage::evict_dead_letters(db, now.saturating_sub(age), bounds.dead_letters)?;
    let head = storage::head(db, session_id, shared.directory.watermark(db, session_id)?.upto)?;
    Ok(Burial { count, bytes, evicted, head: head.map(|(_, epoch, attempts)| (epoch, attempts)) })
}

/// A message that was a dead letter.
pub struct Retried {
    /// Its new id.
    pub id: i64,
    /// The number that its session has now.
    pub session_id: i64,
    bytes: usize,
    epoch: i64,
}

fn retry(shared: &Shared, db: &Connection, id: i64) -> Result<Retried> {
    let check = |session_id, bytes| {
        shared.read(|state| {
            erase::check(state, session_id)?;
            let waiting = state.sessions.get(&session_id).map_or((0, 0), |session| (session.depth, session.bytes));
            enqueue::check_bounds(&shared.settings.bounds, session_id, bytes, waiting, state.bytes)
        })
    };
    let retried = requeue(db, &*shared.directory, id, check, || shared.ids.take(db))?;
    shared.touch(retried.session_id);
    Ok(retried)
}

/// Makes a dead letter a message again, under the id that `take_id` gives. `check` is told its session's number and its
/// bytes, and may refuse it.
pub fn requeue<S: Sessions + ?Sized>(
    db: &Connection,
    sessions: &S,
    id: i64,
    check: impl FnOnce(i64, usize) -> Result<()>,
    take_id: impl FnOnce() -> Result<i64>,
) -> Result<Retried> {
    type Stored = (i64, String, Option<String>, Option<i64>, bool, String);
    let found: Option<Stored> = db
        .prepare_cached(
            "SELECT session_id, claude_session_id, type, prompt_number, ends_batch, payload FROM dead_letters WHERE id = ?1",
        )?
        .query_row([id], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(5)?))
        })
        .optional()?;
    let Some((was, claude_session_id, kind, prompt_number, ends_batch, payload)) = found else {
        return Err(Error::new(Code::NotFound, format!("there is no dead letter {id}; deadLetters() lists them")));
    };
    // By its name: where `claude-mem.db` was deleted or restored, the session may have come back under another number.
    let session_id = sessions.number_of(db, was, &claude_session_id)?.ok_or_else(|| {
        Error::new(
            Code::NotFound,
            format!(
                "dead letter {id} belongs to the session '{claude_session_id}', which is gone; create it again first"
            ),
        )
        .with("sessionDbId", was)
    })?;
    check(session_id, payload.len())?;
    let (new_id, epoch) = (take_id()?, clock::now_epoch());
    storage::insert(
        db,
        &NewMessage {
            id: new_id,
            session_id,
            claude_session_id: &claude_session_id,
            kind: kind.as_deref(),
            prompt_number,
            ends_batch,
            enqueued_at_epoch: epoch,
            payload: &payload,
        },
    )?;
    db.prepare_cached("DELETE FROM dead_letters WHERE id = ?1")?.execute([id])?;
    db.prepare_cached("UPDATE dedupe_keys SET message_id = ?2 WHERE session_id = ?3 AND message_id = ?1")?
        .execute(params![id, new_id, was])?;
    Ok(Retried { id: new_id, session_id, bytes: payload.len(), epoch })
}

impl Batch {
    /// Sends messages of this batch to the dead letters; the rest of the batch stays open. Answers how many.
    pub fn dead_letter(&self, ids: Vec<i64>, error: Option<String>, reply: Reply<usize>) {
        let (shared, session_id, token) = (Arc::clone(&self.shared), self.session_id, self.token);
        let started = shared.with(|state, _| {
            if state.closed {
                return Err(Error::disposed("memory"));
            }
            let lease = state.lease_mut(session_id, token).ok_or_else(|| lost(session_id))?;
            if lease.phase != Phase::Leased {
                return Err(Error::invalid("a commit or release of this batch is pending; await it first"));
            }
            if let Some(stranger) = ids.iter().find(|id| !lease.ids.contains(id)) {
                return Err(Error::invalid(format!(
                    "message {stranger} is not in this batch; its ids are {:?}",
                    lease.ids
                )));
            }
            // The batch is nobody else's while its messages move.
            lease.phase = Phase::Releasing;
            Ok(())
        });
        if let Err(refusal) = started {
            return reply.settle(Err(refusal));
        }
        let (core, settle) = (Arc::clone(&shared), Arc::clone(&shared));
        let moved = ids.clone();
        on_queue(
            &shared,
            "deadLetter",
            Durability::Full,
            move |db| bury(&core, db, session_id, &ids, REJECTED, error.as_deref()),
            Reply::new(move |outcome: Result<Burial>| {
                settle.with(|state, effects| {
                    if let Some(lease) = state.lease_mut(session_id, token) {
                        lease.phase = Phase::Leased;
                        if let Ok(burial) = &outcome {
                            let gone: HashSet<i64> = moved.into_iter().collect();
                            lease.ids.retain(|id| !gone.contains(id));
                            lease.bytes = lease.bytes.saturating_sub(burial.bytes);
                        }
                    }
                    if let Ok(burial) = &outcome {
                        burial.apply(state, session_id);
                    }
                    state.follow_up(session_id, effects);
                    effects.then(move || reply.settle(outcome.map(|burial| burial.count)));
                });
            }),
        );
    }
}

/// Sends the messages of a session that is gone, or is another one now, to the dead letters, in steps.
pub fn bury_strangers(shared: &Arc<Shared>, session_id: i64, effects: &mut Effects) {
    let (lookup, settle) = (Arc::clone(shared), Arc::clone(shared));
    // No claim may come between: it would find the same messages again.
    effects.queue(
        Call::new(
            "bury-strangers",
            Shared::bookkeeping_deadline(),
            move |db: &Connection| {
                let owner = lookup.directory.session(db, session_id)?;
                // Asked for by itself: what is acknowledged is done, also where the session's row is gone.
                let upto = lookup.directory.watermark(db, session_id)?.upto;
                let (gone, name) = (owner.is_none(), owner.as_ref().and_then(Known::name));
                let ids: Vec<i64> = db
                    .prepare_cached(
                        "SELECT id FROM messages WHERE session_id = ?1 AND id > ?2
                         AND (?3 OR (?4 IS NOT NULL AND claude_session_id NOT IN ('', ?4))) ORDER BY id LIMIT ?5",
                    )?
                    .query_map(params![session_id, upto, gone, name, STEP], |row| row.get(0))?
                    .collect::<rusqlite::Result<_>>()?;
                let error = "the session's row was deleted, or its number belongs to another session now";
                bury(&lookup, db, session_id, &ids, SESSION_GONE, Some(error))
            },
            Reply::new(move |outcome: Result<Burial>| {
                settle.with(|state, effects| {
                    if let Ok(burial) = outcome {
                        burial.apply(state, session_id);
                        if burial.count == 0 {
                            // The tables are right, the counters were not; a claim for them would come back here.
                            let (count, bytes) =
                                state.sessions.get(&session_id).map_or((0, 0), |s| (s.durable, s.bytes));
                            state.count_out(session_id, count, bytes, true);
                        }
                    }
                    state.follow_up(session_id, effects);
                });
            }),
        )
        .durability(Durability::Full),
    );
}
