//! What calls of class `Queue` take and answer, and what that looks like in TypeScript.

use std::time::{Duration, Instant};

use napi_derive::napi;

use super::{
    arguments::{Argument, Fields},
    call::Pending,
    open_options::milliseconds,
};
use crate::{
    error::Result,
    queue::{ConsumeOptions, EnqueueOptions, FieldKind, Shape},
};

/// How a message is enqueued.
#[napi(object, object_to_js = false, js_name = "EnqueueOptions")]
#[derive(Debug)]
pub struct EnqueueCallOptions {
    /// A second message of the session with this key is not stored; its answer says what became of the first.
    /// Remembered for `dedupeAgeMs` (24 h).
    pub dedupe_key: Option<String>,
    /// Whether the batch, and with its commit the iteration, ends with this message. Default: whether its `type` is
    /// `'summarize'`.
    pub ends_batch: Option<bool>,
    /// Whose session `sessionDbId` is: a guard against a number that belongs to another one by now. With the store
    /// open, one that is not the row's is refused with `ERR_NOT_FOUND`. With `parts: ['queue']` there is no row to
    /// compare with: the newest name is the session's, and messages that wait under an older one become dead letters
    /// (`session-gone`) instead of reaching the wrong session. Default: the number alone counts.
    pub claude_session_id: Option<String>,
    /// How long to wait for a lock, ms. Default: `deadlineMs` of `openMemory`.
    pub deadline_ms: Option<u32>,
}

/// How a raw message is enqueued.
#[napi(object, object_to_js = false, js_name = "EnqueueRawOptions")]
#[derive(Debug)]
pub struct EnqueueRawCallOptions {
    /// As in `EnqueueOptions`.
    pub dedupe_key: Option<String>,
    /// As in `EnqueueOptions`.
    pub ends_batch: Option<bool>,
    /// As in `EnqueueOptions`.
    pub claude_session_id: Option<String>,
    /// As in `EnqueueOptions`.
    pub deadline_ms: Option<u32>,
    /// The message's `type`, whatever the text says. Default: the text's.
    #[napi(js_name = "type")]
    pub kind: Option<String>,
    /// The fields that are taken over, each as what it must be; all others are left out. `'text'`: a string.
    /// `'jsonText'`: a string as it is, of anything else its JSON text. `'integer'`: a whole number from 0, also as
    /// decimal text. `'any'`: whatever it is. A field that is absent or null is left out; one that is something else
    /// rejects with `ERR_INVALID_ARG`, which names it. Default: the text is stored as it is.
    #[napi(ts_type = "Record<string, 'text' | 'jsonText' | 'integer' | 'any'>")]
    pub fields: Option<std::collections::HashMap<String, String>>,
    /// The field of the text that holds the dedupe key; where it is there, `dedupeKey` does not count.
    pub dedupe_key_field: Option<String>,
}

/// The answer to an enqueue.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct EnqueueResult {
    /// The message's id; of a duplicate, the first one's.
    pub id: i64,
    /// Messages of the session waiting or leased now.
    pub depth: u32,
    /// `false`, or what became of the message that had this dedupe key before; then nothing was stored.
    #[napi(ts_type = "false | 'waiting' | 'done' | 'dead'")]
    pub duplicate: bool,
}

/// How a consumer pulls.
#[napi(object, object_to_js = false, js_name = "ConsumeOptions")]
#[derive(Debug)]
pub struct ConsumeCallOptions {
    /// Messages a batch at most (1 to 10,000). Default 8.
    pub max_batch: Option<u32>,
    /// Bytes a batch at most (1 to 1e9); a larger message comes alone. Default 1 MiB.
    pub max_batch_bytes: Option<u32>,
    /// How long a batch may be held, ms (1 to 8.64e7). Then this consumer ends, the attempt counts, and another may
    /// take the session. Default 900,000.
    pub lease_ms: Option<u32>,
    /// How long `next()` waits before the iteration ends, ms (1 to 8.64e7). Default 180,000.
    pub idle_timeout_ms: Option<u32>,
    /// Whether a pending `next()` keeps the process alive. Default false.
    pub keep_alive: Option<bool>,
    /// Whether the lease extends itself while the batch is neither committed, released, disposed nor
    /// garbage-collected. Default false.
    pub auto_extend: Option<bool>,
}

/// How `queue.ready()` iterates.
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct ReadyOptions {
    /// The iteration ends after this many sessions. Default: never by itself.
    pub limit: Option<u32>,
    /// Whether a pending `next()` keeps the process alive. Default false.
    pub keep_alive: Option<bool>,
}

