//! Hidden injection points, compiled only into the unit tests and the test build (`--features fault-injection`); elsewhere
//! [`point`] is an empty function that disappears.
//!
//! A test arms a point with the environment variable `CLAUDE_MEM_NATIVE_FAULT`, a list of `name=action`
//! separated by commas. Actions: `panic`, `panic-once`, `abort` (as SIGKILL would), `abort-<n>` (the n-th time),
//! `sleep-<ms>`.

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
