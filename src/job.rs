//! Long work on a thread of its own: a backup, an export, an index being filled.
//!
//! It goes on whether or not anybody looks. Who looks gets the latest progress, never a backlog of it; who waits
//! gets the result; who cancels is told once the thread has cleaned up and ended.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rusqlite::{Connection, InterruptHandle};

use crate::{
    error::{Code, Error, Result},
    fault,
    reply::Reply,
};

/// One piece of long work: `P` is what it reports on its way, `R` what comes of it.
pub struct Job<P, R> {
    shared: Arc<Shared<P, R>>,
}

impl<P, R> Clone for Job<P, R> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

struct Shared<P, R> {
    name: &'static str,
    state: Mutex<State<P, R>>,
    ended: Condvar,
    cancel: Cancel,
}

struct State<P, R> {
    /// What was reported and not looked at yet.
    latest: Option<P>,
    watcher: Option<Reply<Option<P>>>,
    outcome: Option<Result<R>>,
    /// Whether the iteration has told of a failure: it does so once.
    told: bool,
    results: Vec<Reply<R>>,
    ends: Vec<Reply<()>>,
}

/// The wish that the work ends early, and the statement that keeps it from noticing.
#[derive(Default)]
struct Cancel {
    wished: AtomicBool,
    interrupt: Mutex<Option<InterruptHandle>>,
}

/// What the work itself is given.
pub struct Control<'a, P> {
    report: &'a dyn Fn(P),
    cancel: &'a Cancel,
    name: &'static str,
}

impl<P> Control<'_, P> {
    /// Tells how far the work is. Who watches sees the latest only.
    pub fn report(&self, progress: P) {
        (self.report)(progress);
    }

    /// Call it between steps.
    ///
    /// # Errors
    /// `ERR_DISPOSED` once the job was cancelled.
    pub fn check(&self) -> Result<()> {
        if self.cancel.wished.load(Ordering::SeqCst) { Err(cancelled(self.name)) } else { Ok(()) }
    }

    /// Runs `work` on `db`; a statement in it that takes long is interrupted where the job is cancelled.
    ///
    /// # Errors
    /// Those of `work`; `ERR_DISPOSED` where the job was cancelled.
    pub fn interruptibly<T>(&self, db: &Connection, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        *lock(&self.cancel.interrupt) = Some(db.get_interrupt_handle());
        // Checked after the handle is there: a wish from before is seen here, a later one finds the handle.
        let done = self.check().and_then(|()| work(db));
        *lock(&self.cancel.interrupt) = None;
        // An interrupted statement fails in its own words.
        done.map_err(|error| self.check().err().unwrap_or(error))
    }
}

impl<P: Send + 'static, R: Clone + Send + 'static> Job<P, R> {
    /// Starts `work` on a thread called `name` (at most 15 bytes are shown by the system).
    ///
    /// # Errors
    /// `ERR_IO` where no thread can be started.
    pub fn start(name: &'static str, work: impl FnOnce(&Control<'_, P>) -> Result<R> + Send + 'static) -> Result<Self> {
        let shared = Arc::new(Shared {
            name,
            state: Mutex::new(State {
                latest: None,
                watcher: None,
                outcome: None,
                told: false,
                results: Vec::new(),
                ends: Vec::new(),
            }),
            ended: Condvar::new(),
            cancel: Cancel::default(),
        });
        let mine = Arc::clone(&shared);
        std::thread::Builder::new().name(format!("cm-{name}")).spawn(move || {
            let report = |progress| mine.report(progress);
            let control = Control { report: &report, cancel: &mine.cancel, name };
            let outcome = catch_unwind(AssertUnwindSafe(|| {
                fault::point(name);
                work(&control)
            }))
            .unwrap_or_else(|payload| Err(Error::from_panic(name, &*payload)));
            mine.end(outcome);
        })?;
        Ok(Self { shared })
    }

    /// The next progress: one that nobody has looked at, or the next that comes; `None` at the end, and for a job
    /// that was cancelled. Where the work has failed, the first call after its last progress answers that error.
    pub fn next(&self, reply: Reply<Option<P>>) {
        let mut state = self.shared.lock();
        let answer = if let Some(progress) = state.latest.take() {
            Ok(Some(progress))
        } else if let Some(outcome) = &state.outcome {
            match outcome {
                Err(error) if !state.told && !self.shared.is_cancelled() => {
                    let error = error.clone();
                    state.told = true;
                    Err(error)
                }
                _ => Ok(None),
            }
        } else if state.watcher.is_some() {
            Err(Error::invalid("next() is pending already; await it before the next call"))
        } else {
            state.watcher = Some(reply);
            return;
        };
        drop(state);
        reply.settle(answer);
    }

    /// Ends the watching, not the work: a pending [`Job::next`] answers the end.
    pub fn look_away(&self) {
        let watcher = self.shared.lock().watcher.take();
        if let Some(reply) = watcher {
            reply.settle(Ok(None));
        }
    }

    /// What comes of the work, once it has ended. Any number may wait, and ask again later.
    pub fn result(&self, reply: Reply<R>) {
        let mut state = self.shared.lock();
        match state.outcome.clone() {
            Some(outcome) => {
                drop(state);
                reply.settle(outcome);
            }
            None => state.results.push(reply),
        }
    }

    /// Answers once the thread has ended, however it did.
    pub fn ended(&self, reply: Reply<()>) {
        let mut state = self.shared.lock();
        if state.outcome.is_some() {
            drop(state);
            reply.settle(Ok(()));
        } else {
            state.ends.push(reply);
        }
    }
}

