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
use rusqlite::Connection;

use crate::{
    db::{
        Database,
        activity::Activity,
        connection::about_file,
        job_line::JobLine,
        source::{Interrupts, Source},
    },
    error::{Code, Error, Result},
    fault,
    reply::Reply,
};

/// Reads waiting at most; beyond it `ERR_BUSY`.
const WAITING: usize = 10_000;

/// Told why, where there is no thread to run it. What it returns hands the answer over.
type Job = Box<dyn FnOnce(Result<&mut Source>) -> HandOver + Send>;
type HandOver = Box<dyn FnOnce()>;

/// A pool of read-only connections, each with a thread.
pub struct Readers {
    name: &'static str,
    line: Mutex<Line>,
    threads: Mutex<Vec<JoinHandle<()>>>,
    end: Sender<()>,
    ended: Receiver<()>,
    interrupts: Interrupts,
    waiting: Arc<AtomicUsize>,
    activity: Arc<Activity>,
    explain: Option<fn(Error) -> Error>,
}

/// How jobs get to the threads.
enum Line {
    /// Nobody has asked yet: no thread runs.
    Idle(Vec<Source>),
    Running(Arc<JobLine<Job>>),
    Closed,
}

impl Readers {
    /// Starts a thread for each connection.
    ///
    /// # Errors
    /// `ERR_IO` where no thread can be started.
    pub fn start(name: &'static str, connections: Vec<Database>, activity: Arc<Activity>) -> Result<Self> {
        let readers = Self::on_demand(name, connections.into_iter().map(Source::of).collect(), activity);
        readers.jobs()?;
        Ok(readers)
    }

    /// Readers whose threads start with the first read.
    #[must_use]
    pub fn on_demand(name: &'static str, mut sources: Vec<Source>, activity: Arc<Activity>) -> Self {
        let (end, ended) = crossbeam_channel::unbounded();
        let interrupts = Interrupts::default();
        for source in &mut sources {
            source.interrupted_by(&interrupts);
        }
        Self {
            name,
            line: Mutex::new(Line::Idle(sources)),
            threads: Mutex::default(),
            end,
            ended,
            interrupts,
            waiting: Arc::default(),
            activity,
            explain: None,
        }
    }

    /// Readers that put what failed into other words.
    #[must_use]
    pub fn explaining(mut self, explain: fn(Error) -> Error) -> Self {
        self.explain = Some(explain);
        self
    }

    /// The way to the threads, which are started where they are not.
    fn jobs(&self) -> Result<Arc<JobLine<Job>>> {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        let sources = match &mut *line {
            Line::Running(jobs) => return Ok(Arc::clone(jobs)),
            Line::Closed => return Err(Error::disposed("memory")),
            Line::Idle(sources) => sources,
        };
        let jobs = Arc::new(JobLine::new());
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        while let Some(mut source) = sources.pop() {
            let (mut place, end, running) = (jobs.place(), self.end.clone(), self.activity.thread());
            let name = format!("{}-{}", self.name, threads.len());
            let thread = std::thread::Builder::new().name(name).spawn(move || {
                place.serve(|job: Job| job(Ok(&mut source)));
                drop((place, source));
                drop(running);
                // Nobody listens where the handle was dropped.
                let _ = end.send(());
            });
            // The threads that have started end with their line.
            threads.push(thread.inspect_err(|_| jobs.close())?);
        }
        *line = Line::Running(Arc::clone(&jobs));
        Ok(jobs)
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
        let jobs = match self.jobs() {
            Ok(jobs) => jobs,
            Err(error) => {
                self.waiting.fetch_sub(1, Ordering::Relaxed);
                return reply.settle(Err(error));
            }
        };
        let (waiting, activity, since) = (Arc::clone(&self.waiting), Arc::clone(&self.activity), Instant::now());
        let explain = self.explain;
        let job: Job = Box::new(move |source| {
            let answer = catch_unwind(AssertUnwindSafe(|| {
                fault::point(name);
                let db = source?.get()?;
                run(db).map_err(|error| about_file(db, error))
            }))
            .unwrap_or_else(|payload| Err(Error::from_panic(name, &*payload)));
            let answer = match explain {
                Some(explain) => answer.map_err(explain),
                None => answer,
            };
            waiting.fetch_sub(1, Ordering::Relaxed);
            activity.record(name, since.elapsed());
            // A reply that panics is a fault of its own; the thread goes on.
            Box::new(|| drop(catch_unwind(AssertUnwindSafe(|| reply.settle(answer)))))
        });
        if let Err(job) = jobs.push(job) {
            // Closed meanwhile.
            job(Err(Error::disposed("memory")))();
        }
    }

    /// Takes no more jobs.
    fn end_line(&self) {
        let line = std::mem::replace(&mut *self.line.lock().unwrap_or_else(PoisonError::into_inner), Line::Closed);
        if let Line::Running(jobs) = line {
            jobs.close();
        }
    }

    /// Lets what is queued finish and ends the threads; as [`super::Writer::close`].
    pub fn close(&self, bound: Duration) {
        self.end_line();
        let threads = std::mem::take(&mut *self.threads.lock().unwrap_or_else(PoisonError::into_inner));
        let deadline = Instant::now() + bound;
        for thread in threads {
            if self.ended.recv_deadline(deadline).is_err() {
                self.interrupts.interrupt();
                if self.ended.recv_timeout(bound).is_err() {
                    return;
                }
            }
            // Whichever thread it was that ended, joining them all is quick once each has said so.
            drop(thread);
        }
    }
}

impl Drop for Readers {
    fn drop(&mut self) {
        self.end_line();
    }
}

impl std::fmt::Debug for Readers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Readers").field("waiting", &self.waiting()).finish_non_exhaustive()
    }
}
