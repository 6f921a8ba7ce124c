//! Hidden injection points, compiled only into the unit tests and the test build (`--features fault-injection`); elsewhere
//! [`point`] is an empty function that disappears.
//!
//! A test arms a point with the environment variable `CLAUDE_MEM_NATIVE_FAULT`, a list of `name=action`
//! separated by commas. Actions: `panic`, `panic-once`, `abort` (as SIGKILL would), `abort-<n>` (the n-th time),
//! `sleep-<ms>`. Beside them: a wall clock that a test sets ([`set_wall_clock_offset`]), and the writers' logs, whose
//! writes and fsyncs are counted and can be made to fail ([`disk`]).

#[cfg(any(test, feature = "fault-injection"))]
pub mod disk;

#[cfg(any(test, feature = "fault-injection"))]
use std::sync::atomic::{AtomicI64, Ordering};

#[cfg(any(test, feature = "fault-injection"))]
pub use disk::{committed, watch};

#[cfg(any(test, feature = "fault-injection"))]
static WALL_CLOCK_OFFSET: AtomicI64 = AtomicI64::new(0);

/// By how much the wall clock is wrong, ms.
#[cfg(any(test, feature = "fault-injection"))]
pub fn wall_clock_offset() -> i64 {
    WALL_CLOCK_OFFSET.load(Ordering::Relaxed)
}

/// By how much the wall clock is wrong, ms.
#[cfg(not(any(test, feature = "fault-injection")))]
#[inline]
pub const fn wall_clock_offset() -> i64 {
    0
}

/// Sets the wall clock of this process wrong by `ms`, as somebody who changes the time of the machine would.
#[cfg(any(test, feature = "fault-injection"))]
pub fn set_wall_clock_offset(ms: i64) {
    WALL_CLOCK_OFFSET.store(ms, Ordering::Relaxed);
}

/// Watches the log of a write connection; see `disk`.
#[cfg(not(any(test, feature = "fault-injection")))]
#[inline]
pub fn watch(_db: &rusqlite::Connection) {}

/// Notes a COMMIT and the commands in it; see `disk`.
#[cfg(not(any(test, feature = "fault-injection")))]
#[inline]
pub fn committed<I>(_db: &rusqlite::Connection, _commands: impl FnOnce() -> I) {}

/// Does what the environment says for the injection point `name`.
#[cfg(not(any(test, feature = "fault-injection")))]
#[inline]
pub fn point(_name: &str) {}

/// [`point`] for each command of a group, called `<stage>:<command>`.
#[cfg(not(any(test, feature = "fault-injection")))]
#[inline]
pub fn stage<I>(_stage: &str, _commands: impl FnOnce() -> I) {}

/// [`point`] for each command of a group, called `<stage>:<command>`.
#[cfg(any(test, feature = "fault-injection"))]
pub fn stage<'a, I: Iterator<Item = &'a str>>(stage: &str, commands: impl FnOnce() -> I) {
    if std::env::var_os("CLAUDE_MEM_NATIVE_FAULT").is_some() {
        for command in commands() {
            point(&format!("{stage}:{command}"));
        }
    }
}

/// Does what the environment says for the injection point `name`.
#[cfg(any(test, feature = "fault-injection"))]
#[expect(clippy::panic, reason = "injecting a panic is what this is for")]
pub fn point(name: &str) {
    use std::sync::Mutex;
    static PASSED: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let pass = || {
        let mut passed = PASSED.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        passed.push(name.to_owned());
        passed.iter().filter(|point| *point == name).count()
    };
    let Ok(list) = std::env::var("CLAUDE_MEM_NATIVE_FAULT") else { return };
    let Some(action) = list.split(',').filter_map(|entry| entry.split_once('=')).find(|(point, _)| *point == name)
    else {
        return;
    };
    match action.1 {
        "panic" => panic!("injected at {name}"),
        "panic-once" => {
            if pass() == 1 {
                panic!("injected once at {name}");
            }
        }
        "abort" => std::process::abort(),
        other => {
            if let Some(ms) = other.strip_prefix("sleep-").and_then(|ms| ms.parse().ok()) {
                std::thread::sleep(std::time::Duration::from_millis(ms));
            }
            if other.strip_prefix("abort-").is_some_and(|number| number.parse() == Ok(pass())) {
                std::process::abort();
            }
        }
    }
}
