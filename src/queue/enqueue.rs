//! Enqueue: bounds at once, durable before it resolves, duplicates recognised.

use std::{sync::Arc, time::Instant};

use rusqlite::Connection;

use super::{
    directory::Entry,
    engine::{Queue, Shared},
    envelope::Envelope,
    erase,
    storage::{self, NewMessage},
};
use crate::{
    clock,
    db::Write,
    error::{Code, Error, Result},
    reply::Reply,
    settings::Bounds,
};

/// The name of the type that ends a batch unless the caller says otherwise.
const SUMMARIZE: &str = "summarize";
/// Every so many remembered keys the old ones are evicted.
const EVICT_EVERY: u64 = 256;

/// How a message is enqueued.
#[derive(Debug, Clone, Default)]
pub struct EnqueueOptions {
    /// A second message of the session with this key is not stored.
    pub dedupe_key: Option<String>,
    /// Whether the batch and the iteration end with this message; by default where its type is `summarize`.
    pub ends_batch: Option<bool>,
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
        let shared = Arc::clone(self.shared());
        let epoch = clock::now_epoch();
        let accepted = shared.with(|state, _| {
            if state.closed {
                return Err(Error::disposed("memory"));
            }
            erase::check(state, session_id)?;
            let session = state.sessions.get(&session_id);
            let waiting = session.map_or((0, 0), |session| (session.depth, session.bytes));
            check_bounds(&shared.settings.bounds, session_id, payload.len(), waiting, state.bytes)?;
            state.count_in(session_id, payload.len(), epoch);
            Ok(())
        });
        if let Err(refusal) = accepted {
            return reply.settle(Err(refusal));
        }
        let deadline = options.deadline.unwrap_or_else(|| shared.deadline());
        let bytes = payload.len();
        // However the command ends, also dropped unanswered, what was counted in is settled here.
        let reply = Reply::new({
            let shared = Arc::clone(&shared);
            move |outcome| settle(&shared, session_id, bytes, outcome, reply)
        });
        shared.queue_writer().submit(Enqueue {
            shared: Arc::clone(&shared),
            session_id,
            payload,
            options,
            deadline,
            epoch,
            envelope: None,
            outcome: None,
            reply,
        });
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

struct Outcome {
    entry: Entry,
    prompt_number: Option<i64>,
    id: i64,
    duplicate: Option<Duplicate>,
    evicted: usize,
}

struct Enqueue {
    shared: Arc<Shared>,
    session_id: i64,
    payload: String,
    options: EnqueueOptions,
    deadline: Instant,
    epoch: i64,
    envelope: Option<Envelope>,
    outcome: Option<Outcome>,
    reply: Reply<Outcome>,
}

impl Enqueue {
    /// Dedupe keys from before this time are forgotten, epoch ms.
    fn forgotten_before(&self) -> i64 {
        let age = self.shared.settings.bounds.dedupe_age.as_millis();
        self.epoch.saturating_sub(i64::try_from(age).unwrap_or(i64::MAX))
    }

    fn store(&mut self, db: &Connection) -> Result<Outcome> {
        if self.envelope.is_none() {
            self.envelope = Some(Envelope::parse(&self.payload)?);
        }
        let envelope = self.envelope.as_ref().map_or_else(Envelope::default, Clone::clone);
        let entry = self.shared.directory.get(self.session_id)?;
        let prompt_number = envelope.prompt_number;
        if let Some(key) = &self.options.dedupe_key
            && let Some(id) = storage::find_dedupe_key(db, self.session_id, key, self.forgotten_before())?
        {
            // Asked of the tables, not of the counters: acknowledged and purged look the same from outside.
            let duplicate = if storage::is_dead(db, id)? {
                Duplicate::Dead
            } else if id > entry.upto && storage::exists(db, id)? {
                Duplicate::Waiting
            } else {
                Duplicate::Done
            };
            return Ok(Outcome { entry, prompt_number, id, duplicate: Some(duplicate), evicted: 0 });
        }
        let id = self.shared.ids.take(db)?;
        storage::insert(
            db,
            &NewMessage {
                id,
                session_id: self.session_id,
                claude_session_id: &entry.row.claude_session_id,
                kind: envelope.kind.as_deref(),
                prompt_number,
                ends_batch: self.options.ends_batch.unwrap_or(envelope.kind.as_deref() == Some(SUMMARIZE)),
                enqueued_at_epoch: self.epoch,
                payload: &self.payload,
            },
        )?;
        let mut evicted = 0;
        if let Some(key) = &self.options.dedupe_key {
            storage::remember_dedupe_key(db, self.session_id, key, id, self.epoch)?;
            if self.shared.count_dedupe_key().is_multiple_of(EVICT_EVERY) {
                let keep = self.shared.settings.bounds.dedupe_keys;
                evicted = storage::evict_dedupe_keys(db, self.forgotten_before(), keep)?;
            }
        }
        self.shared.touch(self.session_id);
        Ok(Outcome { entry, prompt_number, id, duplicate: None, evicted })
    }
}

impl Write for Enqueue {
    fn name(&self) -> &'static str {
        "enqueue"
    }
    fn bytes(&self) -> usize {
        self.payload.len()
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

fn settle(shared: &Shared, session_id: i64, bytes: usize, outcome: Result<Outcome>, reply: Reply<Enqueued>) {
    if let Ok(Outcome { id, duplicate: None, .. }) = &outcome {
        shared.ids.confirm(*id, &shared.main_writer);
    }
    shared.with(|state, effects| {
        let answer = match outcome {
            Ok(Outcome { entry, prompt_number, id, duplicate, evicted }) => {
                if duplicate.is_some() {
                    state.count_out(session_id, 1, bytes, false);
                } else {
                    state.session(session_id).durable += 1;
                    state.metrics.enqueued.record(1);
                    state.metrics.dedupe_evicted += evicted as u64;
                }
                state.activate(session_id, &entry.row, prompt_number, effects);
                let depth = state.sessions.get(&session_id).map_or(0, |session| session.depth);
                Ok(Enqueued { id, depth, duplicate })
            }
            Err(error) => {
                state.count_out(session_id, 1, bytes, false);
                Err(error)
            }
        };
        state.follow_up(session_id, effects);
        effects.then(move || reply.settle(answer));
    });
}
