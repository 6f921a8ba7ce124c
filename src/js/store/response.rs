//! What an agent answers: observations and a summary, as they come from JavaScript and as they are stored.
//! Shared with the batches of the queue.

use napi::{Env, Unknown};
use napi_derive::napi;

use super::{Prepared, Store, options};
use crate::{
    error::Result,
    js::{
        answer::object_answer,
        arguments::{Argument, Fields},
        call::Promised,
    },
    store::{
        observations,
        response::{self, Response, Stored},
        summaries,
    },
};

/// A row that was stored.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct StoredRow {
    /// The row's id.
    pub id: i64,
    /// Its time, epoch ms.
    pub created_at_epoch: i64,
}

object_answer!(Stored { id: "id", created_at_epoch: "createdAtEpoch" });

/// What an answer has become.
#[napi(object, object_from_js = false, use_nullable = true, js_name = "StoredResponse")]
#[derive(Debug)]
pub struct Answered {
    /// One for each observation, in their order.
    pub observations: Vec<StoredRow>,
    /// The summary, or null where there was none.
    pub summary: Option<StoredRow>,
}

object_answer!(response::StoredResponse { observations: "observations", summary: "summary" });

/// An observation to store.
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct ObservationInput {
    /// What kind of observation.
    #[napi(js_name = "type", ts_type = "'decision' | 'bugfix' | 'feature' | 'refactor' | 'discovery' | 'change'")]
    pub kind: String,
    /// One line.
    #[napi(ts_type = "string | null")]
    pub title: Option<String>,
    /// One line more.
    #[napi(ts_type = "string | null")]
    pub subtitle: Option<String>,
    /// Sentences; stored as compact JSON.
    #[napi(ts_type = "string[] | null")]
    pub facts: Option<Vec<String>>,
    /// Some paragraphs.
    #[napi(ts_type = "string | null")]
    pub narrative: Option<String>,
    /// Words to find it by; stored as compact JSON.
    #[napi(ts_type = "string[] | null")]
    pub concepts: Option<Vec<String>>,
    /// Paths; stored as compact JSON.
    #[napi(js_name = "files_read", ts_type = "string[] | null")]
    pub files_read: Option<Vec<String>>,
    /// Paths; stored as compact JSON.
    #[napi(js_name = "files_modified", ts_type = "string[] | null")]
    pub files_modified: Option<Vec<String>>,
    /// Which prompt of the session it belongs to; 0 is none. Default: that of the call.
    #[napi(ts_type = "number | null")]
    pub prompt_number: Option<i64>,
    /// When it was made, epoch ms. Default: that of the call, else now.
    #[napi(ts_type = "number | null")]
    pub created_at_epoch: Option<i64>,
}

/// A summary to store.
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct SummaryInput {
    /// What was asked for.
    #[napi(ts_type = "string | null")]
    pub request: Option<String>,
    /// What was looked into.
    #[napi(ts_type = "string | null")]
    pub investigated: Option<String>,
    /// What came out of that.
    #[napi(ts_type = "string | null")]
    pub learned: Option<String>,
    /// What was done.
    #[napi(ts_type = "string | null")]
    pub completed: Option<String>,
    /// What is left.
    #[napi(js_name = "next_steps", ts_type = "string | null")]
    pub next_steps: Option<String>,
    /// Anything else.
    #[napi(ts_type = "string | null")]
    pub notes: Option<String>,
    /// Which prompt of the session it belongs to; 0 is none. Default: that of the call.
    #[napi(ts_type = "number | null")]
    pub prompt_number: Option<i64>,
    /// When it was made, epoch ms. Default: that of the call, else now.
    #[napi(ts_type = "number | null")]
    pub created_at_epoch: Option<i64>,
}

