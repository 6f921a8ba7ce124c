//! An agent's answer: its observations, its summary and the end of its session, stored together.

use rusqlite::Connection;

use crate::{
    error::Result,
    store::{
        observations::{self, ObservationInput},
        sessions,
        summaries::{self, SummaryInput},
    },
};

/// A row that was stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stored {
    /// The row's id.
    pub id: i64,
    /// Its `created_at_epoch`, ms.
    pub created_at_epoch: i64,
}

/// An answer of the agent, for one session.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Response {
    /// `sdk_sessions.id`.
    pub session_db_id: i64,
    /// In the order in which they shall be stored; often none.
    pub observations: Vec<ObservationInput>,
    /// At most one.
    pub summary: Option<SummaryInput>,
    /// For rows that name no prompt number themselves.
    pub prompt_number: Option<i64>,
    /// For rows that name no time themselves, epoch ms; absent: the time at which they are stored.
    pub created_at_epoch: Option<i64>,
    /// Whether the session's status becomes `completed`.
    pub complete_session: bool,
}

impl Response {
    /// Bytes of text, for the budget of writes in flight.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.observations.iter().map(ObservationInput::bytes).sum::<usize>()
            + self.summary.as_ref().map_or(0, SummaryInput::bytes)
    }
}

/// What [`store`] has stored.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredResponse {
    /// One for each observation, in their order.
    pub observations: Vec<Stored>,
    /// The summary, where there was one.
    pub summary: Option<Stored>,
}

/// Stores an answer under its session's `sdk_session_id` and project. A session whose `sdk_session_id` is
/// NULL gets its `claude_session_id` for one.
///
/// # Errors
/// `ERR_NOT_FOUND` where there is no such session; `ERR_CONSTRAINT` where the schema refuses a row, as with an
/// unknown observation type.
pub fn store(db: &Connection, response: &Response) -> Result<StoredResponse> {
    let session = sessions::identify(db, response.session_db_id)?;
    let mut stored = StoredResponse::default();
    for observation in &response.observations {
        let prompt_number = observation.prompt_number.or(response.prompt_number);
        let epoch = observation.created_at_epoch.or(response.created_at_epoch);
        stored.observations.push(observations::insert(
            db,
            &session.sdk_session_id,
            Some(&session.project),
            observation,
            prompt_number,
            epoch,
        )?);
    }
    if let Some(summary) = &response.summary {
        let prompt_number = summary.prompt_number.or(response.prompt_number);
        let epoch = summary.created_at_epoch.or(response.created_at_epoch);
        stored.summary = Some(summaries::insert(
            db,
            &session.sdk_session_id,
            Some(&session.project),
            summary,
            prompt_number,
            epoch,
        )?);
    }
    if response.complete_session {
        sessions::finish(db, response.session_db_id, sessions::Status::Completed)?;
    }
    Ok(stored)
}
