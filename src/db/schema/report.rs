//! How far the schema of `claude-mem.db` is, for people.

use rusqlite::Connection;

use super::{shape::Shape, steps};
use crate::error::Result;

/// How far a schema is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaReport {
    /// The last step of claude-mem 6.0.2's up to which the file has all (4 to 10); 0 where it has no tables.
    pub step: i64,
    /// The first whose work is not there, recorded or not.
    pub missing_step: Option<i64>,
    /// The steps in the ledger, those of later versions included.
    pub recorded: Vec<i64>,
    /// The format of our own tables.
    pub native_format: Option<i64>,
}

/// Looks at the schema itself, and at what the ledger says.
///
/// # Errors
/// What SQLite answers.
pub fn report(db: &Connection) -> Result<SchemaReport> {
    let shape = Shape::read(db)?;
    let missing_step = steps::first_lacking(&shape)?;
    let step = match missing_step {
        _ if shape.is_blank() => 0,
        Some(missing) => missing - 1,
        None => steps::last(),
    };
    Ok(SchemaReport { step, missing_step, recorded: shape.recorded.into_iter().collect(), native_format: shape.format })
}
