//! Which databases this process has open.
//!
//! On POSIX systems a process that closes any descriptor of a file loses all locks it holds on it. SQLite knows
//! this of its own descriptors; whoever looks at a file with others (as the schema's inspection does, which must
//! leave no trace) has to know that no connection of this process is open to it. An owner and clients may well
//! live in one process.

use std::{
    collections::HashMap,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

/// How often each is held. The counts are atomics of their own, so that letting go, which may happen in a
/// finalizer, waits for nobody.
static HELD: Mutex<Option<HashMap<PathBuf, Arc<AtomicUsize>>>> = Mutex::new(None);

/// While it lives nobody of this process opens the file but SQLite.
#[derive(Debug)]
pub struct Held(Arc<AtomicUsize>);

impl Drop for Held {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Release);
    }
}

/// Holds the database at `path`. Before the first connection to it is opened, until the last is closed.
#[must_use]
pub fn hold(path: &Path) -> Held {
    look_and_hold(path, |_| ()).1
}

/// Looks at the database at `path` and holds it at once; `look` is told whether somebody holds it already. While
/// it looks, nobody else of this process begins to.
pub fn look_and_hold<T>(path: &Path, look: impl FnOnce(bool) -> T) -> (T, Held) {
    let mut held = HELD.lock().unwrap_or_else(PoisonError::into_inner);
    let all = held.get_or_insert_default();
    all.retain(|_, count| count.load(Ordering::Acquire) > 0);
    let count = Arc::clone(all.entry(name(path)).or_default());
    let seen = look(count.load(Ordering::Acquire) > 0);
    count.fetch_add(1, Ordering::Acquire);
    (seen, Held(count))
}

/// One name for a file however it is reached, also before it exists.
fn name(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| match (path.parent().map(Path::canonicalize), path.file_name()) {
        (Some(Ok(directory)), Some(file)) => directory.join(file),
        _ => path.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_held_until_the_last_has_let_go() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.db");
        let is_held = |path: &Path| look_and_hold(path, |held| held).0;
        assert!(!is_held(&path));
        let first = hold(&path);
        std::fs::write(&path, "").unwrap();
        let second = hold(&folder.path().join(".").join("a.db"));
        drop(first);
        assert!(is_held(&path));
        assert!(!is_held(&folder.path().join("b.db")));
        drop(second);
        assert!(!is_held(&path));
    }
}
