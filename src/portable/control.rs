//! How an operation on a whole memory tells how far it is, and hears that it shall stop.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use crate::error::{Error, Result};

/// The worker's side of a long operation.
pub struct Control {
    cancelled: Arc<AtomicBool>,
    report: Box<dyn Fn(u64, u64) + Send>,
}

impl Control {
    /// One that tells `report` what is done and how much there is, and stops where `cancelled` is set.
    pub fn new(cancelled: Arc<AtomicBool>, report: impl Fn(u64, u64) + Send + 'static) -> Self {
        Self { cancelled, report: Box::new(report) }
    }

    /// One that nobody watches.
    #[must_use]
    pub fn unwatched() -> Self {
        Self::new(Arc::default(), |_, _| {})
    }

    /// Tells how far it is; an error where it shall stop.
    ///
    /// # Errors
    /// `ERR_DISPOSED`.
    pub fn progress(&self, done: u64, total: u64) -> Result<()> {
        (self.report)(done, total);
        if self.cancelled.load(Ordering::Relaxed) { Err(Error::disposed("job")) } else { Ok(()) }
    }
}
