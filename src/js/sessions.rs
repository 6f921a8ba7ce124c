//! Class `Sessions`: the registry of active sessions.

use std::sync::Arc;

use napi::{Env, Unknown};
use napi_derive::napi;

use super::{
    answer::{Answer, IntoAnswer, object_answer},
    arguments::{Argument, MAX_SAFE_INTEGER},
    call::{Pending, Promised, immediate, promise},
};
use crate::{
    error::{Error, Result},
    memory::{Initialize, Memory},
    queue::Deletion,
    reply::Reply,
    sessions::{SessionInfo, SessionSnapshot},
};

object_answer!(SessionInfo {
    session_db_id: "sessionDbId",
    claude_session_id: "claudeSessionId",
    sdk_session_id: "sdkSessionId",
    project: "project",
    last_prompt_number: "lastPromptNumber",
    start_epoch: "startTime",
    last_active_epoch: "lastActiveEpoch",
    draining: "draining",
});

object_answer!(Deletion { existed: "existed", purged: "purged", remaining: "remaining", draining: "draining" });

impl IntoAnswer for SessionSnapshot {
    fn into_answer(self) -> Answer {
        let SessionInfo {
            session_db_id,
            claude_session_id,
            sdk_session_id,
            project,
            last_prompt_number,
            start_epoch,
            last_active_epoch: _,
            draining: _,
        } = self.info;
        Answer::object(
            &[
                "sessionDbId",
                "claudeSessionId",
                "sdkSessionId",
                "project",
                "userPrompt",
                "lastPromptNumber",
                "startTime",
            ],
            [
                session_db_id.into_answer(),
                claude_session_id.into_answer(),
                sdk_session_id.into_answer(),
                project.into_answer(),
                self.user_prompt.into_answer(),
                last_prompt_number.into_answer(),
                start_epoch.into_answer(),
            ],
        )
    }
}

/// How a session is made active.
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct InitializeOptions {
    /// The prompt that the session works on now. Default: the newest stored one.
    pub user_prompt: Option<String>,
    /// Its number. Default: that of the newest stored one.
    pub prompt_number: Option<i64>,
    /// Whose session `sessionDbId` is, as in `queue.enqueue`: with the store open, one that is not the row's is
    /// refused with `ERR_NOT_FOUND`; with `parts: ['queue']` it is remembered. Default: the number alone counts.
    pub claude_session_id: Option<String>,
    /// Its project, for a memory with `parts: ['queue']`, which remembers it; with the store open the row's counts.
    pub project: Option<String>,
}

/// A session that was made active.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct InitializedSession {
    /// Row id in `sdk_sessions`.
    pub session_db_id: i64,
    /// By which hooks know the session; `''` where a memory with `parts: ['queue']` was not told.
    pub claude_session_id: String,
    /// By which observations and summaries refer to it; null until it has one.
    pub sdk_session_id: Option<String>,
    /// The session's project; `''` where a memory with `parts: ['queue']` was not told.
    pub project: String,
    /// The prompt that was given, else the newest stored one.
    pub user_prompt: Option<String>,
    /// Its number; null where there is none.
    pub last_prompt_number: Option<i64>,
    /// When the session became active, epoch ms.
    pub start_time: i64,
}

/// An active session.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct ActiveSession {
    /// Row id in `sdk_sessions`.
    pub session_db_id: i64,
    /// By which hooks know the session; `''` where a memory with `parts: ['queue']` was not told.
    pub claude_session_id: String,
    /// By which observations and summaries refer to it; null until it has one.
    pub sdk_session_id: Option<String>,
    /// The session's project; `''` where a memory with `parts: ['queue']` was not told.
    pub project: String,
    /// The newest prompt number that was seen; null where there is none.
    pub last_prompt_number: Option<i64>,
    /// When the session became active, epoch ms.
    pub start_time: i64,
    /// Last enqueue, claim or commit, epoch ms.
    pub last_active_epoch: i64,
    /// Deleted with mode `'drain'`: it goes once its queue is empty.
    pub draining: bool,
}

/// How a session is deleted.
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct DeleteOptions {
    /// `'abort'` ends its consumer at once (`'deleted'`; an open batch is released and counts no attempt); `'drain'`
    /// lets it go once its queue is empty. Default `'abort'`.
    #[napi(ts_type = "'drain' | 'abort'")]
    pub mode: Option<String>,
    /// Throw its waiting messages away; implies `'abort'`. Default false.
    pub purge: Option<bool>,
}

