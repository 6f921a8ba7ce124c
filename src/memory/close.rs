//! Closes the parts, in order, and counts the memories that are open.

use std::{
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::Memory;
use crate::{error::Error, fault, reply::Reply};

/// How long dispose waits for what is being written; then SQLite is interrupted.
const CLOSE_BOUND: Duration = Duration::from_secs(6);

/// Memories that are open in this process.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// One of them, until it is closed or dropped.
pub(super) struct OpenCount(AtomicBool);

impl OpenCount {
    pub(super) fn one_more() -> Self {
        OPEN.fetch_add(1, Ordering::Relaxed);
        Self(AtomicBool::new(true))
    }

    pub(super) fn one_less(&self) {
        if self.0.swap(false, Ordering::Relaxed) {
            OPEN.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for OpenCount {
    fn drop(&mut self) {
        self.one_less();
    }
}

/// How far closing is.
pub(super) enum Closing {
    /// It has not begun.
    Open,
    /// Who waits for its end.
    Pending(Vec<Reply<()>>),
    /// It is done.
    Closed,
}

impl Memory {
    /// Ends consumers, lets commits finish, closes the files and gives the directory up. Twice without harm:
    /// every call is answered when it is done.
    pub fn dispose(self: &Arc<Self>, reply: Reply<()>) {
        {
            let mut closing = self.closing.lock().unwrap_or_else(PoisonError::into_inner);
            match &mut *closing {
                Closing::Closed => {
                    drop(closing);
                    return reply.settle(Ok(()));
                }
                Closing::Pending(waiting) => return waiting.push(reply),
                Closing::Open => *closing = Closing::Pending(vec![reply]),
            }
        }
        self.stop_queue();
        self.stop_embedding();
        self.jobs.cancel();
        let memory = Arc::clone(self);
        // A write that waits for a lock may do so until its deadline.
        let bound = CLOSE_BOUND.max(self.settings.deadline + Duration::from_secs(1));
        let running = self.activity.thread();
        let spawned = std::thread::Builder::new().name("cm-close".into()).spawn(move || {
            memory.close(bound);
            drop(memory);
            drop(running);
        });
        if spawned.is_err() {
            // No thread to be had: better a short wait here than files left open.
            self.close(bound);
        }
    }

    /// As [`Memory::dispose`], on this thread and within about `bound`: for an environment that goes away, or a
    /// process that exits.
    pub fn dispose_here(&self, bound: Duration) {
        {
            let mut closing = self.closing.lock().unwrap_or_else(PoisonError::into_inner);
            if !matches!(*closing, Closing::Open) {
                return;
            }
            *closing = Closing::Pending(Vec::new());
        }
        self.stop_queue();
        self.stop_embedding();
        self.jobs.cancel();
        self.close(bound / 4);
    }

    /// Whoever waits for vectors of documents is told that there will be none.
    fn stop_embedding(&self) {
        if let Some(embedder) = &self.embedder {
            embedder.close();
        }
    }

    fn stop_queue(&self) {
        if let Some(queue) = &self.queue {
            queue.dispose();
        }
    }

    fn close(&self, bound: Duration) {
        let store = self.store.as_ref();
        let parts: [&dyn Fn(); 6] = [
            // Before the others: a job may wait for one of their threads.
            &|| self.jobs.close(bound),
            &|| {
                if let Some(index) = &self.index {
                    index.close(bound);
                }
            },
            &|| {
                if let Some(store) = store {
                    store.readers.close(bound);
                }
                fault::point("dispose");
            },
            &|| {
                if let Some(collections) = &self.collections {
                    collections.close(bound);
                }
            },
            // The main writer before the queue's: its last commits still clear their leases there.
            &|| {
                if let Some(store) = store {
                    store.writer.close(bound);
                }
            },
            &|| {
                if let Some(queue) = &self.queue {
                    queue.close(bound);
                }
            },
        ];
        let mut outcome = Ok(());
        for part in parts {
            // Caught: the other parts are closed all the same, and whoever waits for dispose is answered.
            if let Err(payload) = catch_unwind(AssertUnwindSafe(part)) {
                outcome = Err(Error::from_panic("dispose", &*payload));
            }
        }
        self.open.one_less();
        drop(self.owner.lock().unwrap_or_else(PoisonError::into_inner).take());
        let before = mem::replace(&mut *self.closing.lock().unwrap_or_else(PoisonError::into_inner), Closing::Closed);
        if let Closing::Pending(waiting) = before {
            for reply in waiting {
                reply.settle(outcome.clone());
            }
        }
    }

    /// Memories that are open in this process.
    #[must_use]
    pub fn open_count() -> usize {
        OPEN.load(Ordering::Relaxed)
    }

    /// Whether dispose has begun.
    #[must_use]
    pub fn is_disposed(&self) -> bool {
        !matches!(*self.closing.lock().unwrap_or_else(PoisonError::into_inner), Closing::Open)
    }
}
