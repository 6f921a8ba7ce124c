//! Table `session_summaries`: what a session came to.

use rusqlite::{Connection, named_params};

use crate::{
    clock,
    error::Result,
    store::{prompt_number, response::Stored, sessions},
};

/// A summary to store.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SummaryInput {
    /// What was asked for.
    pub request: Option<String>,
    /// What was looked into.
    pub investigated: Option<String>,
    /// What came out of that.
    pub learned: Option<String>,
    /// What was done.
    pub completed: Option<String>,
    /// What is left.
    pub next_steps: Option<String>,
    /// Anything else.
    pub notes: Option<String>,
    /// Which prompt of the session it belongs to; 0 and absent are stored as NULL.
    pub prompt_number: Option<i64>,
    /// When it was made, epoch ms; absent: when it is stored.
    pub created_at_epoch: Option<i64>,
}

impl SummaryInput {
    /// Bytes of text, for the budget of writes in flight.
    #[must_use]
    pub fn bytes(&self) -> usize {
        [&self.request, &self.investigated, &self.learned, &self.completed, &self.next_steps, &self.notes]
            .into_iter()
            .flatten()
            .map(String::len)
            .sum()
    }
}

/// Stores a summary; a session row is created where neither id of one is `sdk_session_id`.
///
/// # Errors
/// `ERR_CONSTRAINT` where the schema refuses the row: no project.
pub fn store(db: &Connection, sdk_session_id: &str, project: Option<&str>, summary: &SummaryInput) -> Result<Stored> {
    let owner = sessions::owner_of_rows(db, sdk_session_id, project, summary.created_at_epoch)?;
    insert(db, &owner, project, summary, summary.prompt_number, summary.created_at_epoch)
}

/// Stores a summary of an existing session.
pub(super) fn insert(
    db: &Connection,
    sdk_session_id: &str,
    project: Option<&str>,
    summary: &SummaryInput,
    prompt: Option<i64>,
    created_at_epoch: Option<i64>,
) -> Result<Stored> {
    let created_at_epoch = created_at_epoch.unwrap_or_else(clock::now_epoch);
    let id = db
        .prepare_cached(
            "INSERT INTO session_summaries (sdk_session_id, project, request, investigated, learned, completed,
               next_steps, notes, prompt_number, created_at, created_at_epoch)
             VALUES (:sdk_session_id, :project, :request, :investigated, :learned, :completed,
               :next_steps, :notes, :prompt_number, :created_at, :created_at_epoch)",
        )?
        .insert(named_params! {
            ":sdk_session_id": sdk_session_id,
            ":project": project,
            ":request": summary.request,
            ":investigated": summary.investigated,
            ":learned": summary.learned,
            ":completed": summary.completed,
            ":next_steps": summary.next_steps,
            ":notes": summary.notes,
            ":prompt_number": prompt_number(prompt),
            ":created_at": clock::iso8601(created_at_epoch),
            ":created_at_epoch": created_at_epoch,
        })?;
    Ok(Stored { id, created_at_epoch })
}
