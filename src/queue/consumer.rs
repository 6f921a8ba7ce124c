//! Consumers: one live consumer a session, which pulls batches and ends by itself.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use super::{
    claim::{Batch, Claim},
    effects::Effects,
    engine::{Queue, Shared},
    erase,
    lease::Phase,
    release::{self, ReleaseOptions},
    state::State,
};
use crate::{
    error::{Code, Error, Result},
    reply::Reply,
};

/// Why an iteration ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum EndReason {
    /// A message that ends the batch was committed.
    Summary = 1,
    /// Nothing came for `idleTimeoutMs`.
    Idle,
    /// The session's TTL or the batch's lease ran out.
    Expired,
    /// The session was deleted, or drained to its end.
    Deleted,
    /// The session or the queue was paused.
    Paused,
    /// The consumer or its memory was disposed, or `return()` was called.
    Disposed,
}

impl EndReason {
    /// What `endReason` shows.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Summary => "summary",
            Self::Idle => "idle",
            Self::Expired => "expired",
            Self::Deleted => "deleted",
            Self::Paused => "paused",
            Self::Disposed => "disposed",
        }
    }

    const ALL: [Self; 6] = [Self::Summary, Self::Idle, Self::Expired, Self::Deleted, Self::Paused, Self::Disposed];
}

/// How a consumer pulls.
#[derive(Debug, Clone)]
pub struct ConsumeOptions {
    /// Messages a batch at most.
    pub max_batch: usize,
    /// Payload bytes a batch at most; a larger message comes alone.
    pub max_batch_bytes: usize,
    /// How long a batch may be held.
    pub lease: Duration,
    /// How long `next()` waits before the iteration ends.
    pub idle_timeout: Duration,
    /// Whether the lease extends itself while the batch's handle is alive.
    pub auto_extend: bool,
}

impl Default for ConsumeOptions {
    fn default() -> Self {
        Self {
            max_batch: 8,
            max_batch_bytes: 1 << 20,
            lease: Duration::from_secs(900),
            idle_timeout: Duration::from_secs(180),
            auto_extend: false,
        }
    }
}

/// What a consumer's handle and its slot in the state share.
#[derive(Debug)]
pub struct Cell {
    end_reason: AtomicU8,
    /// Set by the finalizer of a handle that nobody disposed.
    abandoned: AtomicBool,
}

/// The state's side of a live consumer.
#[derive(Debug)]
pub struct Slot {
    pub id: u64,
    pub options: Arc<ConsumeOptions>,
    pub cell: Arc<Cell>,
    waiter: Option<Waiter>,
}

#[derive(Debug)]
struct Waiter {
    reply: Reply<Option<Batch>>,
    idle_deadline: Instant,
}

impl Slot {
    pub fn is_waiting(&self) -> bool {
        self.waiter.is_some()
    }

    /// Whether the handle was garbage-collected and nobody awaits what it has promised: in
    /// `await queue.consume(id).next()` it is garbage long before the answer comes.
    pub fn is_abandoned(&self) -> bool {
        self.waiter.is_none() && self.cell.abandoned.load(Ordering::Relaxed)
    }

    pub fn idle_deadline(&self) -> Option<Instant> {
        self.waiter.as_ref().map(|waiter| waiter.idle_deadline)
    }

    pub fn claim(&self, session_id: i64) -> Claim {
        Claim::new(session_id, self.id, Arc::clone(&self.options))
    }

    pub fn take_waiter(&mut self) -> Option<Reply<Option<Batch>>> {
        self.waiter.take().map(|waiter| waiter.reply)
    }

    /// Tells the handle why, and a waiting `next()` that there is no more.
    pub fn end(mut self, reason: EndReason, effects: &mut Effects) {
        self.cell.end_reason.store(reason as u8, Ordering::Release);
        if let Some(reply) = self.take_waiter() {
            effects.then(move || reply.settle(Ok(None)));
        }
    }
}

/// Pulls the batches of one session.
#[derive(Debug)]
pub struct Consumer {
    shared: Arc<Shared>,
    session_id: i64,
    id: u64,
    cell: Arc<Cell>,
}

