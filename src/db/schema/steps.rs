//! The steps that bring a file to the schema of 6.0.2: 4 to 10 of claude-mem's ledger, then what has no row in
//! it. Each looks at the schema, mends what is missing, and is recorded, all in one transaction.

use std::path::Path;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::{
    native, precopy,
    rebuild::rebuild,
    shape::Shape,
    support,
    tables::{OBSERVATIONS, SESSION_SUMMARIES, TABLES, Table, USER_PROMPTS},
};
use crate::{clock, error::Result, fault};

/// One step.
struct Step {
    /// Its row in claude-mem's ledger. Only such a step changes tables that others have made.
    version: Option<i64>,
    /// Where a test kills the process: after the work, before its COMMIT.
    fault: &'static str,
    lacking: fn(&Shape) -> Result<bool>,
    mend: fn(&Connection, &Shape) -> Result<()>,
}

static STEPS: [Step; 9] = [
    Step { version: Some(4), fault: "schema-step-4", lacking: lacks_tables::<4>, mend: create_tables::<4> },
    Step { version: Some(5), fault: "schema-step-5", lacking: lacks_columns::<5>, mend: add_columns::<5> },
    Step { version: Some(6), fault: "schema-step-6", lacking: lacks_columns::<6>, mend: add_columns::<6> },
    Step {
        version: Some(7),
        fault: "schema-step-7",
        lacking: |shape| Ok(shape.one_summary_a_session),
        mend: |db, shape| rebuild(db, &SESSION_SUMMARIES, shape),
    },
    Step { version: Some(8), fault: "schema-step-8", lacking: lacks_columns::<8>, mend: add_columns::<8> },
    Step {
        version: Some(9),
        fault: "schema-step-9",
        lacking: refuses_changes_without_text,
        mend: |db, shape| rebuild(db, &OBSERVATIONS, shape),
    },
    Step {
        version: Some(10),
        fault: "schema-step-10",
        lacking: |shape| Ok(lacks_tables::<10>(shape)? || lacks_full_text(&USER_PROMPTS, shape)),
        mend: |db, shape| {
            create_tables::<10>(db, shape)?;
            create_full_text(db, &USER_PROMPTS, shape)
        },
    },
    // claude-mem's search side makes these two, and records nothing.
    Step {
        version: None,
        fault: "schema-step-search",
        lacking: |shape| Ok(lacks_full_text(&OBSERVATIONS, shape) || lacks_full_text(&SESSION_SUMMARIES, shape)),
        mend: |db, shape| {
            create_full_text(db, &OBSERVATIONS, shape)?;
            create_full_text(db, &SESSION_SUMMARIES, shape)
        },
    },
    Step {
        version: None,
        fault: "schema-step-native",
        lacking: |shape| Ok(native::lacking(shape)),
        mend: |db, _| native::create(db),
    },
];

/// Runs every step that the file needs; writes nothing where it needs none, so that such an open takes no lock.
///
/// # Errors
/// `ERR_SCHEMA_UNSUPPORTED`, `ERR_BUSY`, `ERR_DISK_FULL`, or what SQLite answers.
pub fn run(db: &Connection, path: &Path) -> Result<()> {
    let mut shape = Shape::read(db)?;
    if shape.is_blank() {
        // One transaction, so that a hook that comes in between sees nothing or everything.
        in_transaction(db, |db, shape| match shape.is_blank() {
            true => STEPS.iter().try_for_each(|step| step.complete(db, &Shape::read(db)?)),
            false => Ok(()),
        })?;
        shape = Shape::read(db)?;
    }
    for step in &STEPS {
        if !step.is_due(&shape)? {
            continue;
        }
        if step.version.is_some() && (step.lacking)(&shape)? {
            precopy::make_once(db, path, |directory| fs4::available_space(directory))?;
        }
        in_transaction(db, |db, shape| step.complete(db, shape))?;
        shape = Shape::read(db)?;
    }
    Ok(())
}

/// The first step of claude-mem's ledger whose work is not there, recorded or not.
///
/// # Errors
/// What SQLite answers.
pub fn first_lacking(shape: &Shape) -> Result<Option<i64>> {
    for step in &STEPS {
        if let Some(version) = step.version
            && (step.lacking)(shape)?
        {
            return Ok(Some(version));
        }
    }
    Ok(None)
}

/// The last step of claude-mem's ledger that there is.
#[must_use]
pub fn last() -> i64 {
    STEPS.iter().filter_map(|step| step.version).max().unwrap_or(0)
}

/// Runs `work` under the write lock, with the shape read under it: since the last look a hook may have run the
/// same step, or another version of claude-mem may have taken the file over.
fn in_transaction(db: &Connection, work: impl FnOnce(&Connection, &Shape) -> Result<()>) -> Result<()> {
    let transaction = Transaction::new_unchecked(db, TransactionBehavior::Immediate)?;
    let shape = Shape::read(&transaction)?;
    support::check(&shape)?;
    work(&transaction, &shape)?;
    Ok(transaction.commit()?)
}

