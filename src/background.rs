//! A thread of its own for an operation that waits: for steps of a writer, for files.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError},
};

use crate::{
    error::{Error, Result},
    reply::Reply,
};

/// Runs `run` on a thread called `name`, and settles `reply` with what it answers.
pub fn run<T: Send + 'static>(name: &'static str, run: impl FnOnce() -> Result<T> + Send + 'static, reply: Reply<T>) {
    let shared = Arc::new(Mutex::new(Some(reply)));
    let mine = Arc::clone(&shared);
    let take = |slot: &Mutex<Option<Reply<T>>>| slot.lock().unwrap_or_else(PoisonError::into_inner).take();
    let spawned = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        let answer = catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| Err(Error::from_panic(name, &*panic)));
        if let Some(reply) = take(&mine) {
            reply.settle(answer);
        }
    });
    if let Err(error) = spawned
        && let Some(reply) = take(&shared)
    {
        reply.settle(Err(error.into()));
    }
}
