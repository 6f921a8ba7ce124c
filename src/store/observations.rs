//! Table `observations`: what the agent has noted.

use std::collections::HashSet;

use rusqlite::{Connection, named_params, types::ValueRef};

use crate::{
    clock,
    db::Rows,
    error::Result,
    store::{
        by_ids, json_arrays,
        newest::{self, OBSERVATIONS},
        order::OrderBy,
        prompt_number,
        response::Stored,
        sessions,
        snapshot::snapshot,
    },
};

/// An observation to store. The four arrays are JSON text already, of whatever the caller gave.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ObservationInput {
    /// `decision`, `bugfix`, `feature`, `refactor`, `discovery` or `change`: the schema refuses any other.
    pub kind: Option<String>,
    /// One line.
    pub title: Option<String>,
    /// One line more.
    pub subtitle: Option<String>,
    /// JSON array of sentences.
    pub facts: Option<String>,
    /// Some paragraphs.
    pub narrative: Option<String>,
    /// JSON array of words.
    pub concepts: Option<String>,
    /// JSON array of paths.
    pub files_read: Option<String>,
    /// JSON array of paths.
    pub files_modified: Option<String>,
    /// Which prompt of the session it belongs to; 0 and absent are stored as NULL.
    pub prompt_number: Option<i64>,
    /// When it was made, epoch ms; absent: when it is stored.
    pub created_at_epoch: Option<i64>,
}

impl ObservationInput {
    /// Bytes of text, for the budget of writes in flight.
    #[must_use]
    pub fn bytes(&self) -> usize {
        [
            &self.kind,
            &self.title,
            &self.subtitle,
            &self.facts,
            &self.narrative,
            &self.concepts,
            &self.files_read,
            &self.files_modified,
        ]
        .into_iter()
        .flatten()
        .map(String::len)
        .sum()
    }
}

/// Stores an observation; a session row is created where neither id of one is `sdk_session_id`.
///
/// # Errors
/// `ERR_CONSTRAINT` where the schema refuses the row: no project, no type or an unknown one.
pub fn store(
    db: &Connection,
    sdk_session_id: &str,
    project: Option<&str>,
    observation: &ObservationInput,
) -> Result<Stored> {
    let owner = sessions::owner_of_rows(db, sdk_session_id, project, observation.created_at_epoch)?;
    insert(db, &owner, project, observation, observation.prompt_number, observation.created_at_epoch)
}

/// Stores an observation of an existing session.
pub(super) fn insert(
    db: &Connection,
    sdk_session_id: &str,
    project: Option<&str>,
    observation: &ObservationInput,
    prompt: Option<i64>,
    created_at_epoch: Option<i64>,
) -> Result<Stored> {
    let created_at_epoch = created_at_epoch.unwrap_or_else(clock::now_epoch);
    let id = db
        .prepare_cached(
            "INSERT INTO observations (sdk_session_id, project, type, title, subtitle, facts, narrative, concepts,
               files_read, files_modified, prompt_number, created_at, created_at_epoch)
             VALUES (:sdk_session_id, :project, :type, :title, :subtitle, :facts, :narrative, :concepts,
               :files_read, :files_modified, :prompt_number, :created_at, :created_at_epoch)",
        )?
        .insert(named_params! {
            ":sdk_session_id": sdk_session_id,
            ":project": project,
            ":type": observation.kind,
            ":title": observation.title,
            ":subtitle": observation.subtitle,
            ":facts": observation.facts,
            ":narrative": observation.narrative,
            ":concepts": observation.concepts,
            ":files_read": observation.files_read,
            ":files_modified": observation.files_modified,
            ":prompt_number": prompt_number(prompt),
            ":created_at": clock::iso8601(created_at_epoch),
            ":created_at_epoch": created_at_epoch,
        })?;
    Ok(Stored { id, created_at_epoch })
}

