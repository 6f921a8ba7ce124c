//! Rows of `observations`.

use napi_derive::napi;

/// An observation, whole.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct ObservationRow {
    /// Row id.
    pub id: i64,
    /// Its session.
    #[napi(js_name = "sdk_session_id")]
    pub sdk_session_id: String,
    /// Its project.
    pub project: String,
    /// Only in rows of old versions.
    pub text: Option<String>,
    /// `decision`, `bugfix`, `feature`, `refactor`, `discovery` or `change`.
    #[napi(js_name = "type")]
    pub kind: String,
    /// One line.
    pub title: Option<String>,
    /// One line more.
    pub subtitle: Option<String>,
    /// JSON array of sentences, as text; anything in rows of old versions.
    pub facts: Option<String>,
    /// Some paragraphs.
    pub narrative: Option<String>,
    /// JSON array of words, as text; anything in rows of old versions.
    pub concepts: Option<String>,
    /// JSON array of paths, as text; anything in rows of old versions.
    #[napi(js_name = "files_read")]
    pub files_read: Option<String>,
    /// JSON array of paths, as text; anything in rows of old versions.
    #[napi(js_name = "files_modified")]
    pub files_modified: Option<String>,
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

/// An observation that a search has found.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct ObservationHit {
    /// Row id.
    pub id: i64,
    /// Its session.
    #[napi(js_name = "sdk_session_id")]
    pub sdk_session_id: String,
    /// Its project.
    pub project: String,
    /// Only in rows of old versions.
    pub text: Option<String>,
    /// `decision`, `bugfix`, `feature`, `refactor`, `discovery` or `change`.
    #[napi(js_name = "type")]
    pub kind: String,
    /// One line.
    pub title: Option<String>,
    /// One line more.
    pub subtitle: Option<String>,
    /// JSON array of sentences, as text; anything in rows of old versions.
    pub facts: Option<String>,
    /// Some paragraphs.
    pub narrative: Option<String>,
    /// JSON array of words, as text; anything in rows of old versions.
    pub concepts: Option<String>,
    /// JSON array of paths, as text; anything in rows of old versions.
    #[napi(js_name = "files_read")]
    pub files_read: Option<String>,
    /// JSON array of paths, as text; anything in rows of old versions.
    #[napi(js_name = "files_modified")]
    pub files_modified: Option<String>,
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

/// An observation in short.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct RecentObservationRow {
    /// `decision`, `bugfix`, `feature`, `refactor`, `discovery` or `change`.
    #[napi(js_name = "type")]
    pub kind: String,
    /// Only in rows of old versions.
    pub text: Option<String>,
    /// Which prompt of the session.
    #[napi(js_name = "prompt_number")]
    pub prompt_number: Option<i64>,
    /// ISO-8601, UTC.
    #[napi(js_name = "created_at")]
    pub created_at: String,
}

/// An observation in a list.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct ListedObservationRow {
    /// Row id.
    pub id: i64,
    /// `decision`, `bugfix`, `feature`, `refactor`, `discovery` or `change`.
    #[napi(js_name = "type")]
    pub kind: String,
    /// One line.
    pub title: Option<String>,
    /// One line more.
    pub subtitle: Option<String>,
    /// Only in rows of old versions.
    pub text: Option<String>,
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

/// An observation of a known session.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct SessionObservationRow {
    /// One line.
    pub title: Option<String>,
    /// One line more.
    pub subtitle: Option<String>,
    /// `decision`, `bugfix`, `feature`, `refactor`, `discovery` or `change`.
    #[napi(js_name = "type")]
    pub kind: String,
    /// Which prompt of the session.
    #[napi(js_name = "prompt_number")]
    pub prompt_number: Option<i64>,
}

/// An observation in a page.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct ObservationItem {
    /// Row id.
    pub id: i64,
    /// Its session.
    #[napi(js_name = "sdk_session_id")]
    pub sdk_session_id: String,
    /// Its project.
    pub project: String,
    /// `decision`, `bugfix`, `feature`, `refactor`, `discovery` or `change`.
    #[napi(js_name = "type")]
    pub kind: String,
    /// One line.
    pub title: Option<String>,
    /// One line more.
    pub subtitle: Option<String>,
    /// Some paragraphs.
    pub narrative: Option<String>,
    /// Only in rows of old versions.
    pub text: Option<String>,
    /// JSON array of sentences, as text; anything in rows of old versions.
    pub facts: Option<String>,
    /// JSON array of words, as text; anything in rows of old versions.
    pub concepts: Option<String>,
    /// JSON array of paths, as text; anything in rows of old versions.
    #[napi(js_name = "files_read")]
    pub files_read: Option<String>,
    /// JSON array of paths, as text; anything in rows of old versions.
    #[napi(js_name = "files_modified")]
    pub files_modified: Option<String>,
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
