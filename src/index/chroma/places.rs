//! Where the vector of each id lies.

use std::{collections::HashMap, path::Path, sync::Arc};

use super::{corrupt, limits, report::LeftOut};
use crate::error::Result;

/// Where a vector lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Source {
    /// In this row of `data_level0.bin`.
    Row(u32),
    /// In the log, under this sequence number.
    Log(i64),
    /// Nowhere that can be trusted.
    Nowhere(LeftOut),
}

/// What is known of an id that the index or the log names.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub source: Source,
    /// The last sequence number that this knowledge includes; `i64::MAX` where that cannot be told.
    pub upto: i64,
    /// Met while iterating `embeddings`.
    pub met: bool,
}

/// The places by id: held in memory, unlike vectors and texts.
#[derive(Debug, Default)]
pub(super) struct Places {
    by_id: HashMap<Arc<str>, Place>,
}

impl Places {
    pub fn get(&self, id: &str) -> Option<&Place> {
        self.by_id.get(id)
    }

    pub fn get_mut(&mut self, id: &str) -> Option<&mut Place> {
        self.by_id.get_mut(id)
    }

    /// Sets the place of `id`, which `file` names.
    pub fn set(&mut self, file: &Path, id: &Arc<str>, source: Source, upto: i64) -> Result<()> {
        if self.by_id.len() >= limits::DOCUMENTS && !self.by_id.contains_key(id) {
            return Err(corrupt(file, "ids", format!("more than {} documents", limits::DOCUMENTS)));
        }
        self.by_id.insert(Arc::clone(id), Place { source, upto, met: false });
        Ok(())
    }

    pub fn remove(&mut self, id: &str) -> bool {
        self.by_id.remove(id).is_some()
    }

    pub fn forget_met(&mut self) {
        self.by_id.values_mut().for_each(|place| place.met = false);
    }

    pub fn not_met(&self) -> impl Iterator<Item = &str> {
        self.by_id.iter().filter(|(_, place)| !place.met).map(|(id, _)| &**id)
    }
}
