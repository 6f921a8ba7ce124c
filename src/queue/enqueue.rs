//! Enqueue: bounds at once, durable before it resolves, duplicates recognised.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::Instant,
};

use rusqlite::Connection;

use super::{
    engine::{Queue, Shared},
    erase,
    incoming::{Destination, Incoming, Outcome},
    shape::Shape,
};
use crate::{
    db::Write,
    error::{Code, Error, Result},
    reply::Reply,
    settings::Bounds,
};

/// Every so many remembered keys the old ones are evicted.
pub const EVICT_EVERY: u64 = 256;

/// How a message is enqueued.
#[derive(Debug, Clone, Default)]
pub struct EnqueueOptions {
    /// A second message of the session with this key is not stored.
    pub dedupe_key: Option<String>,
    /// Whether the batch and the iteration end with this message; by default where its type is `summarize`.
    pub ends_batch: Option<bool>,
    /// Whose session that is: refused where the number belongs to another.
    pub claude_session_id: Option<String>,
    /// Until when a lock is waited for.
    pub deadline: Option<Instant>,
}

/// What became of a message with a key that was seen before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Duplicate {
    /// It waits or is leased.
    Waiting,
    /// It was acknowledged.
    Done,
    /// It lies among the dead letters.
    Dead,
}

impl Duplicate {
    /// What `duplicate` shows.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waiting => "waiting",
            Self::Done => "done",
            Self::Dead => "dead",
        }
    }
}

/// The answer to an enqueue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enqueued {
    /// The message's id; of a duplicate, the first one's.
    pub id: i64,
    /// Messages of the session waiting or leased now.
    pub depth: usize,
    /// Set where nothing was stored, because the key was seen before.
    pub duplicate: Option<Duplicate>,
}

impl Queue {
    /// Enqueues the JSON text of one object. Resolved, it is durable.
    pub fn enqueue(&self, session_id: i64, payload: String, options: EnqueueOptions, reply: Reply<Enqueued>) {
        self.enqueue_raw(session_id, payload.into_bytes(), Shape::default(), options, reply);
    }

    /// Enqueues UTF-8 text as it came, brought into shape on the queue's own thread. Resolved, it is durable.
    pub fn enqueue_raw(
        &self,
        session_id: i64,
        body: Vec<u8>,
        shape: Shape,
        options: EnqueueOptions,
        reply: Reply<Enqueued>,
    ) {
        let shared = Arc::clone(self.shared());
        let message = Incoming::new(session_id, body, shape, options);
        let bytes = message.bytes;
        let accepted = shared.with(|state, _| {
            if state.closed {
                return Err(Error::disposed("memory"));
            }
            erase::check(state, session_id)?;
            let session = state.sessions.get(&session_id);
            let waiting = session.map_or((0, 0), |session| (session.depth, session.bytes));
            check_bounds(&shared.settings.bounds, session_id, bytes, waiting, state.bytes)?;
            state.count_in(session_id, bytes, message.epoch);
            Ok(())
        });
        if let Err(refusal) = accepted {
            return reply.settle(Err(refusal));
        }
        let deadline = message.options.deadline.unwrap_or_else(|| shared.deadline());
        let counted = Counted { shared: Arc::clone(&shared), session_id, bytes, reply: Some(reply) };
        shared.queue_writer().submit(Enqueue { message, deadline, writing: false, outcome: None, counted });
    }
}

/// Whether a message of `size` bytes may be added to a session in which `(depth, bytes)` wait.
pub fn check_bounds(
    bounds: &Bounds,
    session_id: i64,
    size: usize,
    (depth, bytes): (usize, usize),
    total: usize,
) -> Result<()> {
    let full = |what: &str, value: usize, limit: usize, remedy: &str| {
        Err(Error::new(Code::QueueFull, format!("{what}: {value} would exceed the limit of {limit}; {remedy}"))
            .with("sessionDbId", session_id)
            .with("depth", depth)
            .with("bytes", bytes)
            .with("limit", limit))
    };
    if size > bounds.message_bytes {
        return full("bytes of one message", size, bounds.message_bytes, "shorten it or raise maxMessageBytes");
    }
    if depth >= bounds.session_messages {
        let remedy = "let its consumer catch up or raise maxSessionMessages";
        return full(&format!("messages of session {session_id}"), depth + 1, bounds.session_messages, remedy);
    }
    if bytes + size > bounds.session_bytes {
        let remedy = "let its consumer catch up or raise maxSessionBytes";
        return full(&format!("bytes of session {session_id}"), bytes + size, bounds.session_bytes, remedy);
    }
    if total + size > bounds.total_bytes {
        return full(
            "bytes of all sessions",
            total + size,
            bounds.total_bytes,
            "let consumers catch up or raise maxQueueBytes",
        );
    }
    Ok(())
}

