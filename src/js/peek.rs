//! The part of class `Queue` that looks at what waits.

use std::sync::Arc;

use napi::{Env, Unknown};
use napi_derive::napi;

use super::{
    answer::object_answer,
    arguments::Argument,
    call::{Pending, Promised, promise},
    queue::{ANY_INTEGER, Queue},
};
use crate::{
    queue::{Peek, Peeked},
    reply::Reply,
};

object_answer!(Peeked {
    id: "id",
    session_db_id: "sessionDbId",
    claude_session_id: "claudeSessionId",
    project: "project",
    kind: "type",
    prompt_number: "promptNumber",
    ends_batch: "endsBatch",
    attempts: "attempts",
    error: "error",
    leased: "leased",
    enqueued_at_epoch: "enqueuedAtEpoch",
    bytes: "bytes",
    preview: "preview",
});

/// Which waiting messages `queue.peek` shows.
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct PeekOptions {
    /// Only those of this session.
    pub session_db_id: Option<i64>,
    /// Only those of sessions of this project.
    pub project: Option<String>,
    /// Only those with a higher id: that of the last message of the page before. Default 0.
    pub after: Option<i64>,
    /// At most so many (1 to 1,000). Default 100.
    pub limit: Option<u32>,
    /// Bytes of each message's JSON text that are shown (0 to 65,536). Default 200.
    pub preview_bytes: Option<u32>,
}

/// A message that waits, or that somebody is working on.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct WaitingMessage {
    /// The message's id. Ids rise in the order in which messages came.
    pub id: i64,
    /// Row id in `sdk_sessions` of its session.
    pub session_db_id: i64,
    /// By which hooks know that session; null where nobody has told.
    pub claude_session_id: Option<String>,
    /// The session's project; null where nobody has told, or the session is gone.
    pub project: Option<String>,
    /// The message's `type`.
    #[napi(js_name = "type")]
    pub kind: Option<String>,
    /// The message's `prompt_number`.
    pub prompt_number: Option<i64>,
    /// Whether a batch ends with it.
    pub ends_batch: bool,
    /// Counted attempts.
    pub attempts: u32,
    /// What the last attempt said.
    pub error: Option<String>,
    /// Whether it is in a batch that was handed out and not given back.
    pub leased: bool,
    /// When it was enqueued, epoch ms.
    pub enqueued_at_epoch: i64,
    /// Bytes of its JSON text.
    pub bytes: i64,
    /// Where its JSON text begins: at most `previewBytes` bytes of it, whole characters.
    pub preview: String,
}

#[napi]
impl Queue {
    /// A look at what waits, in the order in which it came, without claiming anything: no lease, no attempt. Also for
    /// clients, which read the file. Only the beginning of each message's text is read; the next page is
    /// `peek({ after: lastId })`. Rejects with `ERR_INVALID_ARG`, `ERR_DISPOSED`, `ERR_BUSY`, `ERR_IO`.
    #[napi(ts_args_type = "options?: PeekOptions | null", ts_return_type = "Promise<WaitingMessage[]>", catch_unwind)]
    pub fn peek<'e>(&self, env: &'e Env, options: Unknown<'e>) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            let given = Argument::new("options", &options).options(&[
                "sessionDbId",
                "project",
                "after",
                "limit",
                "previewBytes",
            ])?;
            let which = Peek {
                session_id: given.read("sessionDbId", |value| value.id())?,
                project: given.read("project", |value| value.text())?,
                after: given.read("after", |value| value.integer(ANY_INTEGER, ""))?.unwrap_or(0),
                limit: given.read("limit", |value| value.size(1..=1_000, ""))?.unwrap_or(100),
                preview_bytes: given.read("previewBytes", |value| value.size(0..=65_536, "bytes"))?.unwrap_or(200),
            };
            let queue = Arc::clone(self.memory.queues()?);
            Ok(move |reply: Reply<Vec<Peeked>>| queue.peek(which, reply))
        })
    }
}