/// An answer that belongs to no queued message.
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct SessionResponse {
    /// `sdk_sessions.id`.
    pub session_db_id: i64,
    /// In the order in which they are stored. Default: none.
    pub observations: Option<Vec<ObservationInput>>,
    /// At most one. Default: none.
    #[napi(ts_type = "SummaryInput | null")]
    pub summary: Option<SummaryInput>,
    /// For rows that name no prompt number; 0 is none.
    #[napi(ts_type = "number | null")]
    pub prompt_number: Option<i64>,
    /// For rows that name no time, epoch ms. Default: now.
    pub created_at_epoch: Option<i64>,
    /// Whether the session's status becomes `completed`. Default: false.
    pub complete_session: Option<bool>,
    /// How long to wait for a write lock that another process holds, ms; then `ERR_BUSY`. Default: `deadlineMs`
    /// of `openMemory` (5,000).
    pub deadline_ms: Option<f64>,
}

/// Checks an observation. Its arrays become JSON text of whatever was given, as in 6.0.2: `null` becomes the text
/// `null`, and only what is absent becomes NULL.
pub(super) fn observation(value: &Argument<'_>) -> Result<observations::ObservationInput> {
    let fields = value.object()?;
    let text = |name| fields.read(name, Argument::text);
    let json = |name| fields.property(name)?.map_or(Ok(None), |array| array.any_json());
    Ok(observations::ObservationInput {
        kind: text("type")?,
        title: text("title")?,
        subtitle: text("subtitle")?,
        facts: json("facts")?,
        narrative: text("narrative")?,
        concepts: json("concepts")?,
        files_read: json("files_read")?,
        files_modified: json("files_modified")?,
        prompt_number: fields.read("promptNumber", options::whole)?,
        created_at_epoch: fields.read("createdAtEpoch", options::epoch)?,
    })
}

/// Checks a summary.
pub(super) fn summary(value: &Argument<'_>) -> Result<summaries::SummaryInput> {
    let fields = value.object()?;
    let text = |name| fields.read(name, Argument::text);
    Ok(summaries::SummaryInput {
        request: text("request")?,
        investigated: text("investigated")?,
        learned: text("learned")?,
        completed: text("completed")?,
        next_steps: text("next_steps")?,
        notes: text("notes")?,
        prompt_number: fields.read("promptNumber", options::whole)?,
        created_at_epoch: fields.read("createdAtEpoch", options::epoch)?,
    })
}

/// The checked property `observations` of an answer; none where it is absent.
///
/// # Errors
/// `ERR_INVALID_ARG`.
pub fn observations_of(answer: &Fields<'_>) -> Result<Vec<observations::ObservationInput>> {
    let rows = answer.read("observations", |value| value.array()?.iter().map(observation).collect())?;
    Ok(rows.unwrap_or_default())
}

/// The checked property `summary` of an answer.
///
/// # Errors
/// `ERR_INVALID_ARG`.
pub fn summary_of(answer: &Fields<'_>) -> Result<Option<summaries::SummaryInput>> {
    answer.read("summary", summary)
}

#[napi]
impl Store {
    /// Stores an answer of the agent that belongs to no queued message: observations, summary and the session's
    /// end in one transaction, under the session's project and `sdk_session_id` (where that is NULL it becomes
    /// `claude_session_id`). Rejects with `ERR_NOT_FOUND` where there is no such session, and with
    /// `ERR_CONSTRAINT` where the schema refuses a row; then nothing was stored.
    #[napi(ts_args_type = "response: SessionResponse", ts_return_type = "Promise<StoredResponse>", catch_unwind)]
    pub fn commit_response<'e>(&self, env: &'e Env, response: Unknown<'e>) -> napi::Result<Promised<'e>> {
        let prepare = || {
            let fields = Argument::new("response", &response).options(&[
                "sessionDbId",
                "observations",
                "summary",
                "promptNumber",
                "createdAtEpoch",
                "completeSession",
                "deadlineMs",
            ])?;
            let response = Response {
                session_db_id: options::whole(&fields.required("sessionDbId")?)?,
                observations: observations_of(&fields)?,
                summary: summary_of(&fields)?,
                prompt_number: fields.read("promptNumber", options::whole)?,
                created_at_epoch: fields.read("createdAtEpoch", options::epoch)?,
                complete_session: fields.read("completeSession", Argument::boolean)?.unwrap_or(false),
            };
            let (bytes, deadline) = (response.bytes(), options::deadline_in(&fields)?);
            Ok(Prepared { run: move |db: &_| response::store(db, &response), bytes, deadline })
        };
        self.write(env, "commitResponse", prepare, Ok)
    }
}
