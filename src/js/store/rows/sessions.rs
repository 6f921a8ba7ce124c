//! Rows of `sdk_sessions`.

use napi_derive::napi;

/// A session.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct SessionRow {
    /// Row id: `sessionDbId` elsewhere.
    pub id: i64,
    /// By which hooks know the session.
    #[napi(js_name = "claude_session_id")]
    pub claude_session_id: String,
    /// By which observations and summaries refer to it; null until it has one.
    #[napi(js_name = "sdk_session_id")]
    pub sdk_session_id: Option<String>,
    /// Empty where a hook of a tool call came before the prompt's.
    pub project: String,
    /// The first prompt.
    #[napi(js_name = "user_prompt")]
    pub user_prompt: Option<String>,
}

/// An active session.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct ActiveSessionRow {
    /// Row id.
    pub id: i64,
    /// By which observations and summaries refer to it; null until it has one.
    #[napi(js_name = "sdk_session_id")]
    pub sdk_session_id: Option<String>,
    /// The session's project.
    pub project: String,
    /// Port of the worker that serves it.
    #[napi(js_name = "worker_port")]
    pub worker_port: Option<i64>,
}

/// A session and how it stands.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct SessionStatusRow {
    /// By which observations and summaries refer to it.
    #[napi(js_name = "sdk_session_id")]
    pub sdk_session_id: String,
    /// `active`, `completed` or `failed`.
    #[napi(ts_type = "'active' | 'completed' | 'failed'")]
    pub status: String,
    /// ISO-8601, UTC.
    #[napi(js_name = "started_at")]
    pub started_at: String,
    /// Epoch ms.
    #[napi(js_name = "started_at_epoch")]
    pub started_at_epoch: i64,
    /// The first prompt.
    #[napi(js_name = "user_prompt")]
    pub user_prompt: Option<String>,
    /// 1 where it has a summary, else 0.
    #[napi(js_name = "has_summary")]
    pub has_summary: i64,
}
