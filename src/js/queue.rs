//! Class `Queue`: durable queues.

use std::{ops::RangeInclusive, sync::Arc};

use napi::{Env, Unknown};
use napi_derive::napi;

use super::{
    answer::{Answer, IntoAnswer, object_answer},
    arguments::{Argument, Fields, MAX_SAFE_INTEGER},
    call::{Pending, Promised, immediate, promise},
    consumer::{Consumer, ReadySessions},
    health,
    queue_options::{ENQUEUE_OPTIONS, RAW_OPTIONS, consume_options, enqueue_options, message_shape, pending},
    raw_message::RawMessage,
};
use crate::{
    error::{Code, Error, Result},
    memory::Memory,
    queue::{Enqueued, Queues, Shape, Waiting, client::only_the_owner},
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

/// Durable queues, one FIFO a session. What waits lies in `native/queue.db`, not on the JavaScript heap.
///
/// In a memory with `parts: ['queue']` there are no session rows to check: a session is whatever positive number the
/// caller gives, and commits acknowledge what the caller has stored by itself (`external`). In one without the part
/// `'queue'` every call answers `ERR_NOT_OPEN`.
///
/// A client (`openMemory({role: 'client'})`) has `enqueue`, `enqueueRaw`, `discover`, `peek`, `pause`, `resume` and all
/// that deals with dead letters; everything else is the owner's and answers `ERR_NOT_OPEN`, `consume` `ERR_LOCKED`.
#[napi]
pub struct Queue {
    pub(super) memory: Arc<Memory>,
}

pub(super) const ANY_INTEGER: RangeInclusive<i64> = 0..=MAX_SAFE_INTEGER;

impl Queue {
    pub(super) const fn new(memory: Arc<Memory>) -> Self {
        Self { memory }
    }

    fn put<'e>(
        &self,
        env: &'e Env,
        session: &Unknown<'e>,
        options: &Unknown<'e>,
        known: &[&'static str],
        body: impl FnOnce(&Fields<'e>) -> Result<(Vec<u8>, Shape)>,
    ) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            let session = Argument::new("sessionDbId", session).id()?;
            let given = Argument::new("options", options).options(known)?;
            let options = enqueue_options(&given)?;
            let (body, shape) = body(&given)?;
            let queue = Arc::clone(self.memory.queues()?);
            Ok(move |reply: Reply<Enqueued>| queue.enqueue_raw(session, body, shape, options, reply))
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
        ts_args_type = "sessionDbId: number, message: object, options?: EnqueueOptions | null",
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
        self.put(env, &session_db_id, &options, &ENQUEUE_OPTIONS, |_| {
            Ok((Argument::new("message", &message).json()?.into_bytes(), Shape::default()))
        })
    }

    /// As `enqueue`, for JSON text straight from a request body (UTF-8, of one object): its bytes are copied, and
    /// everything else, from the check to the choice of its fields, happens off the JS thread. Without `type` and
    /// `fields` the text is stored as it is.
    #[napi(
        ts_args_type = "sessionDbId: number, json: Uint8Array, options?: EnqueueRawOptions | null",
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
        self.put(env, &session_db_id, &options, &RAW_OPTIONS, |given| {
            let shape = message_shape(given)?;
            Ok((Argument::new("json", &json).bytes()?, shape))
        })
    }

    /// Starts a message that comes in pieces, as a request body does: `append` each, then `enqueue`. Throws
    /// `ERR_DISPOSED`, `ERR_INVALID_ARG`.
    #[napi(ts_args_type = "sessionDbId: number", ts_return_type = "RawMessage", catch_unwind)]
    pub fn raw<'e>(&self, env: &'e Env, session_db_id: Unknown<'e>) -> napi::Result<Unknown<'e>> {
        immediate(env, || {
            self.check_open()?;
            let session = Argument::new("sessionDbId", &session_db_id).id()?;
            self.memory.queues()?;
            Ok(Answer::instance(RawMessage::new(Arc::clone(&self.memory), session)))
        })
    }

    /// For the owner: takes over at once what clients have enqueued, so that a waiting consumer or `ready()` sees it.
    /// A hook that has enqueued by itself tells the worker so. Without it the owner finds such messages within a
    /// second, and at the latest at its next claim. Resolves the depth of the session, or of all.
    #[napi(ts_args_type = "sessionDbId?: number | null", ts_return_type = "Promise<number>", catch_unwind)]
    pub fn poke<'e>(&self, env: &'e Env, session_db_id: Unknown<'e>) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            let session = session_or_all(&session_db_id)?;
            let queue = self.owner("poke()")?;
            Ok(move |reply: Reply<usize>| queue.poke(session, reply))
        })
    }

    /// Starts the consumer of a session. Throws `ERR_LOCKED` where it has a live one and on a client, which cannot
    /// consume; `ERR_DISPOSED`, `ERR_INVALID_ARG`.
    #[napi(
        ts_args_type = "sessionDbId: number, options?: ConsumeOptions | null",
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
            let consumer = match &**self.memory.queues()? {
                Queues::Owner(queue) => queue.consume(session, options)?,
                Queues::Client(_) => return Err(only_the_owner(Code::Locked, "consuming")),
            };
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
            let ready = self.owner("ready()")?.ready(limit)?;
            Ok(Answer::instance(ReadySessions::new(ready, pending(keep_alive))))
        })
    }

    /// All sessions with waiting messages, the one with the oldest first. A client reads them from the file.
    #[napi(ts_return_type = "Promise<WaitingSession[]>", catch_unwind)]
    pub fn discover<'e>(&self, env: &'e Env) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            self.check_open()?;
            let queue = Arc::clone(self.memory.queues()?);
            Ok(move |reply: Reply<Vec<Waiting>>| queue.discover(reply))
        })
    }

    /// Stops deliveries of a session, or of all; what comes is still enqueued. Live consumers end with `'paused'`;
    /// an open batch may still be committed, and one whose lease ends meanwhile counts no attempt. Survives a restart.
    /// Also for clients: an owner notices within a second, or when it is poked.
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
            let queue = Arc::clone(self.memory.queues()?);
            Ok(move |reply: Reply<()>| queue.pause(session, until, reason, reply))
        })
    }

    /// Resumes deliveries of a session, or of all. A session that was paused for itself stays so when all resume. Also
    /// for clients, as `pause`.
    #[napi(ts_args_type = "sessionDbId?: number | null", ts_return_type = "Promise<void>", catch_unwind)]
    pub fn resume<'e>(&self, env: &'e Env, session_db_id: Unknown<'e>) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            let session = session_or_all(&session_db_id)?;
            let queue = Arc::clone(self.memory.queues()?);
            Ok(move |reply: Reply<()>| queue.resume(session, reply))
        })
    }

    /// Throws away what waits in a session, a leased batch included (its commit then rejects with
    /// `ERR_LEASE_LOST`), and forgets its dedupe keys. Resolves how many messages went. Nothing else ever throws
    /// messages away.
    #[napi(ts_args_type = "sessionDbId: number", ts_return_type = "Promise<number>", catch_unwind)]
    pub fn purge<'e>(&self, env: &'e Env, session_db_id: Unknown<'e>) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            let session = Argument::new("sessionDbId", &session_db_id).id()?;
            let queue = self.owner("purge()")?;
            Ok(move |reply: Reply<usize>| queue.purge(session, reply))
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
            Ok(self.owner("isReady()")?.is_ready(session))
        })
    }

    /// Whether a session has a live consumer. A plain read of native memory.
    #[napi(ts_args_type = "sessionDbId: number", ts_return_type = "boolean", catch_unwind)]
    pub fn has_consumer<'e>(&self, env: &'e Env, session_db_id: Unknown<'e>) -> napi::Result<Unknown<'e>> {
        immediate(env, || {
            let session = Argument::new("sessionDbId", &session_db_id).id()?;
            self.check_open()?;
            Ok(self.owner("hasConsumer()")?.has_consumer(session))
        })
    }

    /// Figures of one session, or of all. A plain read of native memory.
    #[napi(ts_args_type = "sessionDbId?: number | null", ts_return_type = "QueueMetrics", catch_unwind)]
    pub fn metrics<'e>(&self, env: &'e Env, session_db_id: Unknown<'e>) -> napi::Result<Unknown<'e>> {
        immediate(env, || {
            let session = session_or_all(&session_db_id)?;
            self.check_open()?;
            Ok(health::answer(health::queue_metrics(&self.owner("metrics()")?.figures(session))))
        })
    }
}

impl Queue {
    /// The owner's queue; a client is told that `what` is not its.
    pub(super) fn owner(&self, what: &str) -> Result<crate::queue::Queue> {
        self.memory.queues()?.owner(what).cloned()
    }

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
            Ok(read(&self.owner("a counter in memory (await queue.discover() reads the file)")?, session))
        })
    }
}
