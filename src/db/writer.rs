//! One named thread that owns the one write connection of a file.
//!
//! What waits is drained into one `BEGIN IMMEDIATE … COMMIT`, each command in its own savepoint, and settled
//! after the commit; the thread never sleeps to gather a group. A lock that another process holds is waited
//! for here, off the JS thread, until each command's own deadline.

mod group;

use std::{
    cell::Cell,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender};
use rusqlite::Connection;

use self::group::Worker;
use super::{
    Database,
    activity::Activity,
    budget::Budget,
    command::{Call, Durability, Follow, Write},
    connection::Identity,
    source::{Interrupts, Source},
};
use crate::{
    error::{Error, Result},
    fault,
    reply::Reply,
};

/// What a writer tells `health()`; plain reads, never a lock.
#[derive(Debug, Default)]
pub struct WriterFigures {
    /// Commands waiting or running.
    pub waiting: AtomicUsize,
    /// Transactions committed since open.
    pub commits: AtomicI64,
    /// Those of them with `synchronous=FULL`: on the disk before anybody was told.
    pub full_commits: AtomicI64,
    /// Pages in the write-ahead log after the last commit or checkpoint.
    pub wal_pages: AtomicI64,
    /// Pages of the log that the last checkpoint could not move into the file, because somebody reads an older
    /// state; 0 where nobody does.
    pub pinned_pages: AtomicI64,
    /// When the last checkpoint ended, epoch ms; 0 before the first.
    pub checkpointed_epoch: AtomicI64,
}

impl WriterFigures {
    /// Whether the log has not started over although a checkpoint was made long ago: a reader, perhaps of another
    /// process, keeps a transaction open.
    #[must_use]
    pub fn log_is_held_back(&self) -> bool {
        self.pinned_pages.load(Ordering::Relaxed) > 0
            && self.wal_pages.load(Ordering::Relaxed) > 2 * group::CHECKPOINT_PAGES
    }
}

struct Shared {
    name: &'static str,
    budget: Arc<Budget>,
    figures: WriterFigures,
    activity: Arc<Activity>,
    /// Set where the thread itself has failed: every later call answers `ERR_INTERNAL`.
    failed: AtomicBool,
}

/// The sending side of a writer thread.
pub struct Writer {
    shared: Arc<Shared>,
    line: Mutex<Line>,
    thread: Mutex<Option<JoinHandle<()>>>,
    end: Sender<()>,
    ended: Receiver<()>,
    interrupts: Interrupts,
}

/// How commands get to the thread.
enum Line {
    /// Nobody has written yet: no thread runs.
    Idle(Start),
    Running(Sender<Queued>),
    /// Nothing may be written.
    Refusing(Error),
    Closed,
}

/// What the thread starts with.
struct Start {
    source: Source,
    base: Durability,
    follow: Option<Box<dyn Follow>>,
    /// Which file it is, where that is open already. Not the thread's to find out: it may begin so late that the file has
    /// been deleted meanwhile.
    identity: Option<Identity>,
}

struct Queued {
    // Fields are dropped in this order: a command that is dropped unanswered no longer counts when its reply says so.
    admitted: Admitted,
    command: Box<dyn Write>,
    since: Instant,
}

impl Queued {
    /// Counts a command in whose `bytes` the budget has admitted.
    fn new(command: Box<dyn Write>, bytes: usize, shared: &Arc<Shared>) -> Self {
        shared.figures.waiting.fetch_add(1, Ordering::Relaxed);
        Self { command, since: Instant::now(), admitted: Admitted { shared: Arc::clone(shared), bytes } }
    }
}

