//! Rows of `session_summaries`.

use napi_derive::napi;

/// A session summary, whole.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct SummaryRow {
    /// Row id.
    pub id: i64,
    /// Its session.
    #[napi(js_name = "sdk_session_id")]
    pub sdk_session_id: String,
    /// Its project.
    pub project: String,
    /// What was asked for.
    pub request: Option<String>,
    /// What was looked into.
    pub investigated: Option<String>,
    /// What came out of that.
    pub learned: Option<String>,
    /// What was done.
    pub completed: Option<String>,
    /// What is left.
    #[napi(js_name = "next_steps")]
    pub next_steps: Option<String>,
    /// JSON array of paths, as text; only in rows of old versions.
    #[napi(js_name = "files_read")]
    pub files_read: Option<String>,
    /// JSON array of paths, as text; only in rows of old versions.
    #[napi(js_name = "files_edited")]
    pub files_edited: Option<String>,
    /// Anything else.
    pub notes: Option<String>,
    /// Which prompt of the session.
    #[napi(js_name = "prompt_number")]
    pub prompt_number: Option<i64>,
    /// ISO-8601, UTC.
    #[napi(js_name = "created_at")]
    pub created_at: String,
    /// Epoch ms.
    #[napi(js_name = "created_at_epoch")]
    pub created_at_epoch: i64,
}

/// A session summary that a search has found.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct SummaryHit {
    /// Row id.
    pub id: i64,
    /// Its session.
    #[napi(js_name = "sdk_session_id")]
    pub sdk_session_id: String,
    /// Its project.
    pub project: String,
    /// What was asked for.
    pub request: Option<String>,
    /// What was looked into.
    pub investigated: Option<String>,
    /// What came out of that.
    pub learned: Option<String>,
    /// What was done.
    pub completed: Option<String>,
    /// What is left.
    #[napi(js_name = "next_steps")]
    pub next_steps: Option<String>,
    /// JSON array of paths, as text; only in rows of old versions.
    #[napi(js_name = "files_read")]
    pub files_read: Option<String>,
    /// JSON array of paths, as text; only in rows of old versions.
    #[napi(js_name = "files_edited")]
    pub files_edited: Option<String>,
    /// Anything else.
    pub notes: Option<String>,
    /// Which prompt of the session.
    #[napi(js_name = "prompt_number")]
    pub prompt_number: Option<i64>,
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

/// A summary in short.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct RecentSummaryRow {
    /// What was asked for.
    pub request: Option<String>,
    /// What was looked into.
    pub investigated: Option<String>,
    /// What came out of that.
    pub learned: Option<String>,
    /// What was done.
    pub completed: Option<String>,
    /// What is left.
    #[napi(js_name = "next_steps")]
    pub next_steps: Option<String>,
    /// JSON array of paths, as text; only in rows of old versions.
    #[napi(js_name = "files_read")]
    pub files_read: Option<String>,
    /// JSON array of paths, as text; only in rows of old versions.
    #[napi(js_name = "files_edited")]
    pub files_edited: Option<String>,
    /// Anything else.
    pub notes: Option<String>,
    /// Which prompt of the session.
    #[napi(js_name = "prompt_number")]
    pub prompt_number: Option<i64>,
    /// ISO-8601, UTC.
    #[napi(js_name = "created_at")]
    pub created_at: String,
}

/// A summary and its session.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct SessionInfoSummaryRow {
    /// Its session.
    #[napi(js_name = "sdk_session_id")]
    pub sdk_session_id: String,
    /// What was asked for.
    pub request: Option<String>,
    /// What came out of that.
    pub learned: Option<String>,
    /// What was done.
    pub completed: Option<String>,
    /// What is left.
    #[napi(js_name = "next_steps")]
    pub next_steps: Option<String>,
    /// Which prompt of the session.
    #[napi(js_name = "prompt_number")]
    pub prompt_number: Option<i64>,
    /// ISO-8601, UTC.
    #[napi(js_name = "created_at")]
    pub created_at: String,
}

/// A summary in a list.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct ListedSummaryRow {
    /// Row id.
    pub id: i64,
    /// What was asked for.
    pub request: Option<String>,
    /// What was looked into.
    pub investigated: Option<String>,
    /// What came out of that.
    pub learned: Option<String>,
    /// What was done.
    pub completed: Option<String>,
    /// What is left.
    #[napi(js_name = "next_steps")]
    pub next_steps: Option<String>,
    /// JSON array of paths, as text; only in rows of old versions.
    #[napi(js_name = "files_read")]
    pub files_read: Option<String>,
    /// JSON array of paths, as text; only in rows of old versions.
    #[napi(js_name = "files_edited")]
    pub files_edited: Option<String>,
    /// Anything else.
    pub notes: Option<String>,
    /// Its project.
    pub project: String,
    /// Which prompt of the session.
    #[napi(js_name = "prompt_number")]
    pub prompt_number: Option<i64>,
    /// ISO-8601, UTC.
    #[napi(js_name = "created_at")]
    pub created_at: String,
    /// Epoch ms.
    #[napi(js_name = "created_at_epoch")]
    pub created_at_epoch: i64,
}

/// A summary in a timeline.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct TimelineSummaryRow {
    /// Row id.
    pub id: i64,
    /// Its session.
    #[napi(js_name = "sdk_session_id")]
    pub sdk_session_id: String,
    /// Its project.
    pub project: String,
    /// What was asked for.
    pub request: Option<String>,
    /// What was done.
    pub completed: Option<String>,
    /// What is left.
    #[napi(js_name = "next_steps")]
    pub next_steps: Option<String>,
    /// ISO-8601, UTC.
    #[napi(js_name = "created_at")]
    pub created_at: String,
    /// Epoch ms.
    #[napi(js_name = "created_at_epoch")]
    pub created_at_epoch: i64,
}

/// A summary in a page.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct SummaryItem {
    /// Row id.
    pub id: i64,
    /// The session's `claude_session_id`; null where the session is gone.
    #[napi(js_name = "session_id")]
    pub session_id: Option<String>,
    /// What was asked for.
    pub request: Option<String>,
    /// What was looked into.
    pub investigated: Option<String>,
    /// What came out of that.
    pub learned: Option<String>,
    /// What was done.
    pub completed: Option<String>,
    /// What is left.
    #[napi(js_name = "next_steps")]
    pub next_steps: Option<String>,
    /// Its project.
    pub project: String,
    /// ISO-8601, UTC.
    #[napi(js_name = "created_at")]
    pub created_at: String,
    /// Epoch ms.
    #[napi(js_name = "created_at_epoch")]
    pub created_at_epoch: i64,
}