/// What a deletion found and did.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct DeleteResult {
    /// Whether the session was active, or had messages.
    pub existed: bool,
    /// Messages thrown away.
    pub purged: u32,
    /// Messages that wait on.
    pub remaining: u32,
    /// It goes once its queue is empty.
    pub draining: bool,
}

/// Active sessions: bounded in number (`maxSessions`) and in time (`sessionTtlMs` without activity). Enqueue
/// registers a session by itself; enqueue, claim and commit refresh it. One that expires or goes at the cap ends its
/// consumer (`'expired'`) and leaves its messages queued. It is the owner's: on a client everything answers
/// `ERR_NOT_OPEN`.
#[napi]
pub struct Sessions {
    memory: Arc<Memory>,
}

impl Sessions {
    pub(super) const fn new(memory: Arc<Memory>) -> Self {
        Self { memory }
    }

    fn owner(&self) -> Result<crate::queue::Queue> {
        self.memory.queues()?.owner("the registry of active sessions").cloned()
    }

    fn check_open(&self) -> Result<()> {
        if self.memory.is_disposed() { Err(Error::disposed("memory")) } else { Ok(()) }
    }
}

#[napi]
impl Sessions {
    /// Makes a session active, or refreshes it; a live consumer is left alone. Rejects with `ERR_NOT_FOUND` where
    /// `sdk_sessions` has no such row.
    ///
    /// With `parts: ['queue']` there are no rows: any number is a session, with the name, project and prompt that are
    /// given here. Name and project are remembered over a restart; what was never told is `''`, or null for the prompt.
    #[napi(
        ts_args_type = "sessionDbId: number, options?: InitializeOptions | null",
        ts_return_type = "Promise<InitializedSession>",
        catch_unwind
    )]
    pub fn initialize<'e>(
        &self,
        env: &'e Env,
        session_db_id: Unknown<'e>,
        options: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            let session = Argument::new("sessionDbId", &session_db_id).id()?;
            let given = Argument::new("options", &options).options(&[
                "userPrompt",
                "promptNumber",
                "claudeSessionId",
                "project",
            ])?;
            let given = Initialize {
                user_prompt: given.read("userPrompt", |value| value.text())?,
                prompt_number: given.read("promptNumber", |value| value.integer(0..=MAX_SAFE_INTEGER, ""))?,
                claude_session_id: given.read("claudeSessionId", |value| value.nonempty_text())?,
                project: given.read("project", |value| value.text())?,
            };
            self.owner()?;
            let memory = Arc::clone(&self.memory);
            Ok(move |reply: Reply<SessionSnapshot>| memory.initialize_session(session, given, reply))
        })
    }

    /// An active session, or null. A plain read of native memory.
    #[napi(ts_args_type = "sessionDbId: number", ts_return_type = "ActiveSession | null", catch_unwind)]
    pub fn get<'e>(&self, env: &'e Env, session_db_id: Unknown<'e>) -> napi::Result<Unknown<'e>> {
        immediate(env, || {
            let session = Argument::new("sessionDbId", &session_db_id).id()?;
            self.check_open()?;
            Ok(self.owner()?.session(session))
        })
    }

    /// All active sessions, the longest active first. A plain read of native memory.
    #[napi(ts_return_type = "ActiveSession[]", catch_unwind)]
    pub fn list<'e>(&self, env: &'e Env) -> napi::Result<Unknown<'e>> {
        immediate(env, || {
            self.check_open()?;
            Ok(self.owner()?.sessions())
        })
    }

    /// How many sessions are active. A plain read of native memory.
    #[napi(ts_return_type = "number", catch_unwind)]
    pub fn count<'e>(&self, env: &'e Env) -> napi::Result<Unknown<'e>> {
        immediate(env, || {
            self.check_open()?;
            Ok(self.owner()?.session_count())
        })
    }

    /// Deletes a session from the registry; its row and what it stored stay.
    #[napi(
        ts_args_type = "sessionDbId: number, options?: DeleteOptions | null",
        ts_return_type = "Promise<DeleteResult>",
        catch_unwind
    )]
    pub fn delete<'e>(
        &self,
        env: &'e Env,
        session_db_id: Unknown<'e>,
        options: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            let session = Argument::new("sessionDbId", &session_db_id).id()?;
            let given = Argument::new("options", &options).options(&["mode", "purge"])?;
            let drain =
                given.read("mode", |value| value.one_of(&[("drain", true), ("abort", false)]))?.unwrap_or(false);
            let purge = given.read("purge", |value| value.boolean())?.unwrap_or(false);
            let queue = self.owner()?;
            Ok(move |reply: Reply<Deletion>| queue.delete_session(session, drain, purge, reply))
        })
    }
}
