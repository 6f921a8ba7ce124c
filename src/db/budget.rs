//! How many bytes of writes may be in flight.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::error::{Code, Error, Result};

/// Bytes of commands in flight over all writers of a memory, against a limit.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    used: AtomicUsize,
}

impl Budget {
    /// A budget of `limit` bytes.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { limit, used: AtomicUsize::new(0) }
    }

    /// Bytes in flight now.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    pub(super) fn admit(&self, bytes: usize) -> Result<()> {
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                // One command is always admitted, however large; and beside it what has no payload, such as the
                // claims and commits that make room.
                (used == 0 || bytes == 0 || used + bytes <= self.limit).then_some(used + bytes)
            })
            .map(drop)
            .map_err(|used| {
                Error::new(
                    Code::Busy,
                    format!(
                        "{used} bytes of writes are in flight and {bytes} more would exceed the limit of {} bytes; \
                         await some of them first or raise maxInFlightBytes",
                        self.limit
                    ),
                )
                .with("inFlightBytes", used)
                .with("bytes", bytes)
                .with("limit", self.limit)
            })
    }

    pub(super) fn release(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}
