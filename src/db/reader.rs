//! Read-only connections on threads of their own. In WAL mode a read never waits for a writer, ours or
//! another process's.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender};
use rusqlite::{Connection, InterruptHandle};

use crate::{
    db::{activity::Activity, connection::about_file},
    error::{Code, Error, Result},
    fault,
    reply::Reply,
};

/// Reads waiting at most; beyond it `ERR_BUSY`.
const WAITING: usize = 10_000;

type Job = Box<dyn FnOnce(&Connection) + Send>;

/// A pool of read-only connections, each with a thread.
pub struct Readers {
    sender: Mutex<Option<Sender<Job>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    ended: Receiver<()>,
    interrupts: Vec<InterruptHandle>,
    waiting: Arc<AtomicUsize>,
    activity: Arc<Activity>,
}

impl Readers {
    /// Starts a thread for each connection.
    ///
    /// # Errors
    /// `ERR_IO` where no thread can be started.
    pub fn start(name: &str, connections: Vec<Connection>, activity: Arc<Activity>) -> Result<Self> {
        let (sender, jobs) = crossbeam_channel::unbounded::<Job>();
        let (end, ended) = crossbeam_channel::unbounded();
        let interrupts = connections.iter().map(Connection::get_interrupt_handle).collect();
        let mut threads = Vec::with_capacity(connections.len());
        for (number, db) in connections.into_iter().enumerate() {
            let (jobs, end) = (jobs.clone(), end.clone());
            threads.push(std::thread::Builder::new().name(format!("{name}-{number}")).spawn(move || {
                for job in jobs {
                    job(&db);
                }
                drop(db);
                // Nobody listens where the handle was dropped.
                let _ = end.send(());
            })?);
        }
        Ok(Self {
            sender: Mutex::new(Some(sender)),
            threads: Mutex::new(threads),
            ended,
            interrupts,
            waiting: Arc::default(),
            activity,
        })
    }

    /// Reads waiting or running.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Queues a read; the answer comes on a reader thread, or here where it is refused.
    pub fn call<T: Send + 'static>(
        &self,
        name: &'static str,
        run: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
        reply: Reply<T>,
    ) {
        let count = self.waiting.fetch_add(1, Ordering::Relaxed);
        if count >= WAITING {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return reply.settle(Err(Error::new(
                Code::Busy,
                format!("{count} reads are waiting, the limit; await some of them first"),
            )
            .with("limit", WAITING)));
        }
        let Some(sender) = self.sender.lock().unwrap_or_else(PoisonError::into_inner).clone() else {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return reply.settle(Err(Error::disposed("memory")));
        };
        let (waiting, activity, since) = (Arc::clone(&self.waiting), Arc::clone(&self.activity), Instant::now());
        let job: Job = Box::new(move |db| {
            let answer = catch_unwind(AssertUnwindSafe(|| {
                fault::point(name);
                run(db).map_err(|error| about_file(db, error))
            }))
            .unwrap_or_else(|payload| Err(Error::from_panic(name, &*payload)));
            waiting.fetch_sub(1, Ordering::Relaxed);
            activity.record(name, since.elapsed());
            // A reply that panics is a fault of its own; the thread goes on.
            drop(catch_unwind(AssertUnwindSafe(|| reply.settle(answer))));
        });
        // Fails only where every thread has died; the job is dropped, and its reply says so.
        drop(sender.send(job));
    }

    /// Lets what is queued finish and ends the threads; as [`super::Writer::close`].
    pub fn close(&self, bound: Duration) {
        drop(self.sender.lock().unwrap_or_else(PoisonError::into_inner).take());
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let deadline = Instant::now() + bound;
        for thread in threads {
            if self.ended.recv_deadline(deadline).is_err() {
                for interrupt in &self.interrupts {
                    interrupt.interrupt();
                }
                if self.ended.recv_timeout(bound).is_err() {
                    return;
                }
            }
            // Whichever thread it was that ended, joining them all is quick once each has said so.
            drop(thread);
        }
    }
}

impl std::fmt::Debug for Readers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Readers").field("waiting", &self.waiting()).finish_non_exhaustive()
    }
}