impl<P, R> std::fmt::Debug for Job<P, R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Job").field("name", &self.shared.name).finish_non_exhaustive()
    }
}

/// What can be told to stop.
pub trait Cancellable: Send + Sync {
    /// Has the work end as soon as it can; it removes what it has half written. Twice without harm, and nothing
    /// to one that has ended.
    fn cancel(&self);
    /// Waits until the work has ended, at most until `deadline`; whether it has.
    fn wait_until(&self, deadline: Instant) -> bool;
}

impl<P: Send + 'static, R: Clone + Send + 'static> Cancellable for Job<P, R> {
    fn cancel(&self) {
        self.shared.cancel();
    }

    fn wait_until(&self, deadline: Instant) -> bool {
        self.shared.wait_until(deadline)
    }
}

impl<P: Send + 'static, R: Clone + Send + 'static> Cancellable for Shared<P, R> {
    fn cancel(&self) {
        self.cancel.wished.store(true, Ordering::SeqCst);
        if let Some(interrupt) = &*lock(&self.cancel.interrupt) {
            interrupt.interrupt();
        }
        // Who watches need not wait for the cleaning up.
        let watcher = {
            let mut state = self.lock();
            state.latest = None;
            state.watcher.take()
        };
        if let Some(reply) = watcher {
            reply.settle(Ok(None));
        }
    }

    fn wait_until(&self, deadline: Instant) -> bool {
        let mut state = self.lock();
        while state.outcome.is_none() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return false;
            }
            state = self.ended.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }
}

impl<P, R: Clone> Shared<P, R> {
    fn lock(&self) -> MutexGuard<'_, State<P, R>> {
        lock(&self.state)
    }

    fn is_cancelled(&self) -> bool {
        self.cancel.wished.load(Ordering::SeqCst)
    }

    fn report(&self, progress: P) {
        let mut state = self.lock();
        if self.is_cancelled() {
            return;
        }
        match state.watcher.take() {
            Some(reply) => {
                drop(state);
                reply.settle(Ok(Some(progress)));
            }
            None => state.latest = Some(progress),
        }
    }

    fn end(&self, outcome: Result<R>) {
        let (watcher, results, ends) = {
            let mut state = self.lock();
            state.outcome = Some(outcome.clone());
            let watcher = state.watcher.take();
            state.told = watcher.is_some();
            (watcher, std::mem::take(&mut state.results), std::mem::take(&mut state.ends))
        };
        self.ended.notify_all();
        if let Some(reply) = watcher {
            reply.settle(outcome.as_ref().map(|_| None).map_err(Clone::clone));
        }
        for reply in results {
            reply.settle(outcome.clone());
        }
        for reply in ends {
            reply.settle(Ok(()));
        }
    }
}

