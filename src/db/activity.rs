//! The slowest recent operations, by name.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// How many names are kept.
const NAMES: usize = 10;
/// How long a slow one is remembered.
const RECENT: Duration = Duration::from_secs(600);

/// One entry: the slowest run of a name within the last ten minutes.
#[derive(Debug, Clone)]
pub struct Slowest {
    /// The operation.
    pub name: &'static str,
    /// From the call to its settling, waiting included.
    pub took: Duration,
    /// When it ended.
    pub at: Instant,
}

/// Remembers the slowest run of each operation; bounded to a few names.
#[derive(Debug, Default)]
pub struct Activity(Mutex<Vec<Slowest>>);

impl Activity {
    /// Notes that `name` took `took`.
    pub fn record(&self, name: &'static str, took: Duration) {
        // Below a millisecond nothing is worth a lock.
        if took < Duration::from_millis(1) {
            return;
        }
        let now = Instant::now();
        let mut list = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        list.retain(|entry| now.duration_since(entry.at) < RECENT);
        match list.iter_mut().find(|entry| entry.name == name) {
            Some(entry) if entry.took >= took => return,
            Some(entry) => *entry = Slowest { name, took, at: now },
            None => list.push(Slowest { name, took, at: now }),
        }
        list.sort_by_key(|entry| std::cmp::Reverse(entry.took));
        list.truncate(NAMES);
    }

    /// The list, slowest first.
    #[must_use]
    pub fn slowest(&self) -> Vec<Slowest> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
