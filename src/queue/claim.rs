//! Claims: a prefix of a session's queue becomes a batch under a lease.

use std::{
    ops::Range,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rusqlite::{Connection, params};

use super::{
    consumer::ConsumeOptions,
    dead_letters,
    engine::Shared,
    envelope::Split,
    lease::{Lease, Phase},
    release::{self, ReleaseOptions},
    shared_text::SharedText,
    storage, text_slice,
};
use crate::{
    clock,
    db::{Call, Write},
    error::{Error, Result},
    reply::Reply,
    store::opening::SessionRow,
};

/// Memory that is asked for at once for the texts of a batch, bytes at most.
const RESERVED: usize = 1 << 20;

/// A message in a batch. Its text stays in native memory.
#[derive(Debug, Clone)]
pub struct Delivered {
    /// The message's id.
    pub id: i64,
    /// Counted attempts before this one.
    pub attempts: u32,
    /// When it came, epoch ms.
    pub enqueued_at_epoch: i64,
    /// Its JSON text.
    pub payload: SharedText,
    /// Its text split for delivery, made on the queue's thread: what is parsed at once, and the large texts that are
    /// read on demand.
    pub split: Split,
    /// Where its strings with escapes are, as what they stand for.
    pub unescaped: Arc<String>,
}

impl Delivered {
    /// The part `units` (UTF-16, as JavaScript counts) of a large text, as a JSON string; `None` where the field is
    /// no large text.
    #[must_use]
    pub fn text(&self, field: &str, units: Range<usize>) -> Option<String> {
        let (_, range) = self.split.large.iter().find(|(name, _)| **name == *field)?;
        let literal = &self.payload[range.clone()];
        Some(format!("\"{}\"", &literal[text_slice::locate(literal, units)]))
    }

    /// The whole message as JSON text, in two parts: the engine's own fields stand behind those of the same name, and
    /// of two the last counts.
    #[must_use]
    pub fn json(&self) -> (&str, String) {
        let open = self.payload.trim_end().strip_suffix('}').unwrap_or_default();
        let comma = if open.trim() == "{" { "" } else { "," };
        let own = format!(
            "{comma}\"id\":{},\"attempts\":{},\"enqueuedAtEpoch\":{}}}",
            self.id, self.attempts, self.enqueued_at_epoch
        );
        (open, own)
    }
}

/// A prefix of a session's queue, held under a lease until it is committed or released.
#[derive(Debug)]
pub struct Batch {
    pub(super) shared: Arc<Shared>,
    pub(super) session_id: i64,
    pub(super) token: i64,
    pub(super) prompt_number: Option<i64>,
    upto: i64,
    messages: Vec<Delivered>,
    abandoned: Arc<AtomicBool>,
}

impl Batch {
    /// `sdk_sessions.id`.
    #[must_use]
    pub fn session_id(&self) -> i64 {
        self.session_id
    }

    /// The prompt that all its messages belong to.
    #[must_use]
    pub fn prompt_number(&self) -> Option<i64> {
        self.prompt_number
    }

    /// The id of the last message: what a commit acknowledges.
    #[must_use]
    pub fn upto(&self) -> i64 {
        self.upto
    }

    /// The messages, oldest first.
    #[must_use]
    pub fn messages(&self) -> &[Delivered] {
        &self.messages
    }

    /// Puts the lease's end `by` from now; memory only.
    ///
    /// # Errors
    /// `ERR_LEASE_LOST` where the lease is over.
    pub fn extend(&self, by: Duration) -> Result<()> {
        self.shared.with(|state, effects| {
            if state.closed {
                return Err(Error::disposed("memory"));
            }
            let lease = state.lease_mut(self.session_id, self.token).ok_or_else(|| release::lost(self.session_id))?;
            lease.deadline = Instant::now() + by;
            state.registry.touch(self.session_id);
            state.follow_up(self.session_id, effects);
            Ok(())
        })
    }

    /// Gives the batch back uncounted, with the first backoff. Nothing happens where it was committed or
    /// released before.
    pub fn dispose(&self) {
        self.release(ReleaseOptions { count_attempt: false, ..ReleaseOptions::default() }, Reply::ignore());
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        // May run in a finalizer: only a flag, which the queue's clock sees.
        self.abandoned.store(true, Ordering::Relaxed);
    }
}

/// A claim to be made for a waiting consumer.
#[derive(Debug)]
pub struct Claim {
    session_id: i64,
    consumer: u64,
    options: Arc<ConsumeOptions>,
}

impl Claim {
    pub fn new(session_id: i64, consumer: u64, options: Arc<ConsumeOptions>) -> Self {
        Self { session_id, consumer, options }
    }

    /// The command that makes it.
    pub fn bind(self, shared: &Arc<Shared>) -> impl Write + use<> {
        let Self { session_id, consumer, options } = self;
        let token = shared.with(|state, _| i64::try_from(state.number()).unwrap_or(i64::MAX));
        let settle = {
            let (shared, options) = (Arc::clone(shared), Arc::clone(&options));
            Reply::new(move |found| settle(&shared, session_id, consumer, token, &options, found))
        };
        let shared = Arc::clone(shared);
        let deadline = shared.deadline();
        Call::new("claim", deadline, move |db| find(&shared, db, session_id, token, &options), settle)
    }
}

enum Found {
    Batch {
        row: Arc<SessionRow>,
        fence: i64,
        messages: Vec<Delivered>,
        prompt_number: Option<i64>,
        ends_batch: bool,
    },
    /// The session is gone, or the row is another session's: its messages are dead letters.
    Foreign,
    Nothing,
}

fn find(shared: &Shared, db: &Connection, session_id: i64, token: i64, options: &ConsumeOptions) -> Result<Found> {
    let Some(session) = shared.directory.session(db, session_id)? else { return Ok(Found::Foreign) };
    let watermark = shared.directory.watermark(db, session_id)?;
    let mut found: Vec<Row> = Vec::new();
    let mut payloads = String::new();
    let (mut bytes, mut limit, mut prompt_number, mut ends_batch) = (0_usize, options.max_batch.max(1), None, false);
    let mut statement = db.prepare_cached(
        "SELECT m.id, m.claude_session_id, m.prompt_number, m.ends_batch, m.enqueued_at_epoch, m.bytes,
           coalesce((SELECT count FROM attempts WHERE message_id = m.id), 0), m.payload
         FROM messages m WHERE m.session_id = ?1 AND m.id > ?2 ORDER BY m.id",
    )?;
    let mut rows = statement.query(params![session_id, watermark.upto])?;
    while let Some(row) = rows.next()? {
        if found.len() == limit || ends_batch {
            break;
        }
        let owner = row.get_ref(1)?.as_str().unwrap_or_default();
        if !session.owns(owner) {
            if found.is_empty() {
                return Ok(Found::Foreign);
            }
            break;
        }
        let size = usize::try_from(row.get::<_, i64>(5)?).unwrap_or(usize::MAX);
        let (prompt, attempts): (Option<i64>, u32) = (row.get(2)?, row.get(6)?);
        if found.is_empty() {
            prompt_number = prompt;
            // From the second attempt on the batch is halved, so that a poisonous message is found.
            limit = options.max_batch.checked_shr(attempts).unwrap_or(0).max(1);
            // Messages of a session are often of one size.
            payloads.reserve(size.saturating_mul(limit).min(options.max_batch_bytes).min(RESERVED));
        } else if prompt != prompt_number || bytes.saturating_add(size) > options.max_batch_bytes {
            break;
        }
        bytes = bytes.saturating_add(size);
        ends_batch = row.get(3)?;
        let start = payloads.len();
        payloads.push_str(row.get_ref(7)?.as_str().map_err(|error| Error::internal(error.to_string()))?);
        let payload = start..payloads.len();
        found.push(Row { id: row.get(0)?, attempts, enqueued_at_epoch: row.get(4)?, payload });
    }
    let messages = delivered(found, payloads);
    let (Some(first), Some(last)) = (messages.first(), messages.last()) else { return Ok(Found::Nothing) };
    storage::put_lease(db, session_id, first.id, last.id, token)?;
    Ok(Found::Batch { row: session.row, fence: watermark.fence, messages, prompt_number, ends_batch })
}

/// A row that was found, and where its text lies among those of the others.
struct Row {
    id: i64,
    attempts: u32,
    enqueued_at_epoch: i64,
    payload: Range<usize>,
}

/// The messages of rows whose texts are `payloads`.
fn delivered(found: Vec<Row>, payloads: String) -> Vec<Delivered> {
    let payloads = Arc::new(payloads);
    let mut unescaped = String::new();
    let split: Vec<_> = found
        .into_iter()
        .map(|row| {
            let payload = SharedText::new(&payloads, row.payload.clone());
            let split = Split::new(&payload, &mut unescaped);
            (row, payload, split)
        })
        .collect();
    let unescaped = Arc::new(unescaped);
    let whole = |(row, payload, split): (Row, SharedText, Split)| {
        let Row { id, attempts, enqueued_at_epoch, .. } = row;
        Delivered { id, attempts, enqueued_at_epoch, payload, split, unescaped: Arc::clone(&unescaped) }
    };
    split.into_iter().map(whole).collect()
}

/// After the claim's COMMIT: hands the batch to the consumer, if it still waits.
fn settle(
    shared: &Arc<Shared>,
    session_id: i64,
    consumer: u64,
    token: i64,
    options: &ConsumeOptions,
    found: Result<Found>,
) {
    shared.with(|state, effects| {
        let closed = state.closed;
        let session = state.session(session_id);
        session.claiming = false;
        let waiter = session.consumer.as_mut().filter(|slot| slot.id == consumer && !closed).and_then(|slot| {
            // A consumer that had nothing to be told goes on waiting.
            if matches!(found, Ok(Found::Foreign | Found::Nothing)) { None } else { slot.take_waiter() }
        });
        match (found, waiter) {
            (Ok(Found::Batch { row, fence, messages, prompt_number, ends_batch }), Some(reply)) => {
                let abandoned = Arc::new(AtomicBool::new(false));
                let upto = messages.last().map_or(0, |message| message.id);
                session.lapsed = None;
                session.not_before = None;
                session.lease = Some(Lease {
                    token,
                    consumer,
                    claude_session_id: row.claude_session_id.clone(),
                    ids: messages.iter().map(|message| message.id).collect(),
                    last: upto,
                    bytes: messages.iter().map(|message| message.payload.len()).sum(),
                    fence,
                    phase: Phase::Leased,
                    deadline: Instant::now() + options.lease,
                    extension: options.auto_extend.then_some(options.lease),
                    ends_batch,
                    counted: false,
                    claimed: Instant::now(),
                    abandoned: Arc::clone(&abandoned),
                });
                let now = clock::now_epoch();
                for message in &messages {
                    // Milliseconds since the enqueue; a clock that was set back gives none.
                    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
                    state.metrics.wait_ms.record((now - message.enqueued_at_epoch).max(0) as f64);
                }
                state.activate(session_id, &row, prompt_number, effects);
                let batch =
                    Batch { shared: Arc::clone(shared), session_id, token, prompt_number, upto, messages, abandoned };
                effects.then(move || reply.settle(Ok(Some(batch))));
            }
            (Ok(Found::Batch { .. }), None) => {
                // The consumer went while the claim was written: nobody saw the batch, no attempt counts.
                effects.queue(Call::new(
                    "clear-lease",
                    Shared::bookkeeping_deadline(),
                    move |db| storage::clear_lease(db, session_id, token),
                    Reply::ignore(),
                ));
            }
            (Ok(Found::Foreign), _) => return dead_letters::bury_strangers(shared, session_id, effects),
            (Ok(Found::Nothing), _) => {
                // The tables are right, the counters were not (somebody else wrote the file): mend them.
                let (count, bytes) = (session.durable, session.bytes);
                if count > 0 {
                    state.count_out(session_id, count, bytes, true);
                }
            }
            (Err(error), Some(reply)) => effects.then(move || reply.settle(Err(error))),
            (Err(_), None) => {}
        }
        state.follow_up(session_id, effects);
    });
}
