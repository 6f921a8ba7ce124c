//! Enqueue: bounds at once, durable before it resolves, duplicates recognised.

use std::{sync::Arc, time::Instant};

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
        // However the command ends, also dropped unanswered, what was counted in is settled here.
        let reply = Reply::new({
            let shared = Arc::clone(&shared);
            move |outcome| settle(&shared, session_id, bytes, outcome, reply)
        });
        shared.queue_writer().submit(Enqueue { shared: Arc::clone(&shared), message, deadline, outcome: None, reply });
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
    shared: Arc<Shared>,
    message: Incoming,
    deadline: Instant,
    outcome: Option<Outcome>,
    reply: Reply<Outcome>,
}

impl Enqueue {
    fn store(&mut self, db: &Connection) -> Result<Outcome> {
        let shared = &self.shared;
        let to = Destination {
            db,
            sessions: &*shared.directory,
            bounds: &shared.settings.bounds,
            newest: shared.ids.newest(),
        };
        let outcome = self.message.store(
            &to,
            |_| shared.ids.take(db),
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
    fn settle(self: Box<Self>, outcome: Result<()>) {
        let Self { outcome: stored, reply, .. } = *self;
        reply.settle(outcome.and_then(|()| stored.ok_or_else(|| Error::internal("committed without a value"))));
    }
}

fn settle(shared: &Shared, session_id: i64, came: usize, outcome: Result<Outcome>, reply: Reply<Enqueued>) {
    if let Ok(Outcome { id, duplicate: None, .. }) = &outcome {
        shared.confirm_id(*id);
    }
    shared.with(|state, effects| {
        let answer = match outcome {
            Ok(Outcome { known, prompt_number, id, duplicate, evicted, bytes }) => {
                if duplicate.is_some() {
                    state.count_out(session_id, 1, came, false);
                } else {
                    state.resize(session_id, came, bytes);
                    state.session(session_id).durable += 1;
                    state.metrics.enqueued.record(1);
                    state.metrics.dedupe_evicted += evicted as u64;
                }
                state.activate(session_id, &known.row, prompt_number, effects);
                let depth = state.sessions.get(&session_id).map_or(0, |session| session.depth);
                Ok(Enqueued { id, depth, duplicate })
            }
            Err(error) => {
                state.count_out(session_id, 1, came, false);
                Err(error)
            }
        };
        state.follow_up(session_id, effects);
        effects.then(move || reply.settle(answer));
    });
}
