//! What the threads of the index and whoever calls it have in common.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
};

use rusqlite::{Connection, InterruptHandle};

use super::{
    Figures,
    reading::Table,
    table::Changes,
    vectors::{Entry, VectorIndex, vector},
};
use crate::{
    embedder::{Embedder, Identity},
    error::Result,
    settings::Settings,
};

/// What the threads have in common.
pub(super) struct Shared {
    pub(super) settings: Arc<Settings>,
    /// `native/index.db`.
    pub(super) path: PathBuf,
    /// `claude-mem.db`.
    pub(super) database: PathBuf,
    pub(super) embedder: Arc<dyn Embedder>,
    pub(super) own_commits: Box<dyn Fn() -> i64 + Send + Sync>,
    pub(super) vectors: Arc<VectorIndex>,
    pub(super) table: Arc<Table>,
    pub(super) figures: Mutex<Figures>,
    /// Counts the files there have been: whoever has an older one open opens it again.
    pub(super) generation: AtomicU64,
    pub(super) closing: AtomicBool,
    pub(super) verified: AtomicBool,
    /// Transactions that changed vectors.
    pub(super) vector_changes: AtomicU64,
    /// Jobs that want everything embedded.
    pub(super) syncs: AtomicUsize,
    pub(super) interrupt: Mutex<Option<InterruptHandle>>,
}

impl Shared {
    pub(super) fn figures(&self) -> Figures {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut Figures)) {
        change(&mut self.figures.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Takes changes that were committed into figures and memory.
    pub(super) fn take(&self, changes: &Changes) -> Result<()> {
        self.update(|figures| {
            figures.counts.add(changes);
            figures.removed += changes.gone.len() as u64;
        });
        self.vectors.remove(&changes.gone);
        if !(changes.gone.is_empty() && changes.placed.is_empty()) {
            self.vector_changes.fetch_add(1, Ordering::AcqRel);
        }
        if changes.placed.is_empty() || self.figures().other_model.is_some() {
            return Ok(());
        }
        let dimensions = self.vectors.dimensions();
        let placed = changes.placed.iter();
        let vectors: Vec<Vec<f32>> =
            placed.clone().map(|(_, _, blob)| vector::from_blob(blob, dimensions)).collect::<Result<_>>()?;
        let entries: Vec<Entry<'_>> =
            placed.zip(&vectors).map(|((id, key, _), vector)| Entry { id: *id, group: key.0, vector }).collect();
        self.vectors.put(&entries)
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    pub(super) fn vector_changes(&self) -> u64 {
        self.vector_changes.load(Ordering::Acquire)
    }

    pub(super) fn is_syncing(&self) -> bool {
        self.syncs.load(Ordering::Acquire) > 0
    }

    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    pub(super) fn next_generation(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.table.forget();
    }

    pub(super) fn set_other_model(&self, model: Option<Identity>) {
        self.update(|figures| figures.other_model = model);
        self.verified.store(false, Ordering::Release);
    }

    pub(super) fn set_verified(&self) {
        self.verified.store(true, Ordering::Release);
    }

    pub(super) fn watch(&self, db: &Connection) {
        *self.interrupt.lock().unwrap_or_else(PoisonError::into_inner) = Some(db.get_interrupt_handle());
    }

    pub(super) fn watch_nothing(&self) {
        *self.interrupt.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    pub(super) fn interrupt(&self) {
        // Held for moments only, while the file is opened or closed; then there is no statement to interrupt.
        if let Ok(interrupt) = self.interrupt.try_lock()
            && let Some(handle) = &*interrupt
        {
            handle.interrupt();
        }
    }
}
