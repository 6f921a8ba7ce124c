//! Classes `Consumer` and `ReadySessions`: what `for await` runs over.

use std::sync::Arc;

use napi::{Env, Unknown, bindgen_prelude::This};
use napi_derive::napi;

use super::{
    answer::{Answer, IntoAnswer, object_answer},
    batch::Batch,
    call::{Pending, Promised, immediate, promise},
};
use crate::{
    error::Result,
    queue::{self, ReadySession},
    reply::Reply,
};

object_answer!(ReadySession { session_db_id: "sessionDbId", depth: "depth", attempts: "attempts" });

/// What needs no waiting is an operation: the process stays for it, and so for the code behind a `for await`.
const fn pending(wait: Pending, answers_at_once: bool) -> Pending {
    if answers_at_once { Pending::Operation } else { wait }
}

/// One step of an iteration.
pub(super) fn step(value: Option<Answer>) -> Answer {
    let done = Answer::Boolean(value.is_none());
    Answer::object(&["value", "done"], [value.unwrap_or(Answer::Undefined), done])
}

/// A reply that makes a step of what it gets.
pub(super) fn stepping<T: 'static>(
    reply: Reply<Answer>,
    value: impl FnOnce(T) -> Answer + Send + 'static,
) -> Reply<Option<T>> {
    Reply::new(move |found: Result<Option<T>>| reply.settle(found.map(|found| step(found.map(value)))))
}

/// Pulls the batches of one session: `for await (const batch of memory.queue.consume(id))`. Ends by itself;
/// `endReason` says why.
///
/// The next batch is handed out only after this one was committed or released: a stalled agent cannot move the
/// queue into another buffer.
#[napi]
pub struct Consumer {
    core: Arc<queue::Consumer>,
    pending: Pending,
}

impl Consumer {
    pub(super) fn new(core: queue::Consumer, pending: Pending) -> Self {
        Self { core: Arc::new(core), pending }
    }
}

#[napi]
impl Consumer {
    /// Row id of its session.
    #[napi(getter, ts_return_type = "number", catch_unwind)]
    pub fn session_db_id<'e>(&self, env: &'e Env) -> napi::Result<Unknown<'e>> {
        immediate(env, || Ok(self.core.session_id()))
    }

    /// Why the iteration ended; null while it goes on. `'summary'`: a message that ends the batch was committed.
    /// `'idle'`: nothing came for `idleTimeoutMs`. `'expired'`: the session's TTL or the batch's lease ran out.
    /// `'deleted'`: the session was deleted, or drained to its end. `'paused'`; `'disposed'`: by `dispose()`,
    /// `return()` or the memory.
    #[napi(
        getter,
        ts_return_type = "'summary' | 'idle' | 'expired' | 'deleted' | 'paused' | 'disposed' | null",
        catch_unwind
    )]
    pub fn end_reason<'e>(&self, env: &'e Env) -> napi::Result<Unknown<'e>> {
        immediate(env, || Ok(self.core.end_reason().map(queue::EndReason::as_str)))
    }

    /// The next batch, once there is one; `done` at the end, and for a consumer that is disposed. While there is
    /// nothing to deliver the process may end, unless `keepAlive`. A batch that is still open is released first, also
    /// at the end: counted, with backoff; after `'paused'`, `'deleted'` and `'disposed'` uncounted and without one, as
    /// then somebody has told the holder to stop. One whose commit is pending is left to it. Rejects with `ERR_IO` or the like where the queue's
    /// file cannot be read; the next call tries again.
    #[napi(ts_return_type = "Promise<IteratorResult<Batch, undefined>>", catch_unwind)]
    pub fn next<'e>(&self, env: &'e Env) -> napi::Result<Promised<'e>> {
        promise(env, pending(self.pending, self.core.answers_at_once()), || {
            let core = Arc::clone(&self.core);
            Ok(move |reply: Reply<Answer>| {
                core.next(stepping(reply, |batch| Answer::instance(Batch::new(batch))));
            })
        })
    }

    /// What `break` and `throw` in a `for await` call: ends the iteration; an open batch is released as by `next()`.
    #[napi(js_name = "return", ts_return_type = "Promise<IteratorResult<Batch, undefined>>", catch_unwind)]
    pub fn finish<'e>(&self, env: &'e Env) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            self.core.finish();
            Ok(move |reply: Reply<Answer>| reply.settle(Ok(step(None))))
        })
    }

    /// Ends the iteration gracefully: a pending `next()` resolves `done`; an open batch is released at once and
    /// counts no attempt. Twice without harm.
    #[napi(ts_return_type = "void", catch_unwind)]
    pub fn dispose<'e>(&self, env: &'e Env) -> napi::Result<Unknown<'e>> {
        immediate(env, || {
            self.core.dispose();
            Ok(())
        })
    }

    /// As `dispose()`.
    #[napi(well_known_symbol = "dispose", ts_return_type = "void", catch_unwind)]
    pub fn symbol_dispose<'e>(&self, env: &'e Env) -> napi::Result<Unknown<'e>> {
        self.dispose(env)
    }

    /// As `dispose()`.
    #[napi(well_known_symbol = "asyncDispose", ts_return_type = "Promise<void>", catch_unwind)]
    pub fn symbol_async_dispose<'e>(&self, env: &'e Env) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            self.core.dispose();
            Ok(move |reply: Reply<()>| reply.settle(Ok(())))
        })
    }

    /// This consumer.
    #[napi(well_known_symbol = "asyncIterator", ts_return_type = "AsyncIterator<Batch, undefined>", catch_unwind)]
    pub fn symbol_async_iterator<'e>(&self, this: This<'e>) -> This<'e> {
        this
    }
}

