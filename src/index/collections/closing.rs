//! How a thread is waited for that is to end.

use std::{
    thread::JoinHandle,
    time::{Duration, Instant},
};

/// Waits until a thread has ended, at most `bound`; whatever it ended with.
pub(super) fn join_within(thread: JoinHandle<()>, bound: Duration) {
    let deadline = Instant::now() + bound;
    while !thread.is_finished() {
        if Instant::now() >= deadline {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    drop(thread.join());
}
