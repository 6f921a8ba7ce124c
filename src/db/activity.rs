//! What the threads of one memory are at: the slowest recent operations, by name, and how many threads still run.

use std::{
    sync::{Arc, Condvar, Mutex, PoisonError},
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

/// Remembers the slowest run of each operation, bounded to a few names, and counts the threads.
#[derive(Debug, Default)]
pub struct Activity {
    slowest: Mutex<Vec<Slowest>>,
    threads: Mutex<usize>,
    ended: Condvar,
}

/// A thread that runs, or is about to. It is moved into the thread and dropped last: after the files it had open.
#[derive(Debug)]
pub struct Running(Arc<Activity>);

impl Activity {
    /// Notes that `name` took `took`.
    pub fn record(&self, name: &'static str, took: Duration) {
        // Below a millisecond nothing is worth a lock.
        if took < Duration::from_millis(1) {
            return;
        }
        let now = Instant::now();
        let mut list = self.slowest.lock().unwrap_or_else(PoisonError::into_inner);
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
        self.slowest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Counts a thread in, until the answer is dropped.
    #[must_use]
    pub fn thread(self: &Arc<Self>) -> Running {
        *self.threads.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Running(Arc::clone(self))
    }

    /// Waits until no thread runs, at most until `deadline`; whether none does. Where a memory is only
    /// garbage-collected nobody joins its threads: each closes its files and ends by itself.
    pub fn wait_until_ended(&self, deadline: Instant) -> bool {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        while *threads > 0 {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            threads = self.ended.wait_timeout(threads, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut threads = self.0.threads.lock().unwrap_or_else(PoisonError::into_inner);
        *threads = threads.saturating_sub(1);
        if *threads == 0 {
            self.0.ended.notify_all();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_for_the_last_thread_within_its_bound() {
        let activity = Arc::new(Activity::default());
        assert!(activity.wait_until_ended(Instant::now()), "none runs");
        let (running, other) = (activity.thread(), activity.thread());
        drop(other);
        assert!(!activity.wait_until_ended(Instant::now() + Duration::from_millis(1)));
        let (go, gone) = crossbeam_channel::bounded::<()>(0);
        let thread = std::thread::spawn(move || {
            gone.recv().unwrap();
            drop(running);
        });
        go.send(()).unwrap();
        assert!(activity.wait_until_ended(Instant::now() + Duration::from_secs(60)));
        thread.join().unwrap();
    }
}
