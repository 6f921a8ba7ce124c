//! The format of a file that is ours alone, and how an older one becomes one of today's.
//!
//! The version is `PRAGMA user_version`. A new file runs every step, an older one those that it lacks, in one
//! transaction; a newer one is refused and left as it was.

use std::path::Path;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::{
    Database,
    connection::{self, naming},
};
use crate::error::{Code, Error, Result};

/// What a file of ours is made of.
pub struct Format {
    /// `steps[n]` makes format n + 1 out of format n. A step that was released never changes.
    pub steps: &'static [&'static str],
    /// What one starts with where the file is moved away: `an empty queue`.
    pub fresh: &'static str,
}

impl Format {
    /// Opens the file at `path` read-write in today's format, creating it where it is missing.
    ///
    /// # Errors
    /// `ERR_SCHEMA_UNSUPPORTED` where a later engine wrote it; as [`connection::open_writer`].
    pub fn open(&self, path: &Path, secure_delete: bool) -> Result<Database> {
        connection::create_private(path)?;
        // auto_vacuum must stand before the first table, and before WAL. Said again of a file that has it, it would be a
        // transaction with all its fsyncs.
        let fresh = std::fs::metadata(path).is_ok_and(|file| file.len() == 0);
        let mut db =
            connection::open_gathering_writer(path, if fresh { "PRAGMA auto_vacuum=INCREMENTAL" } else { "" })?;
        naming(path, || {
            db.execute_batch(if secure_delete { "PRAGMA secure_delete=ON" } else { "PRAGMA secure_delete=OFF" })?;
            self.bring_up(&mut db)
        })?;
        Ok(db)
    }

    /// An empty one in memory, for whoever reads a file that is missing.
    ///
    /// # Errors
    /// What SQLite answers.
    pub fn stand_in(&self) -> Result<Database> {
        let mut db = Connection::open_in_memory()?;
        self.bring_up(&mut db)?;
        Ok(db.into())
    }

    /// Whether the open file at `path` can be read as it is; not yet where somebody is just creating it.
    ///
    /// # Errors
    /// `ERR_SCHEMA_UNSUPPORTED` where its format is another: a reader changes none.
    pub fn is_ready(&self, db: &Connection, path: &Path) -> Result<bool> {
        let current = self.current();
        naming(path, || match version(db)? {
            found if found == current => Ok(true),
            0 => Ok(false),
            older if (1..current).contains(&older) => Err(self.unsupported(
                older,
                &format!(
                    "has format {older}, this engine reads {current}; whoever writes it next, as the worker does when \
                          it starts, brings it up to date"
                ),
            )),
            newer => Err(self.too_new(newer)),
        })
    }

    /// The format that this engine writes.
    #[must_use]
    pub fn current(&self) -> i64 {
        i64::try_from(self.steps.len()).unwrap_or(i64::MAX)
    }

    fn bring_up(&self, db: &mut Connection) -> Result<()> {
        if version(db)? == self.current() {
            return Ok(());
        }
        let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        for step in self.missing_steps(&transaction)? {
            transaction.execute_batch(step)?;
        }
        transaction.pragma_update(None, "user_version", self.current())?;
        Ok(transaction.commit()?)
    }

    /// The steps that this file lacks.
    fn missing_steps(&self, db: &Transaction<'_>) -> Result<&'static [&'static str]> {
        let found = version(db)?;
        let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))?;
        if found == 0 && tables > 0 {
            return Err(self.unsupported(
                found,
                &format!(
                    "is another program's database: it has tables and no format of ours; move it away to start with {}",
                    self.fresh
                ),
            ));
        }
        usize::try_from(found).ok().and_then(|found| self.steps.get(found..)).ok_or_else(|| self.too_new(found))
    }

    fn too_new(&self, found: i64) -> Error {
        self.unsupported(
            found,
            &format!(
                "has format {found}, this engine knows up to {}; install a newer claude-mem-native, or move the file \
                 away to start with {}",
                self.current(),
                self.fresh
            ),
        )
    }

    fn unsupported(&self, found: i64, what: &str) -> Error {
        Error::new(Code::SchemaUnsupported, format!("this file {what}; nothing was changed"))
            .with("format", found)
            .with("supportedFormat", self.current())
    }
}

fn version(db: &Connection) -> Result<i64> {
    Ok(db.query_row("PRAGMA user_version", [], |row| row.get(0))?)
}