/// A command's place in the budget and the figures, however it ends: the budget is also the other writer's.
struct Admitted {
    shared: Arc<Shared>,
    bytes: usize,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.shared.budget.release(self.bytes);
        self.shared.figures.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

thread_local! {
    // The WAL hook is a plain function that SQLite calls on the committing thread: the writer's own.
    static WAL_PAGES: Cell<i64> = const { Cell::new(0) };
}

#[expect(clippy::unnecessary_wraps, reason = "the signature is SQLite's")]
fn remember_wal_pages(_: &mut rusqlite::hooks::Wal, pages: i32) -> rusqlite::Result<()> {
    WAL_PAGES.set(i64::from(pages));
    Ok(())
}

impl Writer {
    /// Starts the thread called `name` on `db`.
    ///
    /// # Errors
    /// `ERR_IO` where no thread can be started.
    pub fn start(
        name: &'static str,
        db: Database,
        base: Durability,
        budget: Arc<Budget>,
        activity: Arc<Activity>,
        follow: Option<Box<dyn Follow>>,
    ) -> Result<Self> {
        fault::watch(&db);
        let writer = Self::new(name, budget, activity, Line::Closed);
        let identity = Identity::of(&db);
        let sender = writer.spawn(Start { source: Source::of(db), base, follow, identity })?;
        *writer.line.lock().unwrap_or_else(PoisonError::into_inner) = Line::Running(sender);
        Ok(writer)
    }

    /// A writer whose thread and connection come with the first command.
    #[must_use]
    pub fn on_demand(
        name: &'static str,
        source: Source,
        base: Durability,
        budget: Arc<Budget>,
        activity: Arc<Activity>,
    ) -> Self {
        Self::new(name, budget, activity, Line::Idle(Start { source, base, follow: None, identity: None }))
    }

    /// The same writer, whose thread is followed by `follow`.
    #[must_use]
    pub fn followed_by(self, follow: Box<dyn Follow>) -> Self {
        if let Line::Idle(start) = &mut *self.line.lock().unwrap_or_else(PoisonError::into_inner) {
            start.follow = Some(follow);
        }
        self
    }

    /// A writer that rejects every command with `error`.
    #[must_use]
    pub fn refusing(name: &'static str, error: Error, budget: Arc<Budget>, activity: Arc<Activity>) -> Self {
        Self::new(name, budget, activity, Line::Refusing(error))
    }

    fn new(name: &'static str, budget: Arc<Budget>, activity: Arc<Activity>, line: Line) -> Self {
        let shared = Arc::new(Shared {
            name,
            budget,
            figures: WriterFigures::default(),
            activity,
            failed: AtomicBool::new(false),
        });
        let (end, ended) = crossbeam_channel::bounded(1);
        let interrupts = Interrupts::default();
        Self { shared, line: Mutex::new(line), thread: Mutex::new(None), end, ended, interrupts }
    }

    /// Starts the thread; the way to it.
    fn spawn(&self, start: Start) -> Result<Sender<Queued>> {
        let Start { mut source, base, follow, identity } = start;
        source.interrupted_by(&self.interrupts);
        let (sender, commands) = crossbeam_channel::unbounded();
        let (shared, end) = (Arc::clone(&self.shared), self.end.clone());
        let running = self.shared.activity.thread();
        let thread = std::thread::Builder::new().name(self.shared.name.to_owned()).spawn(move || {
            serve(source, base, &shared, commands, follow, identity);
            drop(running);
            // Nobody listens where the handle was dropped.
            let _ = end.send(());
        })?;
        *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
        Ok(sender)
    }

    /// Sends a command to the thread, which is started where it is not; the command comes back where it cannot.
    fn send(&self, queued: Queued) -> std::result::Result<(), (Queued, Error)> {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        if let Line::Idle(_) = &*line
            && let Line::Idle(start) = std::mem::replace(&mut *line, Line::Closed)
        {
            *line = self.spawn(start).map_or_else(Line::Refusing, Line::Running);
        }
        match &*line {
            Line::Running(sender) => sender.send(queued).map_err(|error| (error.0, Error::disposed("memory"))),
            Line::Refusing(error) => Err((queued, error.clone())),
            Line::Idle(_) | Line::Closed => Err((queued, Error::disposed("memory"))),
        }
    }

    /// Figures for health.
    #[must_use]
    pub fn figures(&self) -> &WriterFigures {
        &self.shared.figures
    }

    /// Whether the thread itself has failed: every later call answers `ERR_INTERNAL`.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        self.shared.failed.load(Ordering::SeqCst)
    }