impl Queue {
    /// Starts a consumer of a session.
    ///
    /// # Errors
    /// `ERR_LOCKED` where the session has one, `ERR_DISPOSED`.
    pub fn consume(&self, session_id: i64, options: ConsumeOptions) -> Result<Consumer> {
        let shared = Arc::clone(self.shared());
        let cell = Arc::new(Cell { end_reason: AtomicU8::new(0), abandoned: AtomicBool::new(false) });
        let id = shared.with(|state, effects| {
            if state.closed {
                return Err(Error::disposed("memory"));
            }
            erase::check(state, session_id)?;
            // The clock may sleep for long while there is no handle that could be abandoned.
            effects.wake_clock = true;
            let id = state.number();
            let session = state.session(session_id);
            if let Some(slot) = &session.consumer
                && !slot.is_abandoned()
            {
                return Err(Error::new(
                    Code::Locked,
                    format!("session {session_id} has a live consumer; dispose it first, or wait until it ends"),
                )
                .with("sessionDbId", session_id));
            }
            session.consumer = Some(Slot { id, options: Arc::new(options), cell: Arc::clone(&cell), waiter: None });
            state.registry.touch(session_id);
            Ok(id)
        })?;
        Ok(Consumer { shared, session_id, id, cell })
    }
}

impl Consumer {
    /// `sdk_sessions.id`.
    #[must_use]
    pub fn session_id(&self) -> i64 {
        self.session_id
    }

    /// Why the iteration ended; `None` while it goes on.
    #[must_use]
    pub fn end_reason(&self) -> Option<EndReason> {
        let reason = self.cell.end_reason.load(Ordering::Acquire);
        EndReason::ALL.into_iter().find(|end| *end as u8 == reason)
    }

    /// Whether the next call has nothing to wait for: there is something to claim, or no more to come.
    #[must_use]
    pub fn answers_at_once(&self) -> bool {
        self.end_reason().is_some() || self.shared.read(|state| state.is_deliverable(self.session_id))
    }

    /// Waits for the next batch; `None` at the end. A batch that is still open is released first, also at the
    /// end: counted, with backoff, or as gracefully as its consumer was ended ([`Consumer::unfinished`]).
    pub fn next(&self, reply: Reply<Option<Batch>>) {
        self.shared.with(|state, effects| {
            // Under one lock with what follows: a pause that comes between would make the release count.
            self.release_open(state, effects, self.unfinished());
            let slot = state.sessions.get_mut(&self.session_id).and_then(|session| session.consumer.as_mut());
            let Some(slot) = slot.filter(|slot| slot.id == self.id) else {
                return effects.then(move || reply.settle(Ok(None)));
            };
            if slot.waiter.is_some() {
                let error = Error::invalid("next() is pending already; await it before the next call");
                return effects.then(move || reply.settle(Err(error)));
            }
            slot.waiter = Some(Waiter { reply, idle_deadline: Instant::now() + slot.options.idle_timeout });
            state.follow_up(self.session_id, effects);
        });
    }

    /// Ends the iteration as `break` does: an open batch is released, counted, with backoff.
    pub fn finish(&self) {
        self.shared.with(|state, effects| {
            self.release_open(state, effects, self.unfinished());
            self.end(state, effects);
        });
    }

    /// Ends the iteration gracefully: an open batch is released at once and counts no attempt.
    pub fn dispose(&self) {
        self.shared.with(|state, effects| {
            self.release_open(state, effects, ReleaseOptions::graceful());
            self.end(state, effects);
        });
    }

    /// How a batch goes back whose holder goes on without having committed or released it: that counts, unless the
    /// consumer was paused, deleted or disposed meanwhile, for then somebody has told the holder to stop. A TTL that
    /// ran out has told nobody anything.
    fn unfinished(&self) -> ReleaseOptions {
        match self.end_reason() {
            Some(EndReason::Paused | EndReason::Deleted | EndReason::Disposed) => ReleaseOptions::graceful(),
            Some(EndReason::Summary | EndReason::Idle | EndReason::Expired) | None => ReleaseOptions::unfinished(),
        }
    }

    fn end(&self, state: &mut State, effects: &mut Effects) {
        let mine = state
            .sessions
            .get(&self.session_id)
            .is_some_and(|session| session.consumer.as_ref().is_some_and(|slot| slot.id == self.id));
        if mine {
            state.end_consumer(self.session_id, EndReason::Disposed, effects);
            state.follow_up(self.session_id, effects);
        }
    }

    /// Releases the batch that this consumer was given last, where it is still open; another's is left alone.
    fn release_open(&self, state: &mut State, effects: &mut Effects, options: ReleaseOptions) {
        let token = state.sessions.get(&self.session_id).and_then(|session| {
            let lease = session.lease.as_ref()?;
            (lease.consumer == self.id && lease.phase == Phase::Leased).then_some(lease.token)
        });
        if let Some(token) = token {
            release::begin(state, effects, self.session_id, token, options, Reply::ignore());
        }
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        // May run in a finalizer: only a flag, which the queue's clock sees.
        self.cell.abandoned.store(true, Ordering::Relaxed);
    }
}
