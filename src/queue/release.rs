//! Releases: a batch goes back, with its attempt counted or not, and comes again after a backoff.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{
    claim::Batch,
    dead_letters::{self, Burial},
    effects::Effects,
    engine::Shared,
    lease::Phase,
    state::State,
    storage,
};
use crate::{
    clock,
    db::{Call, Durability},
    error::{Code, Error, Result},
    reply::Reply,
};

/// The reason of a dead letter that failed alone too often.
const MAX_ATTEMPTS: &str = "max-attempts";

/// How a batch goes back.
#[derive(Debug, Clone)]
pub struct ReleaseOptions {
    /// Why, for people; kept with the attempt.
    pub error: Option<String>,
    /// How long the session waits; by default the backoff.
    pub delay: Option<Duration>,
    /// Whether this counts towards `maxAttempts`.
    pub count_attempt: bool,
}

impl Default for ReleaseOptions {
    fn default() -> Self {
        Self { error: None, delay: None, count_attempt: true }
    }
}

impl ReleaseOptions {
    /// The consumer went on, or away, with the batch open.
    pub fn unfinished() -> Self {
        Self { error: Some("neither committed nor released".into()), ..Self::default() }
    }

    /// The lease ran out.
    pub fn lapsed() -> Self {
        Self { error: Some("the lease ran out".into()), ..Self::default() }
    }

    /// A graceful end: no attempt, no wait.
    pub fn graceful() -> Self {
        Self { error: None, delay: Some(Duration::ZERO), count_attempt: false }
    }
}

/// What a release did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Released {
    /// Messages of the session waiting now.
    pub depth: usize,
    /// When they come again, epoch ms; `None` for at once.
    pub ready_at_epoch: Option<i64>,
    /// Ids that became dead letters by it.
    pub dead_lettered: Vec<i64>,
}

/// The error of a lease that is over.
pub fn lost(session_id: i64) -> Error {
    Error::new(
        Code::LeaseLost,
        format!(
            "this batch of session {session_id} is no longer held: it was committed or released, its lease ran out and \
             somebody has claimed since, or it was purged; its messages come again in another batch if they still wait"
        ),
    )
    .with("sessionDbId", session_id)
}

impl Batch {
    /// Gives the batch back: for errors, aborts, quota, sign-in.
    pub fn release(&self, options: ReleaseOptions, reply: Reply<Released>) {
        let (session_id, token) = (self.session_id, self.token);
        self.shared.with(|state, effects| {
            if state.closed {
                return effects.then(move || reply.settle(Err(Error::disposed("memory"))));
            }
            begin(state, effects, session_id, token, options, reply);
        });
    }
}

/// Starts a release under the state's lock.
pub fn begin(
    state: &mut State,
    effects: &mut Effects,
    session_id: i64,
    token: i64,
    mut options: ReleaseOptions,
    reply: Reply<Released>,
) {
    let refusal = match state.lease_mut(session_id, token) {
        Some(lease) if lease.phase == Phase::Leased => {
            lease.phase = Phase::Releasing;
            // It ran out before, and was counted then: a batch that is handed out once fails once.
            options.count_attempt &= !lease.counted;
            let ids = lease.ids.clone();
            effects.then_with(move |shared| write(shared, session_id, token, ids, options, reply));
            return;
        }
        Some(lease) if lease.phase == Phase::Committing => {
            Error::invalid("a commit of this batch is pending; await it before releasing")
        }
        _ => lost(session_id),
    };
    effects.then(move || reply.settle(Err(refusal)));
}

