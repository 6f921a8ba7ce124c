//! A message on its way into `queue.db`: brought into shape, checked against what is remembered, stored. The same for
//! the owner and for a client.

use rusqlite::Connection;

use super::{
    directory::{Known, Sessions, Told},
    enqueue::{Duplicate, EnqueueOptions},
    shape::{Shape, Shaped},
    storage::{self, NewMessage},
};
use crate::{
    clock,
    error::{Code, Error, Result},
    settings::Bounds,
};

/// The name of the type that ends a batch unless the caller says otherwise.
const SUMMARIZE: &str = "summarize";

/// The error of a message that is larger than `maxMessageBytes`.
#[must_use]
pub fn too_large(session_id: i64, size: usize, limit: usize) -> Error {
    Error::new(
        Code::QueueFull,
        format!("bytes of one message: {size} would exceed the limit of {limit}; shorten it or raise maxMessageBytes"),
    )
    .with("sessionDbId", session_id)
    .with("bytes", size)
    .with("limit", limit)
}

/// A message that is to be stored.
pub struct Incoming {
    pub session_id: i64,
    /// UTF-8 text of one object, until it has its shape.
    body: Vec<u8>,
    /// Bytes as it came.
    pub bytes: usize,
    shape: Shape,
    shaped: Option<Shaped>,
    pub options: EnqueueOptions,
    /// When it came, epoch ms.
    pub epoch: i64,
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
    /// Bytes as it is stored.
    pub bytes: usize,
}

/// Where it goes.
pub struct Destination<'a> {
    /// The connection of `queue.db`, in its open transaction.
    pub db: &'a Connection,
    pub sessions: &'a dyn Sessions,
    pub bounds: &'a Bounds,
    /// The newest message id that was given.
    pub newest: i64,
}

impl Incoming {
    pub fn new(session_id: i64, body: Vec<u8>, shape: Shape, options: EnqueueOptions) -> Self {
        let (bytes, epoch) = (body.len(), clock::now_epoch());
        Self { session_id, body, bytes, shape, shaped: None, options, epoch, stored: None }
    }

    /// Whether storing it may write more than its own row (and the floor for ids, which may stay risen): what must be
    /// undone together where a part of it fails.
    pub fn writes_more_than_itself(&self) -> bool {
        self.options.dedupe_key.is_some()
            || self.shape.dedupe_key_field.is_some()
            || self.options.claude_session_id.is_some()
    }

    /// Stores it, unless its key was seen before. `take` gives its id, for its bytes as they are stored; `evict` says for
    /// the id of one with a key whether old keys are to go.
    pub fn store(
        &mut self,
        to: &Destination<'_>,
        take: impl FnOnce(usize) -> Result<i64>,
        evict: impl FnOnce(i64) -> bool,
    ) -> Result<Outcome> {
        // Made once, also where the command runs again.
        let shaped = match self.shaped.take() {
            Some(shaped) => shaped,
            None => self.shape(to.bounds)?,
        };
        let stored = self.store_shaped(to, &shaped, take, evict);
        self.shaped = Some(shaped);
        stored
    }

    /// The message as it is stored.
    fn shape(&mut self, bounds: &Bounds) -> Result<Shaped> {
        let text = String::from_utf8(std::mem::take(&mut self.body)).map_err(|error| {
            let at = error.utf8_error().valid_up_to();
            Error::invalid(format!("a message must be UTF-8 text; byte {at} is not"))
        })?;
        let shaped = self.shape.apply(text)?;
        let (size, limit) = (shaped.payload.len(), bounds.message_bytes);
        if size > limit {
            // Other values that become text grow by their escapes.
            return Err(too_large(self.session_id, size, limit));
        }
        Ok(shaped)
    }

    fn store_shaped(
        &mut self,
        to: &Destination<'_>,
        shaped: &Shaped,
        take: impl FnOnce(usize) -> Result<i64>,
        evict: impl FnOnce(i64) -> bool,
    ) -> Result<Outcome> {
        let &Destination { db, sessions, bounds, newest } = to;
        let Shaped { payload, envelope, dedupe_key } = shaped;
        let dedupe_key = dedupe_key.as_ref().or(self.options.dedupe_key.as_ref());
        let (bytes, prompt_number) = (payload.len(), envelope.prompt_number);
        let told = Told { claude_session_id: self.options.claude_session_id.as_deref(), project: None };
        let known = sessions.enter(db, self.session_id, told, newest)?;
        let owner = &*known.row.claude_session_id;
        let message = |id| NewMessage {
            id,
            session_id: self.session_id,
            claude_session_id: owner,
            kind: envelope.kind.as_deref(),
            prompt_number,
            ends_batch: self.options.ends_batch.unwrap_or(envelope.kind.as_deref() == Some(SUMMARIZE)),
            enqueued_at_epoch: self.epoch,
            payload,
        };
        if let Some(id) = self.stored
            && storage::is_stored(db, &message(id))?
        {
            // An earlier run's COMMIT reported an I/O error, and is in the file all the same. Where it is not, another
            // process may have taken its id since: only the message itself tells.
            return Ok(Outcome { known, prompt_number, id, duplicate: None, evicted: 0, bytes });
        }
        let age = i64::try_from(bounds.dedupe_age.as_millis()).unwrap_or(i64::MAX);
        let forgotten_before = self.epoch.saturating_sub(age);
        if let Some(key) = dedupe_key
            && let Some(id) = storage::find_dedupe_key(db, self.session_id, owner, key, forgotten_before)?
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
                return Ok(Outcome { known, prompt_number, id, duplicate, evicted: 0, bytes });
            }
        }
        let id = take(bytes)?;
        storage::insert(db, &message(id))?;
        self.stored = Some(id);
        let mut evicted = 0;
        if let Some(key) = dedupe_key {
            storage::remember_dedupe_key(db, self.session_id, owner, key, id, self.epoch)?;
            if evict(id) {
                evicted = storage::evict_dedupe_keys(db, forgotten_before, bounds.dedupe_keys)?;
            }
        }
        Ok(Outcome { known, prompt_number, id, duplicate: None, evicted, bytes })
    }
}
