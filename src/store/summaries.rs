//! Table `session_summaries`: what a session came to.

use rusqlite::{Connection, named_params};

use crate::{
    clock,
    db::Rows,
    error::Result,
    store::{
        by_ids,
        newest::{self, SUMMARIES},
        order::OrderBy,
        prompt_number,
        response::Stored,
        sessions,
        snapshot::snapshot,
    },
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

/// Whole rows by time, each id once; unknown ids are left out. A limit of 0 is none.
///
/// # Errors
/// What SQLite answers.
pub fn by_ids(db: &Connection, ids: &[i64], order: OrderBy, limit: i64) -> Result<Rows> {
    by_ids::rows(db, "t.*", "session_summaries", "", ids, order, limit)
}

/// The rows `ids`, in the order of `ids`; one that is not there is left out.
///
/// # Errors
/// What SQLite answers.
pub fn in_turn(db: &Connection, ids: &[i64]) -> Result<Rows> {
    by_ids::in_turn(db, "t.*", "session_summaries", "", ids)
}

/// `request, investigated, learned, completed, next_steps, files_read, files_edited, notes, prompt_number,
/// created_at` of a project's newest.
///
/// # Errors
/// What SQLite answers.
pub fn recent(db: &Connection, project: &str, limit: i64) -> Result<Rows> {
    let columns = "t.request, t.investigated, t.learned, t.completed, t.next_steps, t.files_read, t.files_edited,
                   t.notes, t.prompt_number, t.created_at";
    newest(db, Some(project), limit, columns)
}

/// `sdk_session_id, request, learned, completed, next_steps, prompt_number, created_at` of a project's newest.
///
/// # Errors
/// What SQLite answers.
pub fn recent_with_session_info(db: &Connection, project: &str, limit: i64) -> Result<Rows> {
    let columns = "t.sdk_session_id, t.request, t.learned, t.completed, t.next_steps, t.prompt_number, t.created_at";
    newest(db, Some(project), limit, columns)
}

/// `id, request, investigated, learned, completed, next_steps, files_read, files_edited, notes, project,
/// prompt_number, created_at, created_at_epoch` of the newest of all.
///
/// # Errors
/// What SQLite answers.
pub fn all_recent(db: &Connection, limit: i64) -> Result<Rows> {
    let columns = "t.id, t.request, t.investigated, t.learned, t.completed, t.next_steps, t.files_read, t.files_edited,
                   t.notes, t.project, t.prompt_number, t.created_at, t.created_at_epoch";
    newest(db, None, limit, columns)
}

/// `columns` of the newest rows.
pub(super) fn newest(db: &Connection, project: Option<&str>, limit: i64, columns: &str) -> Result<Rows> {
    snapshot(db, |db| {
        let ids = newest::ids(db, &SUMMARIES, project, 0, limit)?;
        newest::rows(db, &ids, columns, "session_summaries", "")
    })
}

/// `request, investigated, learned, completed, next_steps, files_read, files_edited, notes, prompt_number,
/// created_at` of a session's newest summary; no row where it has none.
///
/// # Errors
/// What SQLite answers.
pub fn of_session(db: &Connection, sdk_session_id: &str) -> Result<Rows> {
    let mut statement = db.prepare_cached(
        "SELECT request, investigated, learned, completed, next_steps, files_read, files_edited, notes, prompt_number,
           created_at
         FROM session_summaries WHERE sdk_session_id = ?1 ORDER BY created_at_epoch DESC, id DESC LIMIT 1",
    )?;
    Rows::query(&mut statement, [sdk_session_id])
}
