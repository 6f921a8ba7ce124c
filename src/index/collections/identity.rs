//! Whether a collection's vectors are of the model in use. A name can lie, so what the model makes of a few texts is
//! kept with the collection, and compared once in each memory.

use std::{
    collections::HashSet,
    sync::{Mutex, OnceLock, PoisonError},
};

use rusqlite::{Connection, OptionalExtension, params};

use crate::{
    embedder::{Embedder, probes},
    error::Result,
};

/// Compares, once for each collection.
#[derive(Default)]
pub struct Probed {
    made: OnceLock<Vec<Vec<f32>>>,
    agreed: Mutex<HashSet<i64>>,
}

/// What is known of a collection's vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// They are of the model in use.
    Same,
    /// None were stored yet, or by an engine that kept no probes: the model in use is taken at its name.
    Unknown,
    /// They are of another model of the same name.
    Other,
}

impl Probed {
    /// Whose vectors a collection has. Loads the model where that is not known yet.
    ///
    /// # Errors
    /// `ERR_NO_MODEL`; what SQLite answers.
    pub fn compare(&self, db: &Connection, collection: i64, embedder: &dyn Embedder) -> Result<Verdict> {
        if self.agreed.lock().unwrap_or_else(PoisonError::into_inner).contains(&collection) {
            return Ok(Verdict::Same);
        }
        let ours = self.made(embedder)?;
        Ok(match stored(db, collection)? {
            None => Verdict::Unknown,
            Some(stored) if probes::same_model(&stored, ours) => {
                self.agreed.lock().unwrap_or_else(PoisonError::into_inner).insert(collection);
                Verdict::Same
            }
            Some(_) => Verdict::Other,
        })
    }

    /// Whether [`Self::compare`] needs no model any more to answer for a collection.
    pub fn is_known(&self, collection: i64) -> bool {
        self.made.get().is_some() || self.agreed.lock().unwrap_or_else(PoisonError::into_inner).contains(&collection)
    }

    /// What the model in use makes of the probes.
    ///
    /// # Errors
    /// `ERR_NO_MODEL`.
    pub fn made(&self, embedder: &dyn Embedder) -> Result<&[Vec<f32>]> {
        if let Some(made) = self.made.get() {
            return Ok(made);
        }
        // Whoever comes at the same time makes the same.
        let made = embedder.probes()?;
        Ok(self.made.get_or_init(|| made))
    }
}

fn stored(db: &Connection, collection: i64) -> Result<Option<Vec<Vec<f32>>>> {
    let bytes: Option<Option<Vec<u8>>> = db
        .prepare_cached("SELECT probes FROM collections WHERE id = ?1")?
        .query_row([collection], |row| row.get(0))
        .optional()?;
    Ok(bytes.flatten().map(|bytes| probes::from_bytes(&bytes)))
}

/// Notes what the model of a collection's vectors makes of the probes.
///
/// # Errors
/// What SQLite answers.
pub fn store(db: &Connection, collection: i64, made: &[Vec<f32>]) -> Result<()> {
    db.prepare_cached("UPDATE collections SET probes = ?2 WHERE id = ?1")?
        .execute(params![collection, probes::to_bytes(made)])?;
    Ok(())
}
