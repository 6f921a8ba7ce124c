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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{db::Cell, error::Code, store::reference};

    fn observation(title: &str) -> ObservationInput {
        ObservationInput {
            kind: Some("change".into()),
            title: Some(title.into()),
            facts: Some("[\"a\"]".into()),
            ..ObservationInput::default()
        }
    }

    #[test]
    fn a_session_without_sdk_id_gets_its_own() {
        let Some((_directory, db)) = reference::database() else { return };
        let response = Response {
            session_db_id: 401,
            observations: vec![
                observation("one"),
                ObservationInput { prompt_number: Some(9), created_at_epoch: Some(5), ..observation("two") },
            ],
            summary: Some(SummaryInput { request: Some("r".into()), ..SummaryInput::default() }),
            prompt_number: Some(3),
            created_at_epoch: Some(1_790_000_000_000),
            complete_session: true,
        };
        let stored = store(&db, &response).unwrap();
        assert_eq!(
            stored.observations.iter().map(|row| row.created_at_epoch).collect::<Vec<_>>(),
            [1_790_000_000_000, 5]
        );
        let session: (String, String, String) = db
            .query_row("SELECT sdk_session_id, status, project FROM sdk_sessions WHERE id = 401", [], |row| {
                Ok((row.get(0)?, row.get(1)?, row.get(2)?))
            })
            .unwrap();
        assert_eq!(session, ("pending-sdk-0".into(), "completed".into(), "claude-mem".into()));
        let second = observations::by_id(&db, stored.observations[1].id).unwrap();
        let cell = |name| second.cells[second.column(name).unwrap()].clone();
        assert_eq!(cell("sdk_session_id"), Cell::Text("pending-sdk-0".into()));
        assert_eq!(cell("project"), Cell::Text("claude-mem".into()));
        assert_eq!((cell("prompt_number"), cell("created_at_epoch")), (Cell::Integer(9), Cell::Integer(5)));
        assert_eq!(cell("created_at"), Cell::Text("1970-01-01T00:00:00.005Z".into()));
        let summary: (i64, i64) = db
            .query_row(
                "SELECT id, prompt_number FROM session_summaries WHERE sdk_session_id = 'pending-sdk-0'",
                [],
                |row| Ok((row.get(0)?, row.get(1)?)),
            )
            .unwrap();
        assert_eq!(summary, (stored.summary.unwrap().id, 3));
    }

    #[test]
    fn an_unknown_session_stores_nothing() {
        let Some((_directory, db)) = reference::database() else { return };
        let response = Response { session_db_id: 999_999, observations: vec![observation("x")], ..Response::default() };
        assert_eq!(store(&db, &response).unwrap_err().code, Code::NotFound);
        let response = Response {
            session_db_id: 1,
            observations: vec![ObservationInput { kind: Some("not-a-type".into()), ..observation("x") }],
            ..Response::default()
        };
        assert_eq!(store(&db, &response).unwrap_err().code, Code::Constraint);
    }

    #[test]
    fn rows_given_under_a_claude_id_go_to_its_session() {
        let Some((_directory, db)) = reference::database() else { return };
        db.execute_batch("UPDATE sdk_sessions SET sdk_session_id = 'another' WHERE id = 402").unwrap();
        for (given, kept) in
            [("pending-sdk-0", "pending-sdk-0"), ("pending-sdk-1", "another"), ("unheard-of", "unheard-of")]
        {
            let stored = observations::store(&db, given, Some("p"), &observation(given)).unwrap();
            let under: String = db
                .query_row("SELECT sdk_session_id FROM observations WHERE id = ?1", [stored.id], |row| row.get(0))
                .unwrap();
            assert_eq!(under, kept);
        }
        let sessions: i64 = db.query_row("SELECT count(*) FROM sdk_sessions", [], |row| row.get(0)).unwrap();
        assert_eq!(sessions, 405);
    }
}
