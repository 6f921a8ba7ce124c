//! Which documents of a collection filters let through, remembered for as long as nobody writes to it.
//!
//! To have the whole set costs a walk through the metadata, which for a filter that lets many through takes longer than
//! a search. So the first time such a filter is asked for, the nearest documents are asked one by one; only where it
//! comes again its set is made.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rusqlite::Connection;

use super::{reading, where_filter::Filter};
use crate::{error::Result, index::vectors::IdSet};

/// Filters that are remembered at most.
const FILTERS: usize = 16;
/// Documents in all their sets at most: 8 MB where they lie far apart, else a bit each.
const DOCUMENTS: usize = 1_000_000;
/// A set of so many is made at once.
const FEW: usize = 256;
/// And one of this share of all documents.
const SHARE: usize = 32;

/// What a filter lets through.
#[derive(Debug, Clone)]
pub enum Admitted {
    /// These.
    Set(Arc<IdSet>),
    /// Many: each is to be asked about.
    Many,
}

/// The filters asked for last, the last one at the end.
#[derive(Default)]
pub struct FilterSets(Mutex<Vec<(Filter, Admitted)>>);

impl FilterSets {
    /// What `filter` lets through in a collection of so many documents, as the transaction of `db` sees it.
    ///
    /// # Errors
    /// What SQLite answers.
    pub fn admitted(&self, db: &Connection, collection: i64, filter: &Filter, documents: usize) -> Result<Admitted> {
        let admitted = match self.known(filter) {
            Some(Admitted::Set(set)) => return Ok(Admitted::Set(set)),
            None if !reading::is_selective(db, collection, filter, FEW.max(documents / SHARE))? => Admitted::Many,
            _ => Admitted::Set(Arc::new(reading::admitted(db, collection, filter)?)),
        };
        self.remember(filter, &admitted);
        Ok(admitted)
    }

    /// What is remembered of a filter, which is then the last that was asked for.
    fn known(&self, filter: &Filter) -> Option<Admitted> {
        let mut known = self.lock();
        let place = known.iter().position(|(other, _)| other == filter)?;
        known[place..].rotate_left(1);
        known.last().map(|(_, admitted)| admitted.clone())
    }

    fn remember(&self, filter: &Filter, admitted: &Admitted) {
        let size = |admitted: &Admitted| if let Admitted::Set(set) = admitted { set.len() } else { 0 };
        if size(admitted) > DOCUMENTS {
            return;
        }
        let mut known = self.lock();
        // Another search may have come to know it meanwhile.
        known.retain(|(other, _)| other != filter);
        known.push((filter.clone(), admitted.clone()));
        while known.len() > FILTERS || known.iter().map(|(_, admitted)| size(admitted)).sum::<usize>() > DOCUMENTS {
            known.remove(0);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<(Filter, Admitted)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
