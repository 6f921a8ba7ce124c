//! Commits: what the agent made of a batch and the batch's watermark, in one transaction of the file that the
//! [`directory`](super::directory) keeps them in.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rusqlite::Connection;

use super::{
    claim::Batch,
    consumer::EndReason,
    directory::{Acknowledged, Acknowledgement, Head},
    effects::Effects,
    engine::Shared,
    lease::{Lease, Phase},
    reclaim,
    release::lost,
    storage,
};
use crate::{
    db::Call,
    error::{Code, Error, Result},
    reply::Reply,
    store::response::{Response, StoredResponse},
};

/// What the agent made of a batch; empty is normal.
#[derive(Debug, Clone, Default)]
pub struct Answer {
    /// Observations, summary, prompt number; the session is the batch's.
    pub response: Response,
    /// Until when a lock is waited for.
    pub deadline: Option<Instant>,
    /// The caller has stored the rows elsewhere: there must be none in `response`.
    pub external: bool,
}

impl Answer {
    /// Whether there is nothing to store.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        let Response { observations, summary, complete_session, .. } = &self.response;
        observations.is_empty() && summary.is_none() && !complete_session
    }

    fn check(&self) -> Result<()> {
        if self.external && !self.is_empty() {
            return Err(Error::invalid(
                "commit({ external: true }) says that the rows are stored elsewhere, so it takes no observations, summary or \
                 completeSession; leave external out to have them stored here",
            ));
        }
        Ok(())
    }
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
        if let Err(refusal) = answer.check().and_then(|()| shared.directory.accepts(&answer)) {
            return reply.settle(Err(refusal));
        }
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
            Ok(Acknowledgement {
                session_id,
                claude_session_id: lease.claude_session_id.clone(),
                token,
                fence: lease.fence,
                upto: lease.last,
                ids: lease.ids.clone(),
                deadline,
            })
        });
        let acknowledgement = match started {
            Ok(acknowledgement) => acknowledgement,
            Err(error) => return reply.settle(Err(error)),
        };
        let settle = {
            let shared = Arc::clone(&shared);
            Reply::new(move |outcome| settle(&shared, session_id, token, outcome, reply))
        };
        self.shared.directory.commit(&self.shared, acknowledgement, answer, settle);
    }
}

fn settle(shared: &Arc<Shared>, session_id: i64, token: i64, outcome: Result<Acknowledged>, reply: Reply<Committed>) {
    shared.with(|state, effects| {
        let answer = match outcome {
            Ok(Acknowledged { stored, cleared }) => {
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
                    match cleared {
                        Some(head) => state.set_head(session_id, head),
                        None => finish(shared, session_id, lease, effects),
                    }
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

/// Clears what a finished batch leaves in `queue.db`, and copies its watermark there, for a queue that is on its
/// own. Should it be missed, the next open sees that the lease lies below the watermark.
fn finish(shared: &Arc<Shared>, session_id: i64, lease: Lease, effects: &mut Effects) {
    let shared = Arc::clone(shared);
    effects.queue(Call::new(
        "finish-batch",
        Instant::now() + Duration::from_secs(60),
        move |db| {
            storage::copy_watermark(db, session_id, &lease.claude_session_id, lease.last)?;
            clear(db, session_id, lease.token, lease.last, &lease.ids)
        },
        Reply::new(move |head: Result<Head>| {
            let Ok(head) = head else { return };
            shared.with(|state, _| state.set_head(session_id, head));
        }),
    ));
}

/// Clears what a finished batch leaves in `queue.db`; answers the session's head now.
pub(super) fn clear(db: &Connection, session_id: i64, token: i64, upto: i64, ids: &[i64]) -> Result<Head> {
    storage::clear_lease(db, session_id, token)?;
    storage::forget_attempts(db, session_id, ids)?;
    storage::set_backoff(db, session_id, None)?;
    Ok(storage::head(db, session_id, upto)?.map(|(_, epoch, attempts)| (epoch, attempts)))
}
