//! Commits: what the agent made of a batch and the batch's watermark, in one transaction of `claude-mem.db`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    claim::Batch, consumer::EndReason, effects::Effects, engine::Shared, lease::Phase, reclaim, release::lost, storage,
};
use crate::{
    db::Call,
    error::{Code, Error, Result},
    reply::Reply,
    store::response::{self, Response, StoredResponse},
};

/// What the agent made of a batch; empty is normal.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// Observations, summary, prompt number; the session is the batch's.
    pub response: Response,
    /// Until when a lock is waited for.
    pub deadline: Option<Instant>,
}

/// What a commit stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// The rows.
    pub stored: StoredResponse,
    /// Messages of the session waiting now.
    pub depth: usize,
}

impl Batch {
    /// Stores the answer and acknowledges the batch, both or neither.
    pub fn commit(&self, mut answer: Answer, reply: Reply<Committed>) {
        let (shared, session_id, token) = (Arc::clone(&self.shared), self.session_id, self.token);
        answer.response.session_db_id = session_id;
        answer.response.prompt_number = answer.response.prompt_number.or(self.prompt_number);
        let deadline = answer.deadline.unwrap_or_else(|| shared.deadline());
        let started = shared.with(|state, _| {
            if state.closed {
                return Err(Error::disposed("memory"));
            }
            let session = state.session(session_id);
            // After the lease's end the answer is still taken, as long as nobody has claimed since: it was paid
            // for. A claim on the way counts as one: it may have been written already.
            if session.lease.is_none()
                && !session.claiming
                && session.lapsed.as_ref().is_some_and(|lease| lease.token == token)
            {
                session.lease = session.lapsed.take();
                if let Some(lease) = &mut session.lease {
                    lease.phase = Phase::Leased;
                }
            }
            let lease = state.lease_mut(session_id, token).ok_or_else(|| lost(session_id))?;
            match lease.phase {
                Phase::Leased => {}
                Phase::Committing => return Err(Error::invalid("a commit of this batch is pending already; await it")),
                Phase::Releasing => return Err(lost(session_id)),
            }
            // From here on the batch cannot expire.
            lease.phase = Phase::Committing;
            Ok(Watermark {
                session_id,
                claude_session_id: lease.claude_session_id.clone(),
                seen: lease.watermark,
                upto: lease.last,
            })
        });
        let watermark = match started {
            Ok(watermark) => watermark,
            Err(error) => return reply.settle(Err(error)),
        };
        let bytes = answer.response.bytes();
        let settle = {
            let shared = Arc::clone(&shared);
            Reply::new(move |outcome| settle(&shared, session_id, token, outcome, reply))
        };
        let mut before: Option<StoredResponse> = None;
        let run = move |db: &Connection| {
            // A second run after an I/O error at COMMIT: the file says how the first one ended.
            if let Some(stored) = &before
                && watermark.read(db)? == watermark.upto
            {
                return Ok(stored.clone());
            }
            watermark.advance(db)?;
            let stored = response::store(db, &answer.response)?;
            before = Some(stored.clone());
            Ok(stored)
        };
        shared.main_writer.submit(Call::new("commit", deadline, run, settle).bytes(bytes));
    }
}

/// The fence: `upto` moves only from where the claim saw it.
struct Watermark {
    session_id: i64,
    claude_session_id: Box<str>,
    seen: i64,
    upto: i64,
}

impl Watermark {
    fn read(&self, db: &Connection) -> Result<i64> {
        Ok(db
            .prepare_cached("SELECT upto FROM native_ack WHERE session_id = ?1")?
            .query_row([self.session_id], |row| row.get(0))
            .optional()?
            .unwrap_or(0))
    }

    fn advance(&self, db: &Connection) -> Result<()> {
        let found = self.read(db)?;
        if found != self.seen {
            return Err(lost(self.session_id).with("upto", found));
        }
        db.prepare_cached(
            "INSERT INTO native_ack(session_id, claude_session_id, upto) VALUES (?1, ?2, ?3)
             ON CONFLICT(session_id) DO UPDATE SET claude_session_id = excluded.claude_session_id, upto = excluded.upto",
        )?
        .execute(params![self.session_id, &*self.claude_session_id, self.upto])?;
        Ok(())
    }
}

fn settle(shared: &Arc<Shared>, session_id: i64, token: i64, outcome: Result<StoredResponse>, reply: Reply<Committed>) {
    shared.with(|state, effects| {
        let answer = match outcome {
            Ok(stored) => {
                // A committing lease is nobody else's to end: it is still here.
                if let Some(lease) = state.session(session_id).lease.take_if(|lease| lease.token == token) {
                    state.count_out(session_id, lease.ids.len(), lease.bytes, true);
                    state.metrics.committed.record(lease.ids.len());
                    state.metrics.lease_ms.record(lease.claimed.elapsed().as_secs_f64() * 1e3);
                    // The clock may sleep for long while there is nothing to purge.
                    effects.wake_clock |= state.unpurged.is_empty();
                    let unpurged = state.unpurged.entry(session_id).or_default();
                    unpurged.upto = lease.last;
                    unpurged.count += lease.ids.len();
                    unpurged.bytes += lease.bytes;
                    state.active = Instant::now();
                    state.session(session_id).not_before = None;
                    if lease.ends_batch {
                        state.end_consumer(session_id, EndReason::Summary, effects);
                    }
                    finish(shared, session_id, token, lease.last, lease.ids, effects);
                }
                state.registry.touch(session_id);
                let depth = state.sessions.get(&session_id).map_or(0, |session| session.depth);
                Ok(Committed { stored, depth })
            }
            Err(error) => {
                if error.code == Code::LeaseLost {
                    // Somebody else moved the watermark (the file was restored, or written by hand): the
                    // next claim starts from what the file says.
                    state.session(session_id).lease.take_if(|lease| lease.token == token);
                } else if let Some(lease) = state.lease_mut(session_id, token) {
                    // Nothing was stored; the caller may try again or release. A lease that ended meanwhile
                    // runs out now, at the next look of the clock.
                    lease.phase = Phase::Leased;
                }
                Err(error)
            }
        };
        state.follow_up(session_id, effects);
        effects.then(move || reply.settle(answer));
    });
    reclaim::start(shared);
}

/// Clears what a finished batch leaves in `queue.db`. Should it be missed, the next open sees that the lease
/// lies below the watermark.
fn finish(shared: &Arc<Shared>, session_id: i64, token: i64, upto: i64, ids: Vec<i64>, effects: &mut Effects) {
    let shared = Arc::clone(shared);
    effects.queue(Call::new(
        "finish-batch",
        Instant::now() + Duration::from_secs(60),
        move |db| {
            storage::clear_lease(db, session_id, token)?;
            storage::forget_attempts(db, session_id, &ids)?;
            storage::set_backoff(db, session_id, None)?;
            storage::head(db, session_id, upto)
        },
        Reply::new(move |head: Result<Option<(i64, i64, u32)>>| {
            let Ok(head) = head else { return };
            let head = head.map(|(_, epoch, attempts)| (epoch, attempts));
            shared.with(|state, _| state.set_head(session_id, head));
        }),
    ));
}