/// Writes a release; also of a lease that has lapsed, whose commit would still be taken.
pub fn write(
    shared: &Arc<Shared>,
    session_id: i64,
    token: i64,
    ids: Vec<i64>,
    options: ReleaseOptions,
    reply: Reply<Released>,
) {
    let retry = shared.settings.retry.clone();
    // Attempts and dead letters must be on the disk before any watermark passes them.
    let durability = if options.count_attempt { Durability::Full } else { Durability::Normal };
    let fence = Arc::clone(shared);
    let run = move |db: &rusqlite::Connection| {
        let mut done = Done { attempts: 0, not_before: None, dead: Vec::new(), burial: None };
        // A late commit may have been faster than this command: what it has acknowledged is done, counts no attempt
        // and must not die.
        let upto = fence.directory.watermark(db, session_id)?.upto;
        let finished = ids.first().is_some_and(|first| *first <= upto);
        if finished {
            storage::clear_lease(db, session_id, token)?;
            return Ok(done);
        }
        done.attempts = match ids.first() {
            Some(first) if !options.count_attempt => storage::attempts(db, *first)?,
            _ => storage::count_attempt(db, session_id, &ids, options.error.as_deref())?,
        };
        storage::clear_lease(db, session_id, token)?;
        let mut wait = None;
        let last_try = options.count_attempt && ids.len() == 1 && done.attempts >= retry.max_attempts;
        if last_try && fence_off(&fence, session_id, token) {
            let burial = dead_letters::bury(&fence, db, session_id, &ids, MAX_ATTEMPTS, options.error.as_deref())?;
            if burial.count > 0 {
                done.dead.clone_from(&ids);
            }
            done.burial = Some(burial);
        } else {
            let delay = options.delay.unwrap_or_else(|| retry.backoff(done.attempts));
            if !delay.is_zero() {
                done.not_before = Some((Instant::now() + delay, clock::epoch_after(delay)));
                wait = Some(delay);
            }
        }
        storage::set_backoff(db, session_id, done.not_before.map(|(_, epoch)| epoch).zip(wait))?;
        Ok(done)
    };
    let settle = {
        let shared = Arc::clone(shared);
        Reply::new(move |outcome| settle(&shared, session_id, token, outcome, reply))
    };
    shared
        .queue_writer()
        .submit(Call::new("release", Shared::bookkeeping_deadline(), run, settle).durability(durability));
}

/// Takes the lapsed lease away before its message dies, so that no late commit can store it as well. False
/// where that commit has begun already: then the message is being finished, not buried.
fn fence_off(shared: &Shared, session_id: i64, token: i64) -> bool {
    shared.with(|state, _| {
        let committing = state.lease_mut(session_id, token).is_some_and(|lease| lease.phase == Phase::Committing);
        if !committing {
            state.session(session_id).lapsed.take_if(|lease| lease.token == token);
        }
        !committing
    })
}

struct Done {
    attempts: u32,
    not_before: Option<(Instant, i64)>,
    dead: Vec<i64>,
    burial: Option<Burial>,
}

fn settle(shared: &Shared, session_id: i64, token: i64, outcome: Result<Done>, reply: Reply<Released>) {
    shared.with(|state, effects| {
        let answer = match outcome {
            Ok(done) => {
                let session = state.session(session_id);
                session.lease.take_if(|lease| lease.token == token && lease.phase == Phase::Releasing);
                session.attempts = done.attempts;
                // A late commit may have moved on meanwhile; then there is nothing to wait for.
                if session.lease.is_none() && session.depth > 0 {
                    session.not_before = done.not_before;
                }
                if let Some(burial) = &done.burial {
                    burial.apply(state, session_id);
                }
                let depth = state.sessions.get(&session_id).map_or(0, |session| session.depth);
                let ready_at_epoch = done.not_before.map(|(_, epoch)| epoch);
                Ok(Released { depth, ready_at_epoch, dead_lettered: done.dead })
            }
            Err(error) => {
                // The batch is still held; the caller may try again, or the lease runs out.
                if let Some(lease) = state.lease_mut(session_id, token) {
                    lease.phase = Phase::Leased;
                }
                Err(error)
            }
        };
        state.follow_up(session_id, effects);
        effects.then(move || reply.settle(answer));
    });
}
