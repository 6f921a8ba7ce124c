//! How long the JS thread stays awake for an answer that is about to come.
//!
//! To wake a thread that sleeps in the event loop costs whoever answers a system call, and on a core that has gone idle
//! some 50 µs: more than a short read takes. So for a call whose like was answered quickly the last time, the event loop
//! goes on turning for a moment, without sleeping and without anything in it waiting, and finds the answer by itself.

use std::{
    cell::Cell,
    panic::Location,
    thread::available_parallelism,
    time::{Duration, Instant},
};

use crate::eagerness::Eagerness;

/// How soon an answer must have come to be awaited like this: a search of a graph of vectors should be among them.
const SOON: Duration = Duration::from_micros(250);
/// How long it is awaited more than it took twice the last time.
const GRACE: Duration = Duration::from_micros(20);
/// Methods remembered. Two that share a place make a wrong guess now and then, no more.
const METHODS: usize = 128;

/// A call on its way: which method's, since when, and until when its answer is awaited.
#[derive(Clone, Copy)]
pub(super) struct Called {
    method: &'static Location<'static>,
    at: Instant,
    until: Option<Instant>,
}

impl Called {
    /// Whether the JS thread should stay awake for it.
    pub(super) const fn is_awaited(self) -> bool {
        self.until.is_some()
    }
}

/// What the JS thread knows of its calls.
pub(super) struct Pace {
    /// Methods whose last call was answered soon, by the address of their place in the source, and how soon.
    quick: [Cell<(usize, Duration)>; METHODS],
    /// Calls on their way whose answers are awaited, and until when.
    awaited: Cell<usize>,
    until: Cell<Option<Instant>>,
    eagerness: Cell<Eagerness>,
    /// On a single core an answer cannot come while this thread looks for it.
    cores: bool,
}

impl Pace {
    pub(super) fn new() -> Self {
        Self {
            quick: [const { Cell::new((0, Duration::ZERO)) }; METHODS],
            awaited: Cell::new(0),
            until: Cell::new(None),
            eagerness: Cell::default(),
            cores: available_parallelism().is_ok_and(|cores| cores.get() > 1),
        }
    }

    fn entry(&self, method: &'static Location<'static>) -> (&Cell<(usize, Duration)>, usize) {
        let address = std::ptr::from_ref(method).addr();
        // Locations lie one after the other.
        (&self.quick[address / size_of::<Location<'_>>() % METHODS], address)
    }

    /// A call begins.
    pub(super) fn called(&self, method: &'static Location<'static>) -> Called {
        let (entry, address) = self.entry(method);
        let (known, took) = entry.get();
        let at = Instant::now();
        let awaited = self.cores && known == address && self.eagerness.get().tries();
        let until = awaited.then(|| at + took * 2 + GRACE);
        if until.is_some() {
            self.awaited.set(self.awaited.get() + 1);
            self.until.set(self.until.get().max(until));
        }
        Called { method, at, until }
    }

    /// It was answered at `answered`.
    pub(super) fn settled(&self, called: Called, answered: Instant) {
        let (entry, address) = self.entry(called.method);
        let (known, took) = (entry.get().0 == address, answered.saturating_duration_since(called.at));
        let mut eagerness = self.eagerness.get();
        if let Some(until) = called.until {
            self.awaited.set(self.awaited.get().saturating_sub(1));
            eagerness.tried(answered <= until);
        } else if known {
            eagerness.missed(took < SOON);
        }
        self.eagerness.set(eagerness);
        if took < SOON {
            entry.set((address, took));
        } else if known {
            entry.set((0, Duration::ZERO));
        }
    }

    /// Whether an answer is awaited now.
    pub(super) fn awaits(&self) -> bool {
        self.awaited.get() > 0 && self.until.get().is_some_and(|until| Instant::now() < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(cores: bool) -> Pace {
        Pace { cores, ..Pace::new() }
    }

    #[test]
    fn only_what_was_answered_soon_is_awaited_and_not_for_long() {
        let (pace, method) = (pace(true), Location::caller());
        let answered = |called: Called, after: Duration| pace.settled(called, called.at + after);
        answered(pace.called(method), SOON / 2);
        answered(pace.called(method), SOON / 2);
        let third = pace.called(method);
        assert_eq!(third.until, Some(third.at + SOON + GRACE), "two have come soon");
        pace.until.set(Some(Instant::now() + Duration::from_secs(60)));
        assert!(pace.awaits());
        pace.until.set(Some(third.at));
        assert!(!pace.awaits(), "not for ever");
        pace.until.set(Some(Instant::now() + Duration::from_secs(60)));
        answered(third, SOON * 3);
        assert!(!pace.awaits(), "it was answered");
        assert!(!pace.called(method).is_awaited(), "it took long this time");
    }

    #[test]
    fn a_single_core_awaits_nothing() {
        let (pace, method) = (pace(false), Location::caller());
        for _ in 0..10 {
            let called = pace.called(method);
            assert!(!called.is_awaited());
            pace.settled(called, called.at);
        }
    }
}