fn cancelled(name: &str) -> Error {
    Error::new(Code::Disposed, format!("this {name} was disposed before it had ended; nothing of it is left behind"))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The jobs that a memory has running: they end with it.
#[derive(Default)]
pub struct Jobs(Mutex<Running>);

#[derive(Default)]
struct Running {
    closed: bool,
    jobs: Vec<Weak<dyn Cancellable>>,
}

impl Jobs {
    /// Starts one, as [`Job::start`].
    ///
    /// # Errors
    /// `ERR_DISPOSED` after [`Jobs::cancel`]; `ERR_IO` where no thread can be started.
    pub fn start<P: Send + 'static, R: Clone + Send + 'static>(
        &self,
        name: &'static str,
        work: impl FnOnce(&Control<'_, P>) -> Result<R> + Send + 'static,
    ) -> Result<Job<P, R>> {
        let mut running = lock(&self.0);
        if running.closed {
            return Err(Error::disposed("memory"));
        }
        let job = Job::start(name, work)?;
        // The thread keeps it until it has ended.
        running.jobs.retain(|known| known.strong_count() > 0);
        let shared: Arc<dyn Cancellable> = Arc::clone(&job.shared) as _;
        running.jobs.push(Arc::downgrade(&shared));
        Ok(job)
    }

    /// How many run.
    #[must_use]
    pub fn count(&self) -> usize {
        let now = Instant::now();
        lock(&self.0).jobs.iter().filter_map(Weak::upgrade).filter(|job| !job.wait_until(now)).count()
    }

    /// Cancels all and refuses later ones.
    pub fn cancel(&self) {
        let jobs = {
            let mut running = lock(&self.0);
            running.closed = true;
            running.jobs.clone()
        };
        for job in jobs.iter().filter_map(Weak::upgrade) {
            job.cancel();
        }
    }

    /// As [`Jobs::cancel`], and waits for their ends, at most `bound`.
    pub fn close(&self, bound: Duration) {
        self.cancel();
        let deadline = Instant::now() + bound;
        let jobs = std::mem::take(&mut lock(&self.0).jobs);
        for job in jobs.iter().filter_map(Weak::upgrade) {
            job.wait_until(deadline);
        }
    }
}

impl std::fmt::Debug for Jobs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Jobs").field("running", &self.count()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reply::wait;

    fn end<P: Send + 'static, R: Clone + Send + 'static>(job: &Job<P, R>) -> Result<R> {
        wait(|reply| job.result(reply))
    }

    #[test]
    fn works_though_nobody_looks_and_keeps_the_latest_progress_only() {
        let job = Job::start("test", |control: &Control<'_, u32>| {
            (1..=1_000).for_each(|number| control.report(number));
            Ok("done")
        })
        .unwrap();
        assert_eq!(end(&job), Ok("done"));
        assert_eq!(wait(|reply| job.next(reply)), Ok(Some(1_000)));
        assert_eq!(wait(|reply| job.next(reply)), Ok(None));
        assert_eq!(end(&job), Ok("done"), "also when asked again");
        assert_eq!(wait(|reply| job.ended(reply)), Ok(()));
    }

    #[test]
    fn who_watches_gets_progress_as_it_comes() {
        let (go, gone) = crossbeam_channel::bounded::<()>(0);
        let job = Job::start("test", move |control: &Control<'_, u32>| {
            for number in 1..=3 {
                gone.recv().unwrap();
                control.report(number);
            }
            gone.recv().unwrap();
            Ok(())
        })
        .unwrap();
        for number in 1..=3 {
            let (reply, answer) = Reply::channel();
            job.next(reply);
            assert_eq!(
                wait(|reply| job.next(reply)).map_err(|error: Error| error.code),
                Err(Code::InvalidArg),
                "one at a time"
            );
            go.send(()).unwrap();
            assert_eq!(answer.recv().unwrap(), Ok(Some(number)));
        }
        let (reply, answer) = Reply::channel();
        job.next(reply);
        job.look_away();
        assert_eq!(answer.recv().unwrap(), Ok(None));
        go.send(()).unwrap();
        assert_eq!(end(&job), Ok(()), "looking away does not end the work");
    }

    #[test]
    fn a_failure_ends_the_iteration_once_and_every_result() {
        let job = Job::start("test", |_: &Control<'_, ()>| Err::<(), _>(Error::new(Code::Io, "no"))).unwrap();
        assert_eq!(wait(|reply| job.ended(reply)), Ok(()));
        assert_eq!(wait(|reply| job.next(reply)).unwrap_err().code, Code::Io);
        assert_eq!(wait(|reply| job.next(reply)), Ok(None));
        assert_eq!(end(&job).unwrap_err().code, Code::Io);
        let job = Job::start("test", |_: &Control<'_, ()>| -> Result<()> { panic!("on purpose") }).unwrap();
        assert_eq!(end(&job).unwrap_err().code, Code::Internal);
    }

    #[test]
    fn cancelling_interrupts_a_statement_and_is_told_by_the_result() {
        let jobs = Jobs::default();
        let (tell, told) = crossbeam_channel::bounded(1);
        let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";
        let job = jobs
            .start("test", move |control: &Control<'_, u32>| {
                let db = Connection::open_in_memory()?;
                control.report(1);
                tell.send(()).unwrap();
                control.interruptibly(&db, |db| Ok(db.query_row(endless, [], |row| row.get::<_, i64>(0))?))
            })
            .unwrap();
        told.recv().unwrap();
        assert_eq!(jobs.count(), 1);
        // The statement may not have begun: asked again until it has.
        while !job.wait_until(Instant::now() + Duration::from_millis(10)) {
            jobs.cancel();
        }
        assert_eq!(end(&job).unwrap_err().code, Code::Disposed);
        assert_eq!(wait(|reply| job.next(reply)), Ok(None));
        assert_eq!(jobs.count(), 0);
        let late = jobs.start("test", |_: &Control<'_, u32>| Ok(()));
        assert_eq!(late.unwrap_err().code, Code::Disposed);
    }
}