/// A session that has deliverable messages and no consumer.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct ReadySession {
    /// Row id in `sdk_sessions`.
    pub session_db_id: i64,
    /// Messages waiting.
    pub depth: u32,
    /// Counted attempts of the oldest.
    pub attempts: u32,
}

/// A session with waiting messages.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct WaitingSession {
    /// Row id in `sdk_sessions`.
    pub session_db_id: i64,
    /// Messages waiting or leased.
    pub depth: u32,
    /// Their bytes.
    pub bytes: i64,
    /// When the oldest was enqueued, epoch ms.
    pub oldest_epoch: Option<i64>,
    /// When its backoff ends, epoch ms; null where none runs.
    pub ready_at_epoch: Option<i64>,
    /// Counted attempts of the oldest message.
    pub attempts: u32,
    /// Whether this session, or all, are paused.
    pub paused: bool,
}

/// How deliveries are paused.
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct PauseOptions {
    /// When the pause ends by itself, epoch ms. Default: only by `resume`. After a restart it lasts at most
    /// `maxPauseMs` more.
    pub until_epoch: Option<i64>,
    /// Why, for people.
    pub reason: Option<String>,
}

/// Whether a wait keeps the process alive.
pub(super) const fn pending(keep_alive: bool) -> Pending {
    if keep_alive { Pending::Operation } else { Pending::Wait }
}

/// The checked options of `consume`.
pub(super) fn consume_options(options: &Argument<'_>) -> Result<(ConsumeOptions, Pending)> {
    const DAY_MS: i64 = 86_400_000;
    let given =
        options.options(&["maxBatch", "maxBatchBytes", "leaseMs", "idleTimeoutMs", "keepAlive", "autoExtend"])?;
    let mut options = ConsumeOptions::default();
    let ms = |name: &str, default: Duration| {
        given.read(name, |value| milliseconds(value, 1..=DAY_MS)).map(|value| value.unwrap_or(default))
    };
    options.lease = ms("leaseMs", options.lease)?;
    options.idle_timeout = ms("idleTimeoutMs", options.idle_timeout)?;
    if let Some(count) = given.read("maxBatch", |value| value.size(1..=10_000, ""))? {
        options.max_batch = count;
    }
    if let Some(bytes) = given.read("maxBatchBytes", |value| value.size(1..=1_000_000_000, "bytes"))? {
        options.max_batch_bytes = bytes;
    }
    options.auto_extend = given.read("autoExtend", |value| value.boolean())?.unwrap_or(false);
    let keep_alive = given.read("keepAlive", |value| value.boolean())?.unwrap_or(false);
    Ok((options, pending(keep_alive)))
}

/// Names of the options of `enqueue`.
pub const ENQUEUE_OPTIONS: [&str; 4] = ["dedupeKey", "endsBatch", "claudeSessionId", "deadlineMs"];
/// Names of the options of `enqueueRaw`.
pub const RAW_OPTIONS: [&str; 7] =
    ["dedupeKey", "endsBatch", "claudeSessionId", "deadlineMs", "type", "fields", "dedupeKeyField"];

/// What `enqueue` and `enqueueRaw` have in common.
pub fn enqueue_options(given: &Fields<'_>) -> Result<EnqueueOptions> {
    let deadline = given.read("deadlineMs", |value| milliseconds(value, 1..=600_000))?;
    Ok(EnqueueOptions {
        dedupe_key: given.read("dedupeKey", |value| value.nonempty_text())?,
        ends_batch: given.read("endsBatch", |value| value.boolean())?,
        claude_session_id: given.read("claudeSessionId", |value| value.nonempty_text())?,
        deadline: deadline.map(|wait| Instant::now() + wait),
    })
}

/// `type`, `fields` and `dedupeKeyField` of `enqueueRaw`.
pub fn message_shape(given: &Fields<'_>) -> Result<Shape> {
    let kinds = [
        ("text", FieldKind::Text),
        ("jsonText", FieldKind::JsonText),
        ("integer", FieldKind::Integer),
        ("any", FieldKind::Any),
    ];
    let fields = given.read("fields", |value| {
        let fields = value.object()?;
        fields.names().map(|name| Ok((name.to_owned(), fields.required(name)?.one_of(&kinds)?))).collect()
    })?;
    Ok(Shape {
        kind: given.read("type", |value| value.nonempty_text())?,
        fields,
        dedupe_key_field: given.read("dedupeKeyField", |value| value.nonempty_text())?,
    })
}
