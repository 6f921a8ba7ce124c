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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::db::schema::stand_in;

    #[test]
    fn what_the_tables_are_and_what_the_ledger_says() {
        let db = stand_in().unwrap();
        let whole = SchemaReport {
            step: 10,
            missing_step: None,
            recorded: (4..=10).collect(),
            native_format: Some(super::super::native::FORMAT),
        };
        assert_eq!(report(&db).unwrap(), whole);
        // Of a later version, beside what is there.
        let record = "INSERT INTO schema_versions(version, applied_at) VALUES (16, '')";
        db.execute_batch(&format!("{record}; DELETE FROM schema_versions WHERE version = 5")).unwrap();
        assert_eq!(report(&db).unwrap().recorded, [4, 6, 7, 8, 9, 10, 16]);
        assert_eq!(report(&db).unwrap().step, 10, "the ledger is not asked");
        db.execute_batch("ALTER TABLE observations DROP COLUMN prompt_number").unwrap();
        let lacking = report(&db).unwrap();
        assert_eq!((lacking.step, lacking.missing_step), (5, Some(6)));
        let blank = report(&Connection::open_in_memory().unwrap()).unwrap();
        assert_eq!((blank.step, blank.recorded, blank.native_format), (0, vec![], None));
    }
}
