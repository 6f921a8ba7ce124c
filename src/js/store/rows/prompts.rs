//! Rows of `user_prompts`.

use napi_derive::napi;

/// A prompt, whole.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct PromptRow {
    /// Row id.
    pub id: i64,
    /// Its session.
    #[napi(js_name = "claude_session_id")]
    pub claude_session_id: String,
    /// Counted from 1 in the session.
    #[napi(js_name = "prompt_number")]
    pub prompt_number: i64,
    /// The prompt.
    #[napi(js_name = "prompt_text")]
    pub prompt_text: String,
    /// ISO-8601, UTC.
    #[napi(js_name = "created_at")]
    pub created_at: String,
    /// Epoch ms.
    #[napi(js_name = "created_at_epoch")]
    pub created_at_epoch: i64,
}

/// A prompt that a search has found.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct PromptHit {
    /// Row id.
    pub id: i64,
    /// Its session.
    #[napi(js_name = "claude_session_id")]
    pub claude_session_id: String,
    /// Counted from 1 in the session.
    #[napi(js_name = "prompt_number")]
    pub prompt_number: i64,
    /// The prompt.
    #[napi(js_name = "prompt_text")]
    pub prompt_text: String,
    /// ISO-8601, UTC.
    #[napi(js_name = "created_at")]
    pub created_at: String,
    /// Epoch ms.
    #[napi(js_name = "created_at_epoch")]
    pub created_at_epoch: i64,
    /// bm25: the lower the better.
    pub rank: f64,
    /// 1 for the best row of this answer, 0 for its worst.
    pub score: f64,
}

/// A prompt and its session.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct SessionPromptRow {
    /// Row id.
    pub id: i64,
    /// Its session.
    #[napi(js_name = "claude_session_id")]
    pub claude_session_id: String,
    /// Counted from 1 in the session.
    #[napi(js_name = "prompt_number")]
    pub prompt_number: i64,
    /// The prompt.
    #[napi(js_name = "prompt_text")]
    pub prompt_text: String,
    /// ISO-8601, UTC.
    #[napi(js_name = "created_at")]
    pub created_at: String,
    /// Epoch ms.
    #[napi(js_name = "created_at_epoch")]
    pub created_at_epoch: i64,
    /// The session's project.
    pub project: String,
    /// By which observations and summaries refer to the session.
    #[napi(js_name = "sdk_session_id")]
    pub sdk_session_id: Option<String>,
}

/// A prompt in a list.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct ListedPromptRow {
    /// Row id.
    pub id: i64,
    /// Its session.
    #[napi(js_name = "claude_session_id")]
    pub claude_session_id: String,
    /// The session's project; null where the session is gone.
    pub project: Option<String>,
    /// Counted from 1 in the session.
    #[napi(js_name = "prompt_number")]
    pub prompt_number: i64,
    /// The prompt.
    #[napi(js_name = "prompt_text")]
    pub prompt_text: String,
    /// ISO-8601, UTC.
    #[napi(js_name = "created_at")]
    pub created_at: String,
    /// Epoch ms.
    #[napi(js_name = "created_at_epoch")]
    pub created_at_epoch: i64,
}

/// A prompt in a timeline.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct TimelinePromptRow {
    /// Row id.
    pub id: i64,
    /// Its session.
    #[napi(js_name = "claude_session_id")]
    pub claude_session_id: String,
    /// The session's project.
    pub project: String,
    /// The prompt.
    pub prompt: String,
    /// ISO-8601, UTC.
    #[napi(js_name = "created_at")]
    pub created_at: String,
    /// Epoch ms.
    #[napi(js_name = "created_at_epoch")]
    pub created_at_epoch: i64,
}
