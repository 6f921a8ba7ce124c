//! Reading `native/index.db`: connections that notice when it was made anew, and the vectors in it as the source of those
//! in memory.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::{Connection, params};

use super::{
    model, schema, storage, table,
    vectors::{Row, Source},
};
use crate::{
    db::{self, Database, Opened, connection::Identity},
    embedder,
    error::{Code, Error, Result},
    settings::{Role, Settings},
};

/// Connections kept for the next search at most.
const KEPT: usize = 2;

/// The file, to be read by whoever searches.
pub struct Table {
    path: PathBuf,
    read_only: bool,
    /// Whether this memory can make the file anew: then it must hear of any doubt.
    owner: bool,
    model: embedder::Identity,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    closed: bool,
    connections: Vec<(Database, Option<Identity>)>,
}

impl Table {
    /// The file at `path`; only vectors of `model` are read.
    pub fn new(path: PathBuf, settings: &Settings, model: embedder::Identity) -> Self {
        let owner = settings.role == Role::Owner;
        Self { path, read_only: settings.read_only, owner, model, kept: Mutex::default() }
    }

    /// A connection for a reader thread. Before each read it is looked whether the file is still the same one; where
    /// there is none an empty index stands in.
    pub fn source(self: &Arc<Self>) -> db::Source {
        let table = Arc::clone(self);
        let mut known: Option<Identity> = None;
        let mut is_file = false;
        db::Source::on_demand(move |given| {
            if let Some(db) = given {
                // On Windows, where an open file cannot be replaced, there is no identity, and nothing to notice.
                if is_file && known.as_ref().is_none_or(|known| known.check(&db).is_ok()) {
                    return Ok(Opened::Watched { db, new: false });
                }
                if !is_file && !table.path.exists() {
                    return Ok(Opened::Watched { db, new: false });
                }
            }
            let opened = table.open()?;
            is_file = opened.is_some();
            let db = match opened {
                Some((db, identity)) => {
                    known = identity;
                    db
                }
                None => storage::stand_in()?,
            };
            Ok(Opened::Watched { db, new: true })
        })
    }

    /// The file, where there is one of this format with its tables.
    fn open(&self) -> Result<Option<(Database, Option<Identity>)>> {
        if std::fs::metadata(&self.path).map_or(0, |file| file.len()) == 0 {
            return Ok(None);
        }
        let opened = storage::open_reader(&self.path, self.read_only).and_then(|db| Ok((schema::is_current(&db)?, db)));
        match opened {
            Ok((true, db)) => {
                let identity = Identity::of(&db);
                Ok(Some((db, identity)))
            }
            Ok((false, _)) if self.owner => {
                Err(Error::new(Code::Corrupt, format!("{}: no index of this engine", self.path.display())))
            }
            // Of another engine, or just being made.
            Ok((false, _)) => Ok(None),
            // The owner makes another; until then there is none.
            Err(error) if storage::is_doubt(&error) && !self.owner => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Whether the vectors in the file are of the model in use.
    pub fn is_of_this_model(&self, db: &Connection) -> Result<bool> {
        Ok(self.other_model(db)?.is_none())
    }

    /// The model that the vectors in the file are of, where it is not the one in use.
    pub fn other_model(&self, db: &Connection) -> Result<Option<embedder::Identity>> {
        Ok(model::stored(db)?.filter(|stored| *stored != self.model))
    }

    /// Reads in one transaction on a connection of its own; nothing where there is no file.
    fn read(&self, read: impl FnOnce(&Connection) -> Result<()>) -> Result<()> {
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner).connections.pop();
        let usable = kept.filter(|(db, identity)| identity.as_ref().is_none_or(|identity| identity.check(db).is_ok()));
        let Some((db, identity)) = usable.map_or_else(|| self.open(), |usable| Ok(Some(usable)))? else {
            return Ok(());
        };
        let transaction = db.unchecked_transaction()?;
        let done = if self.is_of_this_model(&transaction)? { read(&transaction) } else { Ok(()) };
        drop(transaction);
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if !kept.closed && kept.connections.len() < KEPT {
            kept.connections.push((db, identity));
        }
        done
    }

    /// Lets go of connections to a file that is there no more.
    pub fn forget(&self) {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner).connections.clear();
    }

    /// Closes what is kept, and keeps nothing any more.
    pub fn close(&self) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.closed = true;
        kept.connections.clear();
    }
}

impl Source for Table {
    fn scan(&self, visit: &mut dyn FnMut(Row<'_>) -> Result<()>) -> Result<()> {
        self.read(|db| table::each_vector(db, visit))
    }

    fn of_groups(&self, groups: &[i64], visit: &mut dyn FnMut(Row<'_>) -> Result<()>) -> Result<()> {
        self.read(|db| {
            let mut statement = db.prepare_cached(
                "SELECT id, row_key, vector FROM documents WHERE row_key = ?1 AND vector IS NOT NULL",
            )?;
            for group in groups {
                let mut rows = statement.query(params![group])?;
                while let Some(row) = rows.next()? {
                    table::visit_vector(row, visit)?;
                }
            }
            Ok(())
        })
    }
}
