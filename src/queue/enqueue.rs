//! Enqueue: bounds at once, durable before it resolves, duplicates recognised.

use std::{sync::Arc, time::Instant};

use rusqlite::Connection;

use super::{
    directory::{Known, Sessions, Told},
    engine::{Queue, Shared},
    envelope::Envelope,
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
        let shared = Arc::clone(self.shared());
        let message = Incoming::new(session_id, payload, options);
        let bytes = message.payload.len();
        let accepted = shared.with(|state, _| {
            if state.closed {
                return Err(Error::disposed("memory"));
            }
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

/// A message that is to be stored.
pub struct Incoming {
    pub session_id: i64,
    pub payload: String,
    pub options: EnqueueOptions,
    /// When it came, epoch ms.
    pub epoch: i64,
    envelope: Option<Envelope>,
    /// The id of an earlier run, whose transaction failed.
    stored: Option<i64>,
}

/// What became of it.
pub struct Outcome {
    pub known: Known,
    pub prompt_number: Option<i64>,
    pub id: i64,
    pub duplicate: Option<Duplicate>,
    pub evicted: usize,
}

impl Incoming {
    pub fn new(session_id: i64, payload: String, options: EnqueueOptions) -> Self {
        Self { session_id, payload, options, epoch: clock::now_epoch(), envelope: None, stored: None }
    }

    /// Dedupe keys from before this time are forgotten, epoch ms.
    fn forgotten_before(&self, bounds: &Bounds) -> i64 {
        self.epoch.saturating_sub(i64::try_from(bounds.dedupe_age.as_millis()).unwrap_or(i64::MAX))
    }

    /// Stores it inside the open transaction of `db`, unless its key was seen before. `newest` is the newest message id that
    /// was given; `take` gives this one's; `evict` says for the id of one with a key whether old keys are to go.
    pub fn store(
        &mut self,
        db: &Connection,
        sessions: &dyn Sessions,
        bounds: &Bounds,
        newest: i64,
        take: impl FnOnce() -> Result<i64>,
        evict: impl FnOnce(i64) -> bool,
    ) -> Result<Outcome> {
        if self.envelope.is_none() {
            self.envelope = Some(Envelope::parse(&self.payload)?);
        }
        let envelope = self.envelope.as_ref().map_or_else(Envelope::default, Clone::clone);
        let told = Told { claude_session_id: self.options.claude_session_id.as_deref(), project: None };
        let known = sessions.enter(db, self.session_id, told, newest)?;
        let prompt_number = envelope.prompt_number;
        if let Some(id) = self.stored
            && storage::exists(db, id)?
        {
            // An earlier run's COMMIT reported an I/O error, and is in the file all the same.
            return Ok(Outcome { known, prompt_number, id, duplicate: None, evicted: 0 });
        }
        let owner = &*known.row.claude_session_id;
        if let Some(key) = &self.options.dedupe_key
            && let Some(id) = storage::find_dedupe_key(db, self.session_id, owner, key, self.forgotten_before(bounds))?
        {
            // Asked of the tables, not of the counters: acknowledged and purged look the same from outside.
            let duplicate = if storage::is_dead(db, id)? {
                Some(Duplicate::Dead)
            } else if id <= sessions.watermark(db, self.session_id)?.upto {
                Some(Duplicate::Done)
            } else if storage::exists(db, id)? {
                Some(Duplicate::Waiting)
            } else {
                // Nowhere: what it had become went with a newer `claude-mem.db`, in whose place an older copy is now.
                None
            };
            if duplicate.is_some() {
                return Ok(Outcome { known, prompt_number, id, duplicate, evicted: 0 });
            }
        }
        let id = take()?;
        self.stored = Some(id);
        storage::insert(
            db,
            &NewMessage {
                id,
                session_id: self.session_id,
                claude_session_id: owner,
                kind: envelope.kind.as_deref(),
                prompt_number,
                ends_batch: self.options.ends_batch.unwrap_or(envelope.kind.as_deref() == Some(SUMMARIZE)),
                enqueued_at_epoch: self.epoch,
                payload: &self.payload,
            },
        )?;
        let mut evicted = 0;
        if let Some(key) = &self.options.dedupe_key {
            storage::remember_dedupe_key(db, self.session_id, owner, key, id, self.epoch)?;
            if evict(id) {
                evicted = storage::evict_dedupe_keys(db, self.forgotten_before(bounds), bounds.dedupe_keys)?;
            }
        }
        Ok(Outcome { known, prompt_number, id, duplicate: None, evicted })
    }
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
        let outcome = self.message.store(
            db,
            &*shared.directory,
            &shared.settings.bounds,
            shared.ids.newest(),
            || shared.ids.take(db),
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
        self.message.payload.len()
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
        shared.confirm_id(*id);
    }
    shared.with(|state, effects| {
        let answer = match outcome {
            Ok(Outcome { known, prompt_number, id, duplicate, evicted }) => {
                if duplicate.is_some() {
                    state.count_out(session_id, 1, bytes, false);
                } else {
                    state.session(session_id).durable += 1;
                    state.metrics.enqueued.record(1);
                    state.metrics.dedupe_evicted += evicted as u64;
                }
                state.activate(session_id, &known.row, prompt_number, effects);
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
