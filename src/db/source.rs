//! Where a thread gets its connection: it has one from the start, or opens it when the first job needs it.

use std::sync::{Arc, Mutex, PoisonError};

use rusqlite::{Connection, InterruptHandle};

use super::Database;
use crate::error::{Error, Result};

/// What opening came to.
pub enum Opened {
    /// The file.
    File(Database),
    /// The file is missing: an empty database in memory stands in for it, and the file is looked for again
    /// before each job.
    StandIn(Database),
    /// A file that may be thrown away and made anew at any time: it is looked for again before each job, and `new` says
    /// whether this is another connection than the one that was given back.
    Watched {
        /// The connection.
        db: Database,
        /// Whether it was opened just now.
        new: bool,
    },
}

/// Opens, or looks again; it is given the stand-in of the last time back.
type Open = Box<dyn FnMut(Option<Database>) -> Result<Opened> + Send>;

/// By which whoever closes the thread ends what it is at.
#[derive(Clone, Default)]
pub struct Interrupts(Arc<Mutex<Vec<InterruptHandle>>>);

impl Interrupts {
    /// Interrupts what runs now. Of connections that are closed already nothing happens.
    pub fn interrupt(&self) {
        for handle in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            handle.interrupt();
        }
    }

    fn add(&self, db: &Connection) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(db.get_interrupt_handle());
    }
}

/// A connection, or how to get one.
pub struct Source {
    db: Option<Database>,
    stands_in: bool,
    open: Option<Open>,
    interrupts: Interrupts,
}

impl Source {
    /// A connection that is open already.
    #[must_use]
    pub fn of(db: Database) -> Self {
        Self { db: Some(db), stands_in: false, open: None, interrupts: Interrupts::default() }
    }

    /// One that `open` opens when it is first needed. Where that fails the job is told, and the next one tries
    /// again.
    #[must_use]
    pub fn on_demand(open: impl FnMut(Option<Database>) -> Result<Opened> + Send + 'static) -> Self {
        Self { db: None, stands_in: false, open: Some(Box::new(open)), interrupts: Interrupts::default() }
    }

    /// Whether the connection is opened when it is first needed.
    #[must_use]
    pub fn is_on_demand(&self) -> bool {
        self.open.is_some()
    }

    /// Has `interrupts` know the connection, once it is open.
    pub fn interrupted_by(&mut self, interrupts: &Interrupts) {
        self.interrupts = interrupts.clone();
        if let Some(db) = &self.db {
            interrupts.add(db);
        }
    }

    /// The connection.
    ///
    /// # Errors
    /// What opening it fails with.
    pub fn get(&mut self) -> Result<&Connection> {
        if self.db.is_none() || self.stands_in {
            self.look()?;
        }
        self.db.as_deref().ok_or_else(|| Error::disposed("memory"))
    }

    /// The connection to keep.
    ///
    /// # Errors
    /// As [`Source::get`]. It may be called again after an error.
    pub fn take(&mut self) -> Result<Database> {
        self.get()?;
        self.db.take().ok_or_else(|| Error::disposed("memory"))
    }

    fn look(&mut self) -> Result<()> {
        let open = self.open.as_mut().ok_or_else(|| Error::disposed("memory"))?;
        let stood_in = self.stands_in;
        let (db, stands_in, new) = match open(self.db.take())? {
            Opened::File(db) => (db, false, true),
            Opened::StandIn(db) => (db, true, !stood_in),
            Opened::Watched { db, new } => (db, true, new),
        };
        if new {
            self.interrupts.add(&db);
        }
        (self.db, self.stands_in) = (Some(db), stands_in);
        Ok(())
    }
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("open", &self.db.is_some()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stand_in_is_left_as_soon_as_the_file_is_there() {
        let mut looks = 0;
        let mut source = Source::on_demand(move |stand_in| {
            looks += 1;
            match looks {
                1 => Err(Error::internal("not yet")),
                2 => Ok(Opened::StandIn(Connection::open_in_memory()?.into())),
                3 => Ok(Opened::StandIn(stand_in.unwrap())),
                4 => Ok(Opened::File(Connection::open_in_memory()?.into())),
                _ => Err(Error::internal("asked again of a file that is open")),
            }
        });
        assert!(source.get().is_err());
        source.get().unwrap().execute_batch("CREATE TABLE stood_in(x)").unwrap();
        assert!(source.get().unwrap().table_exists(None, "stood_in").unwrap(), "the same one");
        assert!(!source.get().unwrap().table_exists(None, "stood_in").unwrap(), "the file");
        assert!(source.get().is_ok() && source.take().is_ok());
    }
}