struct Enqueue {
    message: Incoming,
    deadline: Instant,
    /// The last run came to its first write.
    writing: bool,
    outcome: Option<Outcome>,
    counted: Counted,
}

/// A message that was counted in. However its command ends, also dropped unanswered, that is settled.
struct Counted {
    shared: Arc<Shared>,
    session_id: i64,
    /// Bytes that it was counted in with.
    bytes: usize,
    reply: Option<Reply<Enqueued>>,
}

impl Counted {
    fn refuse(&mut self, error: Error) {
        let Some(reply) = self.reply.take() else { return };
        let Self { session_id, bytes, .. } = *self;
        self.shared.with(|state, effects| {
            state.count_out(session_id, 1, bytes, false);
            state.follow_up(session_id, effects);
            effects.then(move || reply.settle(Err(error)));
        });
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.refuse(Error::internal("the operation was dropped unanswered; please report this"));
    }
}

impl Enqueue {
    fn store(&mut self, db: &Connection) -> Result<Outcome> {
        let shared = &self.counted.shared;
        let to = Destination {
            db,
            sessions: &*shared.directory,
            bounds: &shared.settings.bounds,
            newest: shared.ids.newest(),
        };
        let writing = &mut self.writing;
        *writing = false;
        let outcome = self.message.store(
            &to,
            |_| {
                *writing = true;
                shared.ids.take(db)
            },
            |_| shared.count_dedupe_key().is_multiple_of(EVICT_EVERY),
        )?;
        if outcome.duplicate.is_none() {
            shared.touch(self.message.session_id);
        }
        Ok(outcome)
    }
}

impl Write for Enqueue {
    fn name(&self) -> &'static str {
        "enqueue"
    }
    fn bytes(&self) -> usize {
        self.message.bytes
    }
    fn deadline(&self) -> Instant {
        self.deadline
    }
    fn run(&mut self, db: &Connection) -> Result<()> {
        self.outcome = Some(self.store(db)?);
        Ok(())
    }
    fn needs_savepoint(&self) -> bool {
        self.message.writes_more_than_itself()
    }
    fn has_written(&self) -> bool {
        self.writing
    }
    fn settle(self: Box<Self>, outcome: Result<()>) {
        let Self { outcome: stored, mut counted, .. } = *self;
        match outcome.and_then(|()| stored.ok_or_else(|| Error::internal("committed without a value"))) {
            Ok(outcome) => Arc::clone(&counted.shared).note_committed(Committed { counted, outcome }),
            Err(error) => counted.refuse(error),
        }
    }
    fn settles_together(&self) -> bool {
        true
    }
}

/// An enqueue whose transaction is committed.
pub struct Committed {
    counted: Counted,
    outcome: Outcome,
}

/// Settles the enqueues of a group: the state's lock is taken once, and the callers are told one right after the other.
pub fn settle(shared: &Shared, committed: Vec<Committed>) {
    let newest = committed.iter().filter(|one| one.outcome.duplicate.is_none()).map(|one| one.outcome.id).max();
    if let Some(id) = newest {
        shared.confirm_id(id);
    }
    // Taken out first: one that were dropped under the state's lock would ask for it again.
    let committed: Vec<_> = committed
        .into_iter()
        .filter_map(|Committed { mut counted, outcome }| {
            Some((counted.session_id, counted.bytes, outcome, counted.reply.take()?))
        })
        .collect();
    let mut answers = Vec::with_capacity(committed.len());
    let mut sessions = Vec::with_capacity(committed.len());
    shared.with(|state, effects| {
        for (session_id, came, outcome, reply) in committed {
            let Outcome { known, prompt_number, id, duplicate, evicted, bytes } = outcome;
            if duplicate.is_some() {
                state.count_out(session_id, 1, came, false);
            } else {
                state.resize(session_id, came, bytes);
                state.session(session_id).durable += 1;
                state.metrics.dedupe_evicted += evicted as u64;
                state.metrics.enqueued.record(1);
            }
            state.activate(session_id, &known.row, prompt_number, effects);
            let depth = state.sessions.get(&session_id).map_or(0, |session| session.depth);
            answers.push((reply, Enqueued { id, depth, duplicate }));
            sessions.push(session_id);
        }
        sessions.sort_unstable();
        sessions.dedup();
        for session_id in sessions {
            state.follow_up(session_id, effects);
        }
        effects.then(move || {
            for (reply, answer) in answers {
                // One that panics is a fault of its own.
                drop(catch_unwind(AssertUnwindSafe(|| reply.settle(Ok(answer)))));
            }
        });
    });
}
