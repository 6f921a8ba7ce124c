//! Table `observations`: what the agent has noted.

use rusqlite::{Connection, named_params};

use crate::{
    clock,
    error::Result,
    store::{prompt_number, response::Stored, sessions},
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
