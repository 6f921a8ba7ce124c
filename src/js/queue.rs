//! Class `Queue`: durable queues.

use std::{
    ops::RangeInclusive,
    sync::Arc,
    time::{Duration, Instant},
};

use napi::{Env, Unknown};
use napi_derive::napi;

use super::{
    answer::{Answer, IntoAnswer, object_answer},
    arguments::{Argument, MAX_SAFE_INTEGER},
    call::{Pending, Promised, immediate, promise},
    consumer::{Consumer, ReadySessions},
    health,
    open_options::milliseconds,
};
use crate::{
    error::{Error, Result},
    memory::Memory,
    queue::{ConsumeOptions, DeadLetter, DeadLetterFilter, EnqueueOptions, Enqueued, Waiting},
    reply::Reply,
};

object_answer!(Waiting {
    session_db_id: "sessionDbId",
    depth: "depth",
    bytes: "bytes",
    oldest_epoch: "oldestEpoch",
    ready_at_epoch: "readyAtEpoch",
    attempts: "attempts",
    paused: "paused",
});

impl IntoAnswer for Enqueued {
    fn into_answer(self) -> Answer {
        let duplicate = self.duplicate.map_or(Answer::Boolean(false), |duplicate| Answer::Name(duplicate.as_str()));
        Answer::object(&["id", "depth", "duplicate"], [self.id.into_answer(), self.depth.into_answer(), duplicate])
    }
}

impl IntoAnswer for DeadLetter {
    fn into_answer(self) -> Answer {
        let mut keys: &'static [&'static str] = &[
            "id",
            "sessionDbId",
            "claudeSessionId",
            "type",
            "attempts",
            "reason",
            "error",
            "enqueuedAtEpoch",
            "deadAtEpoch",
            "bytes",
            "message",
        ];
        let mut values = vec![
            self.id.into_answer(),
            self.session_db_id.into_answer(),
            self.claude_session_id.into_answer(),
            self.kind.into_answer(),
            self.attempts.into_answer(),
            self.reason.into_answer(),
            self.error.into_answer(),
            self.enqueued_at_epoch.into_answer(),
            self.dead_at_epoch.into_answer(),
            self.bytes.into_answer(),
        ];
        match self.payload {
            Some(payload) => values.push(Answer::Json(payload)),
            None => keys = &keys[..values.len()],
        }
        Answer::Object(keys, values)
    }
}

/// How a message is enqueued.
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct EnqueueCallOptions {
    /// A second message of the session with this key is not stored; its answer says what became of the first.
    /// Remembered for `dedupeAgeMs` (24 h).
    pub dedupe_key: Option<String>,
    /// Whether the batch, and with its commit the iteration, ends with this message. Default: whether its `type` is
    /// `'summarize'`.
    pub ends_batch: Option<bool>,
    /// How long to wait for a lock, ms. Default: `deadlineMs` of `openMemory`.
    pub deadline_ms: Option<u32>,
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
#[napi(object, object_to_js = false)]
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

/// Which dead letters to list.
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct DeadLettersOptions {
    /// Only those of this session.
    pub session_db_id: Option<i64>,
    /// At most so many (1 to 10,000). Default 100.
    pub limit: Option<u32>,
    /// Skip so many. Default 0.
    pub offset: Option<u32>,
}

/// Which dead letters to throw away; without a filter all.
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct PurgeDeadLettersOptions {
    /// Only these ids.
    pub ids: Option<Vec<i64>>,
    /// Only those of this session.
    pub session_db_id: Option<i64>,
    /// Only those that died before this time, epoch ms.
    pub older_than_epoch: Option<i64>,
}

/// A message that is not delivered any more.
#[napi(object, object_from_js = false, use_nullable = true, js_name = "DeadLetter")]
#[derive(Debug)]
pub struct DeadLetterRow {
    /// The message's id.
    pub id: i64,
    /// Row id in `sdk_sessions` of its session.
    pub session_db_id: i64,
    /// By which hooks know that session.
    pub claude_session_id: String,
    /// The message's `type`.
    #[napi(js_name = "type")]
    pub kind: Option<String>,
    /// Counted attempts.
    pub attempts: u32,
    /// `'max-attempts'`: it failed alone too often; `'session-gone'`: its session was deleted, or its number is
    /// another session's now; `'rejected'`: `batch.deadLetter` sent it here.
    #[napi(ts_type = "'max-attempts' | 'session-gone' | 'rejected'")]
    pub reason: String,
    /// What the last attempt said.
    pub error: Option<String>,
    /// When it was enqueued, epoch ms.
    pub enqueued_at_epoch: i64,
    /// When it died, epoch ms.
    pub dead_at_epoch: i64,
    /// Bytes of its JSON text.
    pub bytes: i64,
}

/// Durable queues, one FIFO a session. What waits lies in `native/queue.db`, not on the JavaScript heap.
#[napi]
pub struct Queue {
    memory: Arc<Memory>,
}

const ANY_INTEGER: RangeInclusive<i64> = 0..=MAX_SAFE_INTEGER;

impl Queue {
    pub(super) const fn new(memory: Arc<Memory>) -> Self {
        Self { memory }
    }

    fn put<'e>(
        &self,
        env: &'e Env,
        session: &Unknown<'e>,
        options: &Unknown<'e>,
        payload: impl FnOnce() -> Result<String>,
    ) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            let session = Argument::new("sessionDbId", session).id()?;
            let given = Argument::new("options", options).options(&["dedupeKey", "endsBatch", "deadlineMs"])?;
            let options = EnqueueOptions {
                dedupe_key: given.read("dedupeKey", |value| value.nonempty_text())?,
                ends_batch: given.read("endsBatch", |value| value.boolean())?,
                deadline: given
                    .read("deadlineMs", |value| milliseconds(value, 1..=600_000))?
                    .map(|wait| Instant::now() + wait),
            };
            let payload = payload()?;
            let memory = Arc::clone(&self.memory);
            Ok(move |reply: Reply<Enqueued>| memory.queue().enqueue(session, payload, options, reply))
        })
    }
}

