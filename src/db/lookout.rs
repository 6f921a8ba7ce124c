//! How a thread stays awake for a moment after its work.
//!
//! To wake a thread costs a system call, and on a core that has gone idle some 50 µs until it runs: far more than a
//! short read. So a thread that has just worked looks for more before it sleeps, where more has come quickly of late.

use std::{
    thread::available_parallelism,
    time::{Duration, Instant},
};

use crate::eagerness::Eagerness;

/// How long a thread looks for more. Until an answer has become a JavaScript value and the next call is there, 20 to
/// 60 µs go by. Measured with one read after the other: this halves the processor time of each, as it costs less than
/// to sleep and to be woken.
const LOOK: Duration = Duration::from_micros(100);
/// Looks between two at the clock.
const LOOKS: u32 = 32;

/// What one thread has learnt about when its work comes.
#[derive(Debug)]
pub struct Lookout {
    eagerness: Eagerness,
    /// When the last work was done.
    worked: Option<Instant>,
    /// Whether it has looked since.
    looked: bool,
    /// On a single core nothing can come while this thread looks.
    cores: bool,
}

impl Lookout {
    /// For a thread that has done nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self {
            eagerness: Eagerness::default(),
            worked: None,
            looked: false,
            cores: available_parallelism().is_ok_and(|cores| cores.get() > 1),
        }
    }

    /// Work was done.
    pub fn worked(&mut self) {
        (self.worked, self.looked) = (Some(Instant::now()), false);
    }

    /// Whether to [look](Self::look): not twice after the same work, and only where it pays.
    #[must_use]
    pub const fn looks(&self) -> bool {
        self.cores && !self.looked && self.eagerness.tries()
    }

    /// Returns once `come` says so, or after 100 µs.
    pub fn look(&mut self, come: impl Fn() -> bool) {
        self.looked = true;
        let end = Instant::now() + LOOK;
        while Instant::now() < end {
            for _ in 0..LOOKS {
                if come() {
                    return;
                }
                std::hint::spin_loop();
            }
        }
    }

    /// The next work came at `at`.
    pub fn came(&mut self, at: Instant) {
        let soon = self.worked.is_some_and(|worked| at.saturating_duration_since(worked) < LOOK);
        if self.looked {
            self.eagerness.tried(soon);
        } else {
            self.eagerness.missed(soon);
        }
    }
}

impl Default for Lookout {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_looks_once_after_work_and_only_where_the_last_came_soon() {
        let mut lookout = Lookout { cores: true, ..Lookout::new() };
        assert!(!lookout.looks(), "nothing has come yet");
        let comes = |lookout: &mut Lookout, after: Duration| {
            lookout.worked();
            lookout.came(lookout.worked.unwrap() + after);
        };
        comes(&mut lookout, LOOK / 2);
        lookout.worked();
        assert!(lookout.looks());
        lookout.look(|| true);
        assert!(!lookout.looks(), "it has looked");
        let since = Instant::now();
        lookout.look(|| false);
        assert!(since.elapsed() >= LOOK, "until the end");
        lookout.came(lookout.worked.unwrap() + LOOK / 2);
        lookout.worked();
        assert!(lookout.looks(), "that paid");
        lookout.came(lookout.worked.unwrap() + LOOK);
        lookout.worked();
        assert!(!lookout.looks(), "the last one came late");
        comes(&mut lookout, LOOK / 2);
        lookout.worked();
        assert!(!Lookout { cores: false, ..lookout }.looks());
    }
}