impl Step {
    fn is_due(&self, shape: &Shape) -> Result<bool> {
        Ok((self.lacking)(shape)? || self.version.is_some_and(|version| !shape.recorded.contains(&version)))
    }

    fn complete(&self, db: &Connection, shape: &Shape) -> Result<()> {
        if (self.lacking)(shape)? {
            (self.mend)(db, shape)?;
        }
        if let Some(version) = self.version {
            db.execute(
                "INSERT OR IGNORE INTO schema_versions(version, applied_at) VALUES (?, ?)",
                (version, clock::iso8601(clock::now_epoch())),
            )?;
        }
        fault::point(self.fault);
        Ok(())
    }
}

/// claude-mem's tables that step `STEP` brings.
fn tables_of<const STEP: i64>() -> impl Iterator<Item = &'static Table> {
    TABLES.into_iter().filter(|table| table.since == STEP)
}

#[expect(clippy::unnecessary_wraps, reason = "one signature for all steps")]
fn lacks_tables<const STEP: i64>(shape: &Shape) -> Result<bool> {
    Ok(tables_of::<STEP>().any(|table| {
        !shape.has("table", table.name) || table.indexes.iter().any(|(index, _)| shape.object(index).is_none())
    }))
}

fn create_tables<const STEP: i64>(db: &Connection, shape: &Shape) -> Result<()> {
    for table in tables_of::<STEP>() {
        if !shape.has("table", table.name) {
            db.execute_batch(&table.create_as(table.name, &[]))?;
        }
        for index in table.indexes.iter().filter(|(index, _)| shape.object(index).is_none()) {
            db.execute_batch(&table.create_index(*index))?;
        }
    }
    Ok(())
}

/// Columns that step `STEP` adds to tables of an earlier one, and that the file does not have.
fn missing_columns<const STEP: i64>(shape: &Shape) -> impl Iterator<Item = (&'static Table, String)> {
    TABLES.into_iter().filter(|table| table.since < STEP && shape.has("table", table.name)).flat_map(|table| {
        let added = table.columns.iter().filter(|column| column.since == STEP);
        let missing = added.filter(|column| !shape.has_column(table.name, column.name));
        missing.map(move |column| (table, format!("{} {}", column.name, column.declared)))
    })
}

#[expect(clippy::unnecessary_wraps, reason = "one signature for all steps")]
fn lacks_columns<const STEP: i64>(shape: &Shape) -> Result<bool> {
    Ok(missing_columns::<STEP>(shape).next().is_some())
}

fn add_columns<const STEP: i64>(db: &Connection, shape: &Shape) -> Result<()> {
    for (table, column) in missing_columns::<STEP>(shape) {
        db.execute_batch(&format!("ALTER TABLE {} ADD COLUMN {column}", table.name))?;
    }
    Ok(())
}

/// Whether the table of observations, as it is declared, refuses a row without text or of the type `change`:
/// tried out on an empty table of the same declaration, since reading a CHECK would be guessing.
fn refuses_changes_without_text(shape: &Shape) -> Result<bool> {
    let Some(sql) = shape.object(OBSERVATIONS.name).and_then(|object| object.sql.as_deref()) else { return Ok(false) };
    let trial = Connection::open_in_memory()?;
    trial.execute_batch("PRAGMA foreign_keys=OFF")?;
    trial.execute_batch(sql)?;
    let tried = trial.execute(
        "INSERT INTO observations(sdk_session_id, project, type, created_at, created_at_epoch)
         VALUES ('', '', 'change', '', 0)",
        [],
    );
    match tried {
        Ok(_) => Ok(false),
        Err(error) if error.sqlite_error_code() == Some(rusqlite::ErrorCode::ConstraintViolation) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

fn lacks_full_text(table: &Table, shape: &Shape) -> bool {
    shape.has("table", table.name)
        && (!shape.has("table", &table.full_text())
            || table.triggers().iter().any(|(name, _)| !shape.has("trigger", name)))
}

/// Creates what is missing of the full-text table and its triggers, and fills it from the rows: while one of
/// them was missing it did not learn of every change.
fn create_full_text(db: &Connection, table: &Table, shape: &Shape) -> Result<()> {
    // The columns it indexes are all there: the steps before have seen to it.
    if !lacks_full_text(table, &Shape::read(db)?) {
        return Ok(());
    }
    let index = table.full_text();
    if !shape.has("table", &index) {
        db.execute_batch(&table.create_full_text())?;
    }
    db.execute_batch(&format!("INSERT INTO {index}({index}) VALUES ('rebuild')"))?;
    for (name, sql) in table.triggers() {
        if !shape.has("trigger", &name) {
            db.execute_batch(&sql)?;
        }
    }
    Ok(())
}