/// A session's row id, or none for all sessions.
fn session_or_all(value: &Unknown<'_>) -> Result<Option<i64>> {
    Argument::new("sessionDbId", value).given().map(|value| value.id()).transpose()
}

#[napi]
impl Queue {
    /// Enqueues a message: any object with JSON text. Resolved, it is durable.
    ///
    /// Rejects with `ERR_NOT_FOUND` (no such session), `ERR_QUEUE_FULL` (with `depth`, `bytes` and `limit`; nothing
    /// was dropped), `ERR_BUSY`, `ERR_DISK_FULL`, and `ERR_INVALID_ARG` for what has no JSON.
    #[napi(
        ts_args_type = "sessionDbId: number, message: object, options?: EnqueueCallOptions | null",
        ts_return_type = "Promise<EnqueueResult>",
        catch_unwind
    )]
    pub fn enqueue<'e>(
        &self,
        env: &'e Env,
        session_db_id: Unknown<'e>,
        message: Unknown<'e>,
        options: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        self.put(env, &session_db_id, &options, || Argument::new("message", &message).json())
    }

    /// As `enqueue`, for JSON text straight from a request body; it is parsed and checked off the JS thread.
    #[napi(
        ts_args_type = "sessionDbId: number, json: Uint8Array, options?: EnqueueCallOptions | null",
        ts_return_type = "Promise<EnqueueResult>",
        catch_unwind
    )]
    pub fn enqueue_raw<'e>(
        &self,
        env: &'e Env,
        session_db_id: Unknown<'e>,
        json: Unknown<'e>,
        options: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        self.put(env, &session_db_id, &options, || {
            String::from_utf8(Argument::new("json", &json).bytes()?).map_err(|error| {
                let at = error.utf8_error().valid_up_to();
                Error::invalid(format!("argument 'json' must be UTF-8 text; byte {at} is not"))
            })
        })
    }

    /// Starts the consumer of a session. Throws `ERR_LOCKED` where it has a live one, `ERR_DISPOSED`,
    /// `ERR_INVALID_ARG`.
    #[napi(
        ts_args_type = "sessionDbId: number, options?: ConsumeCallOptions | null",
        ts_return_type = "Consumer",
        catch_unwind
    )]
    pub fn consume<'e>(
        &self,
        env: &'e Env,
        session_db_id: Unknown<'e>,
        options: Unknown<'e>,
    ) -> napi::Result<Unknown<'e>> {
        immediate(env, || {
            let session = Argument::new("sessionDbId", &session_db_id).id()?;
            let (options, pending) = consume_options(&Argument::new("options", &options))?;
            let consumer = self.memory.queue().consume(session, options)?;
            Ok(Answer::instance(Consumer::new(consumer, pending)))
        })
    }

    /// Sessions with deliverable messages and no consumer, as they become so: enqueued, backoff over, resumed,
    /// after a restart. A worker's scheduler is a loop over it. A session that nobody consumes is offered again
    /// when something changes for it. Throws `ERR_DISPOSED`.
    #[napi(ts_args_type = "options?: ReadyOptions | null", ts_return_type = "ReadySessions", catch_unwind)]
    pub fn ready<'e>(&self, env: &'e Env, options: Unknown<'e>) -> napi::Result<Unknown<'e>> {
        immediate(env, || {
            let given = Argument::new("options", &options).options(&["limit", "keepAlive"])?;
            let limit = given.read("limit", |value| value.size(1..=1_000_000_000, ""))?;
            let keep_alive = given.read("keepAlive", |value| value.boolean())?.unwrap_or(false);
            let ready = self.memory.queue().ready(limit)?;
            Ok(Answer::instance(ReadySessions::new(ready, pending(keep_alive))))
        })
    }

    /// All sessions with waiting messages, the one with the oldest first.
    #[napi(ts_return_type = "Promise<WaitingSession[]>", catch_unwind)]
    pub fn discover<'e>(&self, env: &'e Env) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            self.check_open()?;
            let waiting = self.memory.queue().discover();
            Ok(move |reply: Reply<Vec<Waiting>>| reply.settle(Ok(waiting)))
        })
    }

    /// Stops deliveries of a session, or of all; what comes is still enqueued. Live consumers end with `'paused'`;
    /// an open batch may still be committed. Survives a restart.
    #[napi(
        ts_args_type = "sessionDbId?: number | null, options?: PauseOptions | null",
        ts_return_type = "Promise<void>",
        catch_unwind
    )]
    pub fn pause<'e>(
        &self,
        env: &'e Env,
        session_db_id: Unknown<'e>,
        options: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            let session = session_or_all(&session_db_id)?;
            let given = Argument::new("options", &options).options(&["untilEpoch", "reason"])?;
            let until = given.read("untilEpoch", |value| value.integer(ANY_INTEGER, "ms"))?;
            let reason = given.read("reason", |value| value.text())?;
            let memory = Arc::clone(&self.memory);
            Ok(move |reply: Reply<()>| memory.queue().pause(session, until, reason, reply))
        })
    }

    /// Resumes deliveries of a session, or of all. A session that was paused for itself stays so when all resume.
    #[napi(ts_args_type = "sessionDbId?: number | null", ts_return_type = "Promise<void>", catch_unwind)]
    pub fn resume<'e>(&self, env: &'e Env, session_db_id: Unknown<'e>) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            let session = session_or_all(&session_db_id)?;
            let memory = Arc::clone(&self.memory);
            Ok(move |reply: Reply<()>| memory.queue().resume(session, reply))
        })
    }

    /// Throws away what waits in a session, a leased batch included (its commit then rejects with
    /// `ERR_LEASE_LOST`), and forgets its dedupe keys. Resolves how many messages went. Nothing else ever throws
    /// messages away.
    #[napi(ts_args_type = "sessionDbId: number", ts_return_type = "Promise<number>", catch_unwind)]
    pub fn purge<'e>(&self, env: &'e Env, session_db_id: Unknown<'e>) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            let session = Argument::new("sessionDbId", &session_db_id).id()?;
            let memory = Arc::clone(&self.memory);
            Ok(move |reply: Reply<usize>| memory.queue().purge(session, reply))
        })
    }

    /// Messages waiting or leased, of one session or in all; counted from the moment an enqueue is accepted. A
    /// plain read of native memory.
    #[napi(ts_args_type = "sessionDbId?: number | null", ts_return_type = "number", catch_unwind)]
    pub fn depth<'e>(&self, env: &'e Env, session_db_id: Unknown<'e>) -> napi::Result<Unknown<'e>> {
        self.count(env, &session_db_id, |queue, session| queue.depth(session))
    }

    /// Their payload bytes. A plain read of native memory.
    #[napi(ts_args_type = "sessionDbId?: number | null", ts_return_type = "number", catch_unwind)]
    pub fn bytes<'e>(&self, env: &'e Env, session_db_id: Unknown<'e>) -> napi::Result<Unknown<'e>> {
        self.count(env, &session_db_id, |queue, session| queue.bytes(session))
    }

    /// Whether anything waits or is leased, in one session or in any. A plain read of native memory.
    #[napi(ts_args_type = "sessionDbId?: number | null", ts_return_type = "boolean", catch_unwind)]
    pub fn is_busy<'e>(&self, env: &'e Env, session_db_id: Unknown<'e>) -> napi::Result<Unknown<'e>> {
        self.count(env, &session_db_id, |queue, session| queue.is_busy(session))
    }

    /// Whether a session has deliverable messages and no consumer. A plain read of native memory.
    #[napi(ts_args_type = "sessionDbId: number", ts_return_type = "boolean", catch_unwind)]
    pub fn is_ready<'e>(&self, env: &'e Env, session_db_id: Unknown<'e>) -> napi::Result<Unknown<'e>> {
        immediate(env, || {
            let session = Argument::new("sessionDbId", &session_db_id).id()?;
            self.check_open()?;
            Ok(self.memory.queue().is_ready(session))
        })
    }

    /// Whether a session has a live consumer. A plain read of native memory.
    #[napi(ts_args_type = "sessionDbId: number", ts_return_type = "boolean", catch_unwind)]
    pub fn has_consumer<'e>(&self, env: &'e Env, session_db_id: Unknown<'e>) -> napi::Result<Unknown<'e>> {
        immediate(env, || {
            let session = Argument::new("sessionDbId", &session_db_id).id()?;
            self.check_open()?;
            Ok(self.memory.queue().has_consumer(session))
        })
    }

    /// Figures of one session, or of all. A plain read of native memory.
    #[napi(ts_args_type = "sessionDbId?: number | null", ts_return_type = "QueueMetrics", catch_unwind)]
    pub fn metrics<'e>(&self, env: &'e Env, session_db_id: Unknown<'e>) -> napi::Result<Unknown<'e>> {
        immediate(env, || {
            let session = session_or_all(&session_db_id)?;
            self.check_open()?;
            Ok(health::answer(health::queue_metrics(&self.memory.queue().figures(session))))
        })
    }

    /// Lists dead letters, the newest first, without their messages.
    #[napi(
        ts_args_type = "options?: DeadLettersOptions | null",
        ts_return_type = "Promise<DeadLetter[]>",
        catch_unwind
    )]
    pub fn dead_letters<'e>(&self, env: &'e Env, options: Unknown<'e>) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            let given = Argument::new("options", &options).options(&["sessionDbId", "limit", "offset"])?;
            let session = given.read("sessionDbId", |value| value.id())?;
            let limit = given.read("limit", |value| value.integer(1..=10_000, ""))?.unwrap_or(100);
            let offset = given.read("offset", |value| value.integer(ANY_INTEGER, ""))?.unwrap_or(0);
            let memory = Arc::clone(&self.memory);
            Ok(move |reply: Reply<Vec<DeadLetter>>| memory.queue().dead_letters(session, limit, offset, reply))
        })
    }

    /// One dead letter with its message, or null.
    #[napi(
        ts_args_type = "id: number",
        ts_return_type = "Promise<(DeadLetter & { message: Record<string, unknown> }) | null>",
        catch_unwind
    )]
    pub fn get_dead_letter<'e>(&self, env: &'e Env, id: Unknown<'e>) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            let id = Argument::new("id", &id).id()?;
            let memory = Arc::clone(&self.memory);
            Ok(move |reply: Reply<Option<DeadLetter>>| memory.queue().dead_letter(id, reply))
        })
    }

    /// Enqueues a dead letter again, at the tail and under a new id: its place in the order is given up. Rejects
    /// with `ERR_NOT_FOUND` where there is no such dead letter, or its session is gone.
    #[napi(ts_args_type = "id: number", ts_return_type = "Promise<EnqueueResult>", catch_unwind)]
    pub fn retry_dead_letter<'e>(&self, env: &'e Env, id: Unknown<'e>) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            let id = Argument::new("id", &id).id()?;
            let memory = Arc::clone(&self.memory);
            Ok(move |reply: Reply<Enqueued>| memory.queue().retry_dead_letter(id, reply))
        })
    }

    /// Throws dead letters away: those that fit every filter that is given. Resolves how many went.
    #[napi(ts_args_type = "options?: PurgeDeadLettersOptions | null", ts_return_type = "Promise<number>", catch_unwind)]
    pub fn purge_dead_letters<'e>(&self, env: &'e Env, options: Unknown<'e>) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            let given = Argument::new("options", &options).options(&["ids", "sessionDbId", "olderThanEpoch"])?;
            let filter = DeadLetterFilter {
                ids: given.read("ids", |value| value.ids())?,
                session_db_id: given.read("sessionDbId", |value| value.id())?,
                older_than_epoch: given.read("olderThanEpoch", |value| value.integer(ANY_INTEGER, "ms"))?,
            };
            let memory = Arc::clone(&self.memory);
            Ok(move |reply: Reply<usize>| memory.queue().purge_dead_letters(filter, reply))
        })
    }
}

impl Queue {
    fn check_open(&self) -> Result<()> {
        if self.memory.is_disposed() { Err(Error::disposed("memory")) } else { Ok(()) }
    }

    fn count<'e, T: IntoAnswer>(
        &self,
        env: &'e Env,
        session: &Unknown<'e>,
        read: impl FnOnce(&crate::queue::Queue, Option<i64>) -> T,
    ) -> napi::Result<Unknown<'e>> {
        immediate(env, || {
            let session = session_or_all(session)?;
            self.check_open()?;
            Ok(read(self.memory.queue(), session))
        })
    }
}

const fn pending(keep_alive: bool) -> Pending {
    if keep_alive { Pending::Operation } else { Pending::Wait }
}

fn consume_options(options: &Argument<'_>) -> Result<(ConsumeOptions, Pending)> {
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