    /// Queues a command; the answer comes through its `settle`, on the writer thread, or here where it is
    /// refused.
    pub fn submit(&self, command: impl Write + 'static) {
        self.submit_boxed(Box::new(command));
    }

    /// As [`Writer::submit`].
    pub fn submit_boxed(&self, command: Box<dyn Write>) {
        if self.shared.failed.load(Ordering::SeqCst) {
            return command.settle(Err(failed(self.shared.name)));
        }
        let bytes = command.bytes();
        if let Err(refusal) = self.shared.budget.admit(bytes) {
            return command.settle(Err(refusal));
        }
        let queued = Queued::new(command, bytes, &self.shared);
        // A command must never settle under the line's lock: its reply may submit the next one.
        if let Err((queued, error)) = self.send(queued) {
            let error = if self.shared.failed.load(Ordering::SeqCst) { failed(self.shared.name) } else { error };
            let Queued { command, admitted, .. } = queued;
            drop(admitted);
            command.settle(Err(error));
        }
    }

    /// Queues a closure.
    pub fn call<T: Send + 'static>(
        &self,
        name: &'static str,
        deadline: Instant,
        run: impl FnMut(&Connection) -> Result<T> + Send + 'static,
        reply: Reply<T>,
    ) {
        self.submit(Call::new(name, deadline, run, reply));
    }

    /// Lets what is queued finish, closes the connection and ends the thread. Waits at most `bound`; then
    /// SQLite is interrupted, and the thread ends by itself. Twice without harm.
    pub fn close(&self, bound: Duration) {
        *self.line.lock().unwrap_or_else(PoisonError::into_inner) = Line::Closed;
        let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        if self.ended.recv_timeout(bound).is_err() {
            self.interrupts.interrupt();
            if self.ended.recv_timeout(bound).is_err() {
                return;
            }
        }
        // The thread has sent its last word; joining takes no time. Its panic was caught inside.
        drop(thread.join());
    }
}

/// The thread's life: opens the connection once there is something to write, and serves.
fn serve(
    mut source: Source,
    base: Durability,
    shared: &Arc<Shared>,
    commands: Receiver<Queued>,
    follow: Option<Box<dyn Follow>>,
    identity: Option<Identity>,
) {
    let Some((db, first)) = open(&mut source, shared, &commands) else { return };
    drop(source);
    fault::watch(&db);
    let mut worker = Worker::new(db, base, Arc::clone(shared), commands, follow, identity);
    worker.accept(first);
    if catch_unwind(AssertUnwindSafe(|| worker.serve())).is_err() {
        // Never silence: what waits and what comes later is told so.
        shared.failed.store(true, Ordering::SeqCst);
        worker.reject_all();
    }
    fault::stage("closing", || std::iter::once(shared.name));
}

/// The connection, and the command that it was opened for. While it cannot be opened each command is told why.
fn open(source: &mut Source, shared: &Shared, commands: &Receiver<Queued>) -> Option<(Database, Option<Queued>)> {
    let mut first = None;
    loop {
        if source.is_on_demand() {
            first = Some(commands.recv().ok()?);
        }
        let opened = catch_unwind(AssertUnwindSafe(|| {
            let mut db = source.take()?;
            db.busy_timeout(Duration::ZERO)?;
            db.wal_hook(Some(remember_wal_pages))?;
            Ok(db)
        }))
        .unwrap_or_else(|payload| Err(Error::from_panic("opening the database", &*payload)));
        match opened {
            Ok(db) => return Some((db, first)),
            Err(error) => {
                let queued = first.take().or_else(|| commands.recv().ok())?;
                shared.settle(queued, Err(error));
            }
        }
    }
}

fn failed(name: &str) -> Error {
    Error::internal(format!("the thread {name} failed earlier; dispose this memory and open a new one"))
}

impl Shared {
    fn settle(&self, queued: Queued, outcome: Result<()>) {
        let Queued { command, since, admitted } = queued;
        drop(admitted);
        self.activity.record(command.name(), since.elapsed());
        // A reply that panics is a fault of its own; the other commands of the group still get theirs.
        drop(catch_unwind(AssertUnwindSafe(|| command.settle(outcome))));
    }
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("name", &self.shared.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