/// The whole row `id`; no row where there is none.
///
/// # Errors
/// What SQLite answers.
pub fn by_id(db: &Connection, id: i64) -> Result<Rows> {
    Rows::query(&mut *db.prepare_cached("SELECT * FROM observations WHERE id = ?1")?, [id])
}

/// Whole rows by time, each id once; unknown ids are left out. A limit of 0 is none.
///
/// # Errors
/// What SQLite answers.
pub fn by_ids(db: &Connection, ids: &[i64], order: OrderBy, limit: i64) -> Result<Rows> {
    by_ids::rows(db, "t.*", "observations", "", ids, order, limit)
}

/// The rows `ids`, in the order of `ids`; one that is not there is left out.
///
/// # Errors
/// What SQLite answers.
pub fn in_turn(db: &Connection, ids: &[i64]) -> Result<Rows> {
    by_ids::in_turn(db, "t.*", "observations", "", ids)
}

/// `type, text, prompt_number, created_at` of a project's newest.
///
/// # Errors
/// What SQLite answers.
pub fn recent(db: &Connection, project: &str, limit: i64) -> Result<Rows> {
    newest(db, Some(project), limit, "t.type, t.text, t.prompt_number, t.created_at")
}

/// `id, type, title, subtitle, text, project, prompt_number, created_at, created_at_epoch` of the newest of all.
///
/// # Errors
/// What SQLite answers.
pub fn all_recent(db: &Connection, limit: i64) -> Result<Rows> {
    let columns =
        "t.id, t.type, t.title, t.subtitle, t.text, t.project, t.prompt_number, t.created_at, t.created_at_epoch";
    newest(db, None, limit, columns)
}

/// `columns` of the newest rows.
pub(super) fn newest(db: &Connection, project: Option<&str>, limit: i64, columns: &str) -> Result<Rows> {
    snapshot(db, |db| {
        let ids = newest::ids(db, &OBSERVATIONS, project, 0, limit)?;
        newest::rows(db, &ids, columns, "observations", "")
    })
}

/// `title, subtitle, type, prompt_number` of a session's observations, oldest first.
///
/// # Errors
/// What SQLite answers.
pub fn of_session(db: &Connection, sdk_session_id: &str) -> Result<Rows> {
    let mut statement = db.prepare_cached(
        "SELECT title, subtitle, type, prompt_number FROM observations WHERE sdk_session_id = ?1
         ORDER BY created_at_epoch, id",
    )?;
    Rows::query(&mut statement, [sdk_session_id])
}

/// The paths that a session's observations name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SessionFiles {
    /// Each path once, in the order in which it was first read.
    pub files_read: Vec<String>,
    /// Each path once, in the order in which it was first modified.
    pub files_modified: Vec<String>,
}

/// The paths that a session's observations name; arrays that cannot be read name none.
///
/// # Errors
/// What SQLite answers.
pub fn files_of_session(db: &Connection, sdk_session_id: &str) -> Result<SessionFiles> {
    let mut statement =
        db.prepare_cached("SELECT files_read, files_modified FROM observations WHERE sdk_session_id = ?1 ORDER BY id")?;
    let mut rows = statement.query([sdk_session_id])?;
    let (mut read, mut modified) = (FirstSeen::default(), FirstSeen::default());
    while let Some(row) = rows.next()? {
        read.add(row.get_ref(0)?);
        modified.add(row.get_ref(1)?);
    }
    Ok(SessionFiles { files_read: read.order, files_modified: modified.order })
}

#[derive(Default)]
struct FirstSeen {
    order: Vec<String>,
    seen: HashSet<String>,
}

impl FirstSeen {
    fn add(&mut self, column: ValueRef<'_>) {
        let (ValueRef::Text(bytes) | ValueRef::Blob(bytes)) = column else { return };
        for path in json_arrays::strings(&String::from_utf8_lossy(bytes)) {
            if self.seen.insert(path.clone()) {
                self.order.push(path);
            }
        }
    }
}
