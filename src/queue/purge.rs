//! Throwing waiting messages away, and deleting sessions from the registry.

use std::sync::Arc;

use rusqlite::{Connection, params};

use super::{
    consumer::EndReason,
    engine::{Queue, Shared, on_queue},
    import,
    lease::Phase,
    release::{self, ReleaseOptions},
    state::State,
};
use crate::{
    db::Durability,
    error::{Error, Result},
    reply::Reply,
    store::opening::SessionRow,
};

/// What a deletion found and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deletion {
    /// Whether the session was active or had messages.
    pub existed: bool,
    /// Messages thrown away.
    pub purged: usize,
    /// Messages that wait on.
    pub remaining: usize,
    /// It goes once its queue is empty.
    pub draining: bool,
}

impl Queue {
    /// Throws away what waits in a session, a leased batch included; what is being committed is not. The
    /// session's dedupe keys are forgotten. Answers how many messages went.
    pub fn purge(&self, session_id: i64, reply: Reply<usize>) {
        let (shared, settle) = (Arc::clone(self.shared()), Arc::clone(self.shared()));
        on_queue(
            self.shared(),
            "purge",
            Durability::Normal,
            move |db| remove(&shared, db, session_id),
            Reply::new(move |outcome: Result<(usize, usize)>| {
                settle.with(|state, effects| {
                    if let Ok((count, bytes)) = outcome {
                        state.count_out(session_id, count, bytes, true);
                        // No commit may ever come that would look for free pages.
                        state.reclaimable |= count > 0;
                        effects.wake_clock |= count > 0;
                        if let Some(session) = state.sessions.get_mut(&session_id) {
                            session.not_before = None;
                            session.attempts = 0;
                        }
                    }
                    state.follow_up(session_id, effects);
                    effects.then(move || reply.settle(outcome.map(|(count, _)| count)));
                });
            }),
        );
    }

    /// Deletes a session from the registry: at once, or once its queue is empty.
    pub fn delete_session(&self, session_id: i64, drain: bool, purge: bool, reply: Reply<Deletion>) {
        if drain && !purge {
            return self.drain_session(session_id, reply);
        }
        let closed = self.shared().with(|state, effects| {
            if state.closed {
                return Err(Error::disposed("memory"));
            }
            let existed = state.registry.remove(session_id) || state.sessions.contains_key(&session_id);
            state.end_consumer(session_id, EndReason::Deleted, effects);
            let token = state
                .sessions
                .get(&session_id)
                .and_then(|session| session.lease.as_ref())
                .filter(|lease| lease.phase == Phase::Leased)
                .map(|lease| lease.token);
            if let Some(token) = token.filter(|_| !purge) {
                release::begin(state, effects, session_id, token, ReleaseOptions::graceful(), Reply::ignore());
            }
            state.follow_up(session_id, effects);
            Ok(existed)
        });
        let existed = match closed {
            Ok(existed) => existed,
            Err(error) => return reply.settle(Err(error)),
        };
        if !purge {
            let remaining = self.depth(Some(session_id));
            return reply.settle(Ok(Deletion { existed, purged: 0, remaining, draining: false }));
        }
        let queue = self.clone();
        self.purge(
            session_id,
            Reply::new(move |outcome: Result<usize>| {
                let remaining = queue.depth(Some(session_id));
                let existed = |purged: usize| existed || purged > 0;
                reply.settle(outcome.map(|purged| Deletion {
                    existed: existed(purged),
                    purged,
                    remaining,
                    draining: false,
                }));
            }),
        );
    }

    fn drain_session(&self, session_id: i64, reply: Reply<Deletion>) {
        let (shared, settle) = (Arc::clone(self.shared()), Arc::clone(self.shared()));
        // The row is read on the queue's thread: a session that waits since before a restart is not active yet.
        on_queue(
            self.shared(),
            "drainSession",
            Durability::Normal,
            move |db| Ok(shared.directory.session(db, session_id)?.map(|known| known.row)),
            Reply::new(move |row: Result<Option<Arc<SessionRow>>>| {
                settle.with(|state, effects| {
                    let answer = row.map(|row| drain(state, session_id, row, effects));
                    effects.then(move || reply.settle(answer));
                });
            }),
        );
    }
}

fn drain(
    state: &mut State,
    session_id: i64,
    row: Option<Arc<SessionRow>>,
    effects: &mut super::effects::Effects,
) -> Deletion {
    let remaining = state.sessions.get(&session_id).map_or(0, |session| session.depth);
    let existed = state.registry.get(session_id).is_some() || state.sessions.contains_key(&session_id);
    if let Some(row) = row.filter(|_| remaining > 0) {
        state.activate(session_id, &row, None, effects);
    }
    if remaining > 0 {
        state.registry.set_draining(session_id, true);
    } else {
        state.end_consumer(session_id, EndReason::Deleted, effects);
        state.registry.remove(session_id);
    }
    state.follow_up(session_id, effects);
    Deletion { existed, purged: 0, remaining, draining: remaining > 0 }
}

/// Runs on the queue's thread: no claim can come between this and its settling.
fn remove(shared: &Shared, db: &Connection, session_id: i64) -> Result<(usize, usize)> {
    let upto = shared.directory.watermark(db, session_id)?.upto;
    // A batch in somebody's hands is revoked first, so that no commit can begin for messages that are going;
    // one that is being committed keeps its messages.
    let kept = shared.with(|state, _| {
        let session = state.sessions.get_mut(&session_id)?;
        session.lapsed = None;
        match &session.lease {
            Some(lease) if lease.phase == Phase::Committing => Some(lease.last),
            _ => {
                session.lease = None;
                None
            }
        }
    });
    let above = kept.unwrap_or(0).max(upto);
    let (count, bytes): (i64, i64) = db
        .prepare_cached("SELECT count(*), coalesce(sum(bytes), 0) FROM messages WHERE session_id = ?1 AND id > ?2")?
        .query_row(params![session_id, above], |row| Ok((row.get(0)?, row.get(1)?)))?;
    for sql in [
        "DELETE FROM messages WHERE session_id = ?1 AND id > ?2",
        "DELETE FROM attempts WHERE session_id = ?1 AND message_id > ?2",
    ] {
        db.prepare_cached(sql)?.execute(params![session_id, above])?;
    }
    for sql in ["DELETE FROM dedupe_keys WHERE session_id = ?1", "DELETE FROM backoffs WHERE session_id = ?1"] {
        db.prepare_cached(sql)?.execute([session_id])?;
    }
    // What was thrown away on purpose may be imported again.
    import::forget(db, session_id)?;
    if kept.is_none() {
        db.prepare_cached("DELETE FROM leases WHERE session_id = ?1")?.execute([session_id])?;
    }
    Ok((usize::try_from(count).unwrap_or(0), usize::try_from(bytes).unwrap_or(0)))
}
