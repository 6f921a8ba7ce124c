//! Hidden injection points, compiled only into the unit tests and the test build (`--features fault-injection`); elsewhere
//! [`point`] is an empty function that disappears.
//!
//! A test arms a point with the environment variable `CLAUDE_MEM_NATIVE_FAULT`, a list of `name=action`
//! separated by commas. Actions: `panic`, `panic-once`, `abort` (as SIGKILL would), `sleep-<ms>`.

/// Does what the environment says for the injection point `name`.
#[cfg(not(any(test, feature = "fault-injection")))]
#[inline]
pub fn point(_name: &str) {}

/// Does what the environment says for the injection point `name`.
#[cfg(any(test, feature = "fault-injection"))]
#[expect(clippy::panic, reason = "injecting a panic is what this is for")]
pub fn point(name: &str) {
    use std::sync::Mutex;
    static SPENT: Mutex<Vec<String>> = Mutex::new(Vec::new());
    let Ok(list) = std::env::var("CLAUDE_MEM_NATIVE_FAULT") else { return };
    let Some(action) = list.split(',').filter_map(|entry| entry.split_once('=')).find(|(point, _)| *point == name)
    else {
        return;
    };
    match action.1 {
        "panic" => panic!("injected at {name}"),
        "panic-once" => {
            let mut spent = SPENT.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
            if !spent.iter().any(|point| point == name) {
                spent.push(name.to_owned());
                drop(spent);
                panic!("injected once at {name}");
            }
        }
        "abort" => std::process::abort(),
        other => {
            if let Some(ms) = other.strip_prefix("sleep-").and_then(|ms| ms.parse().ok()) {
                std::thread::sleep(std::time::Duration::from_millis(ms));
            }
        }
    }
}
