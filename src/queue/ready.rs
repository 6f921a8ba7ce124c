//! `queue.ready()`: sessions with deliverable messages and no consumer, as they become so.

use std::{
    collections::{HashSet, VecDeque},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use super::{
    effects::Effects,
    engine::{Queue, Shared},
    state::State,
};
use crate::{
    error::{Error, Result},
    reply::Reply,
};

/// One session that wants a consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReadySession {
    /// `sdk_sessions.id`.
    pub session_db_id: i64,
    /// Messages waiting.
    pub depth: usize,
    /// Counted attempts of the oldest.
    pub attempts: u32,
}

/// The state's side of one iterator: what it has not been told yet.
pub struct Offers {
    id: u64,
    queue: VecDeque<i64>,
    queued: HashSet<i64>,
    waiter: Option<Reply<Option<ReadySession>>>,
    left: Option<usize>,
    abandoned: Arc<AtomicBool>,
}

impl Offers {
    /// Tells every iterator that a session is ready. One that was told and has not looked is not told twice.
    pub fn offer(state: &mut State, id: i64, effects: &mut Effects) {
        let mut all = std::mem::take(&mut state.offers);
        all.retain(|offers| !offers.is_abandoned());
        for offers in &mut all {
            if offers.queued.insert(id) {
                offers.queue.push_back(id);
            }
            offers.deliver(state, effects);
        }
        all.retain(|offers| offers.left != Some(0));
        state.offers = all;
    }

    /// As [`super::consumer::Slot::is_abandoned`].
    pub fn is_abandoned(&self) -> bool {
        self.waiter.is_none() && self.abandoned.load(Ordering::Relaxed)
    }

    /// Hands the next session that is still ready to whoever waits.
    fn deliver(&mut self, state: &State, effects: &mut Effects) {
        if self.waiter.is_none() {
            return;
        }
        while let Some(id) = self.queue.pop_front() {
            self.queued.remove(&id);
            // It may have found a consumer, or have been purged or paused, since it was offered.
            if !state.is_ready(id) {
                continue;
            }
            let Some(session) = state.sessions.get(&id) else { continue };
            let ready = ReadySession { session_db_id: id, depth: session.depth, attempts: session.attempts };
            self.left = self.left.map(|left| left.saturating_sub(1));
            if let Some(reply) = self.waiter.take() {
                effects.then(move || reply.settle(Ok(Some(ready))));
            }
            return;
        }
    }

    /// Whoever waits for the next session.
    pub fn into_waiter(self) -> Option<Reply<Option<ReadySession>>> {
        self.waiter
    }

    /// Ends the iteration.
    pub fn end(&mut self, effects: &mut Effects) {
        if let Some(reply) = self.waiter.take() {
            effects.then(move || reply.settle(Ok(None)));
        }
    }
}

/// The handle of one iterator.
#[derive(Debug)]
pub struct ReadySessions {
    shared: Arc<Shared>,
    id: u64,
    abandoned: Arc<AtomicBool>,
}

impl Queue {
    /// Starts an iterator over the sessions that want a consumer; it ends after `limit` of them.
    ///
    /// # Errors
    /// `ERR_DISPOSED`.
    pub fn ready(&self, limit: Option<usize>) -> Result<ReadySessions> {
        let shared = Arc::clone(self.shared());
        let abandoned = Arc::new(AtomicBool::new(false));
        let id = shared.with(|state, effects| {
            if state.closed {
                return Err(Error::disposed("memory"));
            }
            // As in `consume`.
            effects.wake_clock = true;
            let id = state.number();
            let queue: VecDeque<i64> =
                state.waiting().iter().map(|entry| entry.session_db_id).filter(|id| state.is_ready(*id)).collect();
            let queued = queue.iter().copied().collect();
            let abandoned = Arc::clone(&abandoned);
            state.offers.push(Offers { id, queue, queued, waiter: None, left: limit, abandoned });
            Ok(id)
        })?;
        Ok(ReadySessions { shared, id, abandoned })
    }
}

impl ReadySessions {
    /// Whether the next call has nothing to wait for: a session is ready, or no more will come.
    #[must_use]
    pub fn answers_at_once(&self) -> bool {
        self.shared.read(|state| match state.offers.iter().find(|offers| offers.id == self.id) {
            Some(offers) => offers.queue.iter().any(|id| state.is_ready(*id)),
            None => true,
        })
    }

    /// Waits for the next session; `None` at the end.
    pub fn next(&self, reply: Reply<Option<ReadySession>>) {
        self.shared.with(|state, effects| {
            let Some(place) = state.offers.iter().position(|offers| offers.id == self.id) else {
                return effects.then(move || reply.settle(Ok(None)));
            };
            let mut offers = state.offers.remove(place);
            if offers.waiter.is_some() {
                let error = Error::invalid("next() is pending already; await it before the next call");
                effects.then(move || reply.settle(Err(error)));
            } else {
                offers.waiter = Some(reply);
                offers.deliver(state, effects);
            }
            // After the last of a limit the iterator is gone, and the next call answers the end.
            if offers.left != Some(0) || offers.waiter.is_some() {
                state.offers.insert(place, offers);
            }
        });
    }

    /// Ends the iteration; what waits settles. Twice without harm.
    pub fn dispose(&self) {
        self.shared.with(|state, effects| {
            if let Some(place) = state.offers.iter().position(|offers| offers.id == self.id) {
                state.offers.remove(place).end(effects);
            }
        });
    }
}

impl Drop for ReadySessions {
    fn drop(&mut self) {
        // May run in a finalizer: only a flag.
        self.abandoned.store(true, Ordering::Relaxed);
    }
}
