//! The part of class `Queue` that deals with dead letters.

use std::sync::Arc;

use napi::{Env, Unknown};
use napi_derive::napi;

use super::{
    answer::{Answer, IntoAnswer},
    arguments::Argument,
    call::{Pending, Promised, promise},
    queue::{ANY_INTEGER, Queue},
};
use crate::{
    queue::{DeadLetter, DeadLetterFilter, Enqueued},
    reply::Reply,
};

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

#[napi]
impl Queue {
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
            let queue = Arc::clone(self.memory.queues()?);
            Ok(move |reply: Reply<Vec<DeadLetter>>| queue.dead_letters(session, limit, offset, reply))
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
            let queue = Arc::clone(self.memory.queues()?);
            Ok(move |reply: Reply<Option<DeadLetter>>| queue.dead_letter(id, reply))
        })
    }

    /// Enqueues a dead letter again, at the tail and under a new id: its place in the order is given up. It goes to the
    /// session that it was meant for, by `claude_session_id`, whatever number that has now. Also for clients: an owner
    /// notices within a second, or when it is poked. Rejects with `ERR_NOT_FOUND` where there is no such dead letter, or its
    /// session is gone; `ERR_QUEUE_FULL`, `ERR_BUSY`.
    #[napi(ts_args_type = "id: number", ts_return_type = "Promise<EnqueueResult>", catch_unwind)]
    pub fn retry_dead_letter<'e>(&self, env: &'e Env, id: Unknown<'e>) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            let id = Argument::new("id", &id).id()?;
            let queue = Arc::clone(self.memory.queues()?);
            Ok(move |reply: Reply<Enqueued>| queue.retry_dead_letter(id, reply))
        })
    }

    /// Throws dead letters away: those that fit every filter that is given. Also for clients.
    /// Resolves how many went.
    #[napi(ts_args_type = "options?: PurgeDeadLettersOptions | null", ts_return_type = "Promise<number>", catch_unwind)]
    pub fn purge_dead_letters<'e>(&self, env: &'e Env, options: Unknown<'e>) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            let given = Argument::new("options", &options).options(&["ids", "sessionDbId", "olderThanEpoch"])?;
            let filter = DeadLetterFilter {
                ids: given.read("ids", |value| value.ids())?,
                session_db_id: given.read("sessionDbId", |value| value.id())?,
                older_than_epoch: given.read("olderThanEpoch", |value| value.integer(ANY_INTEGER, "ms"))?,
            };
            let queue = Arc::clone(self.memory.queues()?);
            Ok(move |reply: Reply<usize>| queue.purge_dead_letters(filter, reply))
        })
    }
}