/// Sessions that want a consumer, as they become ready: `for await (const session of memory.queue.ready())`.
#[napi]
pub struct ReadySessions {
    core: Arc<queue::ReadySessions>,
    pending: Pending,
}

impl ReadySessions {
    pub(super) fn new(core: queue::ReadySessions, pending: Pending) -> Self {
        Self { core: Arc::new(core), pending }
    }
}

#[napi]
impl ReadySessions {
    /// The next session, once there is one; `done` after `limit` of them, and once this or the memory is disposed.
    #[napi(ts_return_type = "Promise<IteratorResult<ReadySession, undefined>>", catch_unwind)]
    pub fn next<'e>(&self, env: &'e Env) -> napi::Result<Promised<'e>> {
        promise(env, pending(self.pending, self.core.answers_at_once()), || {
            let core = Arc::clone(&self.core);
            Ok(move |reply: Reply<Answer>| core.next(stepping(reply, IntoAnswer::into_answer)))
        })
    }

    /// What `break` and `throw` in a `for await` call: ends the iteration.
    #[napi(js_name = "return", ts_return_type = "Promise<IteratorResult<ReadySession, undefined>>", catch_unwind)]
    pub fn finish<'e>(&self, env: &'e Env) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            self.core.dispose();
            Ok(move |reply: Reply<Answer>| reply.settle(Ok(step(None))))
        })
    }

    /// Ends the iteration; a pending `next()` resolves `done`. Twice without harm.
    #[napi(ts_return_type = "void", catch_unwind)]
    pub fn dispose<'e>(&self, env: &'e Env) -> napi::Result<Unknown<'e>> {
        immediate(env, || {
            self.core.dispose();
            Ok(())
        })
    }

    /// As `dispose()`.
    #[napi(well_known_symbol = "dispose", ts_return_type = "void", catch_unwind)]
    pub fn symbol_dispose<'e>(&self, env: &'e Env) -> napi::Result<Unknown<'e>> {
        self.dispose(env)
    }

    /// This iterator.
    #[napi(
        well_known_symbol = "asyncIterator",
        ts_return_type = "AsyncIterator<ReadySession, undefined>",
        catch_unwind
    )]
    pub fn symbol_async_iterator<'e>(&self, this: This<'e>) -> This<'e> {
        this
    }
}
