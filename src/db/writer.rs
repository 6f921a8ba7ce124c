//! One named thread that owns the one write connection of a file.
//!
//! What waits is drained into one `BEGIN IMMEDIATE … COMMIT`, each command in its own savepoint, and settled
//! after the commit; the thread never sleeps to gather a group. A lock that another process holds is waited
//! for here, off the JS thread, until each command's own deadline.

use std::{
    cell::Cell,
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use rusqlite::{Connection, InterruptHandle};

use crate::{
    clock,
    db::activity::Activity,
    error::{Code, Error, Result},
    fault,
    reply::Reply,
};

/// Commands of one group at most.
const GROUP_COMMANDS: usize = 256;
/// Bytes of one group at most; a larger command comes alone.
const GROUP_BYTES: usize = 1 << 20;
/// WAL pages from which the writer checkpoints between two groups. The checkpoint inside COMMIT at SQLite's
/// default of 1,000 was all of the p99; at 4,000 the log still stays near 16 MiB.
const CHECKPOINT_PAGES: i64 = 4_000;
/// How long nothing must have come before the log is truncated, where it is not.
const IDLE: Duration = Duration::from_millis(1_000);
/// Between two attempts at a lock that somebody else holds.
const LOCK_RETRY: Duration = Duration::from_millis(1);

/// When a resolved promise survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Durability {
    /// `synchronous=NORMAL`: survives the death of the process; a power cut may take the last moments.
    #[default]
    Normal,
    /// `synchronous=FULL`: survives a power cut.
    Full,
}

/// One command of a writer.
pub trait Write: Send {
    /// What health and errors call it.
    fn name(&self) -> &'static str;
    /// Payload bytes, for the byte budget and the group's size.
    fn bytes(&self) -> usize {
        0
    }
    /// Until when a lock is waited for; later the command is rejected with `ERR_BUSY` and never runs.
    fn deadline(&self) -> Instant;
    /// What its COMMIT must survive.
    fn durability(&self) -> Durability {
        Durability::Normal
    }
    /// Does the work inside the open transaction. Runs again where the first transaction was lost to another
    /// command of its group, so it must not consume what it needs.
    ///
    /// # Errors
    /// Rolls back this command alone.
    fn run(&mut self, db: &Connection) -> Result<()>;
    /// Told the truth, once: after the COMMIT, or with the failure.
    fn settle(self: Box<Self>, outcome: Result<()>);
}

/// Adds commands to a group that has run and is about to commit: the claim of a waiting consumer is written
/// in the enqueue's own transaction.
pub trait Follow: Send {
    /// Commands to run in the same transaction.
    fn follow_ups(&mut self) -> Vec<Box<dyn Write>>;
}

/// A command made of a closure and a reply.
pub struct Call<T, F> {
    name: &'static str,
    bytes: usize,
    deadline: Instant,
    durability: Durability,
    run: F,
    value: Option<T>,
    reply: Reply<T>,
}

impl<T, F: FnMut(&Connection) -> Result<T>> Call<T, F> {
    /// A command called `name` that runs `run` and settles `reply` with its value.
    pub fn new(name: &'static str, deadline: Instant, run: F, reply: Reply<T>) -> Self {
        Self { name, bytes: 0, deadline, durability: Durability::Normal, run, value: None, reply }
    }

    /// Counts `bytes` against the budget.
    #[must_use]
    pub fn bytes(mut self, bytes: usize) -> Self {
        self.bytes = bytes;
        self
    }

    /// Commits with at least this durability.
    #[must_use]
    pub fn durability(mut self, durability: Durability) -> Self {
        self.durability = durability;
        self
    }
}

impl<T: Send, F: FnMut(&Connection) -> Result<T> + Send> Write for Call<T, F> {
    fn name(&self) -> &'static str {
        self.name
    }
    fn bytes(&self) -> usize {
        self.bytes
    }
    fn deadline(&self) -> Instant {
        self.deadline
    }
    fn durability(&self) -> Durability {
        self.durability
    }
    fn run(&mut self, db: &Connection) -> Result<()> {
        self.value = Some((self.run)(db)?);
        Ok(())
    }
    fn settle(self: Box<Self>, outcome: Result<()>) {
        let Self { value, reply, .. } = *self;
        reply.settle(outcome.and_then(|()| value.ok_or_else(|| Error::internal("committed without a value"))));
    }
}

/// Bytes of commands in flight over all writers of a memory, against a limit.
#[derive(Debug)]
pub struct Budget {
    limit: usize,
    used: AtomicUsize,
}

impl Budget {
    /// A budget of `limit` bytes.
    #[must_use]
    pub const fn new(limit: usize) -> Self {
        Self { limit, used: AtomicUsize::new(0) }
    }

    /// Bytes in flight now.
    #[must_use]
    pub fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    fn admit(&self, bytes: usize) -> Result<()> {
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                // One command is always admitted, however large; and beside it what has no payload, such as the
                // claims and commits that make room.
                (used == 0 || bytes == 0 || used + bytes <= self.limit).then_some(used + bytes)
            })
            .map(drop)
            .map_err(|used| {
                Error::new(
                    Code::Busy,
                    format!(
                        "{used} bytes of writes are in flight and {bytes} more would exceed the limit of {} bytes; \
                         await some of them first or raise maxInFlightBytes",
                        self.limit
                    ),
                )
                .with("inFlightBytes", used)
                .with("bytes", bytes)
                .with("limit", self.limit)
            })
    }

    fn release(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// What a writer tells `health()`; plain reads, never a lock.
#[derive(Debug, Default)]
pub struct WriterFigures {
    /// Commands waiting or running.
    pub waiting: AtomicUsize,
    /// Transactions committed since open.
    pub commits: AtomicI64,
    /// Pages in the write-ahead log after the last commit.
    pub wal_pages: AtomicI64,
    /// When the last checkpoint ended, epoch ms; 0 before the first.
    pub checkpointed_epoch: AtomicI64,
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
    sender: Mutex<Option<Sender<Queued>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    ended: Receiver<()>,
    interrupt: InterruptHandle,
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
        mut db: Connection,
        base: Durability,
        budget: Arc<Budget>,
        activity: Arc<Activity>,
        follow: Option<Box<dyn Follow>>,
    ) -> Result<Self> {
        let shared = Arc::new(Shared {
            name,
            budget,
            figures: WriterFigures::default(),
            activity,
            failed: AtomicBool::new(false),
        });
        db.busy_timeout(Duration::ZERO)?;
        db.wal_hook(Some(remember_wal_pages))?;
        let interrupt = db.get_interrupt_handle();
        let (sender, commands) = crossbeam_channel::unbounded();
        let (end, ended) = crossbeam_channel::bounded(1);
        let mine = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
            let mut worker = Worker {
                db,
                base,
                synchronous: None,
                shared: Arc::clone(&mine),
                commands,
                waiting: VecDeque::new(),
                follow,
                truncated: true,
                checkpoint_at: CHECKPOINT_PAGES,
            };
            if catch_unwind(AssertUnwindSafe(|| worker.serve())).is_err() {
                // Never silence: what waits and what comes later is told so.
                mine.failed.store(true, Ordering::SeqCst);
                worker.reject_all();
            }
            drop(worker);
            // Nobody listens where the handle was dropped.
            let _ = end.send(());
        })?;
        Ok(Self { shared, sender: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)), ended, interrupt })
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
        let sender = self.sender.lock().unwrap_or_else(PoisonError::into_inner);
        let refused = match sender.as_ref() {
            Some(sender) => sender.send(queued).err().map(|error| error.0),
            None => Some(queued),
        };
        // A command must never settle under the lock: its reply may submit the next one.
        drop(sender);
        if let Some(queued) = refused {
            let error = if self.shared.failed.load(Ordering::SeqCst) {
                failed(self.shared.name)
            } else {
                Error::disposed("memory")
            };
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
        drop(self.sender.lock().unwrap_or_else(PoisonError::into_inner).take());
        let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        if self.ended.recv_timeout(bound).is_err() {
            self.interrupt.interrupt();
            if self.ended.recv_timeout(bound).is_err() {
                return;
            }
        }
        // The thread has sent its last word; joining takes no time. Its panic was caught inside.
        drop(thread.join());
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

struct Worker {
    db: Connection,
    base: Durability,
    /// What `PRAGMA synchronous` was last set to.
    synchronous: Option<Durability>,
    shared: Arc<Shared>,
    commands: Receiver<Queued>,
    waiting: VecDeque<Queued>,
    follow: Option<Box<dyn Follow>>,
    truncated: bool,
    /// Pages in the log from which the next checkpoint is due.
    checkpoint_at: i64,
}

impl Worker {
    fn serve(&mut self) {
        loop {
            if self.waiting.is_empty() {
                // With the log truncated there is nothing to wake up for.
                let next = if self.truncated {
                    self.commands.recv().map_err(|_| RecvTimeoutError::Disconnected)
                } else {
                    self.commands.recv_timeout(IDLE)
                };
                match next {
                    Ok(queued) => self.waiting.push_back(queued),
                    Err(RecvTimeoutError::Timeout) => {
                        self.truncate_log();
                        continue;
                    }
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
            self.gather();
            fault::point("writer-loop");
            self.run_group();
            let pages = WAL_PAGES.get();
            if pages >= self.checkpoint_at {
                self.checkpoint("PRAGMA wal_checkpoint(PASSIVE)");
                // A reader, perhaps of another process, may keep the log from starting over: then it is worth
                // another try only after as many pages again, not after every commit.
                self.checkpoint_at = pages + CHECKPOINT_PAGES;
            }
        }
    }

    /// Takes what has come, without waiting.
    fn gather(&mut self) {
        loop {
            match self.commands.try_recv() {
                Ok(queued) => self.waiting.push_back(queued),
                Err(TryRecvError::Empty | TryRecvError::Disconnected) => return,
            }
        }
    }

    fn run_group(&mut self) {
        if !self.lock_database() {
            return;
        }
        let mut group = self.take_group();
        let mut outcomes: Vec<Result<()>> = Vec::with_capacity(group.len());
        // A lone command needs no savepoint of its own: the transaction is one.
        let lone = group.len() == 1 && self.follow.is_none();
        let mut lost = false;
        for queued in &mut group {
            if lost {
                outcomes.push(Ok(()));
                continue;
            }
            let outcome = if lone {
                run_caught(&mut *queued.command, &self.db)
            } else {
                self.run_in_savepoint(&mut *queued.command)
            };
            // SQLITE_FULL, IOERR and NOMEM may have rolled back the whole transaction, not the savepoint.
            lost = self.db.is_autocommit();
            outcomes.push(outcome);
        }
        if !lost && let Some(mut follow) = self.follow.take() {
            for command in follow.follow_ups() {
                let mut queued = Queued::new(command, 0, &self.shared);
                if lost {
                    outcomes.push(Ok(()));
                } else {
                    let outcome = self.run_in_savepoint(&mut *queued.command);
                    lost = self.db.is_autocommit();
                    outcomes.push(outcome);
                }
                group.push(queued);
            }
            self.follow = Some(follow);
        }
        if !lost {
            fault::stage("before-commit", || group.iter().map(|queued| queued.command.name()));
            if lone && outcomes.iter().any(Result::is_err) {
                self.rollback();
            } else if let Err(error) = self.db.execute_batch("COMMIT") {
                self.rollback();
                if group.len() == 1 && outcomes.iter().all(Result::is_ok) {
                    outcomes = vec![Err(error.into())];
                } else {
                    lost = true;
                }
            } else {
                fault::stage("after-commit", || group.iter().map(|queued| queued.command.name()));
                self.note_commit();
            }
        }
        if lost {
            // The other commands did nothing wrong: each gets a transaction of its own.
            for (queued, outcome) in group.iter_mut().zip(&mut outcomes) {
                if outcome.is_ok() {
                    *outcome = self.run_alone(&mut *queued.command);
                }
            }
        }
        for (queued, outcome) in group.into_iter().zip(outcomes) {
            self.shared.settle(queued, outcome);
        }
    }

    /// `BEGIN IMMEDIATE`, waiting for a lock that somebody else holds while the commands' deadlines last.
    /// False where nothing is left to run.
    fn lock_database(&mut self) -> bool {
        loop {
            let durability = self
                .waiting
                .iter()
                .take(GROUP_COMMANDS)
                .map(|queued| queued.command.durability())
                .max()
                .unwrap_or_default();
            match self.begin(durability) {
                Ok(()) => return true,
                Err(error) if error.code == Code::Busy => {
                    self.expire();
                    if self.waiting.is_empty() {
                        return false;
                    }
                    // Waiting for the lock and for more commands at once; after a disconnect only for the lock.
                    match self.commands.recv_timeout(LOCK_RETRY) {
                        Ok(queued) => self.waiting.push_back(queued),
                        Err(RecvTimeoutError::Timeout) => {}
                        Err(RecvTimeoutError::Disconnected) => std::thread::sleep(LOCK_RETRY),
                    }
                    self.gather();
                }
                Err(error) => {
                    for queued in std::mem::take(&mut self.waiting) {
                        self.shared.settle(queued, Err(error.clone()));
                    }
                    return false;
                }
            }
        }
    }

    fn begin(&mut self, durability: Durability) -> Result<()> {
        let wanted = self.base.max(durability);
        if self.synchronous != Some(wanted) {
            self.db.execute_batch(match wanted {
                Durability::Normal => "PRAGMA synchronous=NORMAL",
                Durability::Full => "PRAGMA synchronous=FULL",
            })?;
            self.synchronous = Some(wanted);
        }
        Ok(self.db.execute_batch("BEGIN IMMEDIATE")?)
    }

    /// Rejects what has waited beyond its deadline. It was never run, and never will be.
    fn expire(&mut self) {
        let now = Instant::now();
        let mut kept = VecDeque::with_capacity(self.waiting.len());
        for queued in std::mem::take(&mut self.waiting) {
            if queued.command.deadline() > now {
                kept.push_back(queued);
            } else {
                let error = busy(queued.command.name(), queued.since.elapsed());
                self.shared.settle(queued, Err(error));
            }
        }
        self.waiting = kept;
    }

    fn take_group(&mut self) -> Vec<Queued> {
        let mut bytes = 0;
        let mut count = 0;
        for queued in &self.waiting {
            bytes += queued.command.bytes();
            if count > 0 && (bytes > GROUP_BYTES || count == GROUP_COMMANDS) {
                break;
            }
            count += 1;
        }
        self.waiting.drain(..count).collect()
    }

    fn run_in_savepoint(&self, command: &mut dyn Write) -> Result<()> {
        self.db.prepare_cached("SAVEPOINT command")?.execute([])?;
        let outcome = run_caught(command, &self.db);
        if self.db.is_autocommit() {
            return outcome;
        }
        if outcome.is_err() {
            self.db.prepare_cached("ROLLBACK TO command")?.execute([])?;
        }
        self.db.prepare_cached("RELEASE command")?.execute([])?;
        outcome
    }

    fn run_alone(&mut self, command: &mut dyn Write) -> Result<()> {
        let since = Instant::now();
        loop {
            match self.begin(command.durability()) {
                Err(error) if error.code == Code::Busy => {
                    if command.deadline() <= Instant::now() {
                        return Err(busy(command.name(), since.elapsed()));
                    }
                    std::thread::sleep(LOCK_RETRY);
                }
                begun => break begun?,
            }
        }
        let outcome = run_caught(command, &self.db).and_then(|()| Ok(self.db.execute_batch("COMMIT")?));
        match outcome {
            Ok(()) => self.note_commit(),
            Err(_) => self.rollback(),
        }
        outcome
    }

    fn note_commit(&mut self) {
        self.truncated = false;
        let pages = WAL_PAGES.get();
        if pages < self.shared.figures.wal_pages.load(Ordering::Relaxed) {
            // The log has started over.
            self.checkpoint_at = CHECKPOINT_PAGES;
        }
        self.shared.figures.commits.fetch_add(1, Ordering::Relaxed);
        self.shared.figures.wal_pages.store(pages, Ordering::Relaxed);
    }

    fn rollback(&self) {
        if !self.db.is_autocommit() {
            // Fails only where SQLite has rolled back by itself in between.
            drop(self.db.execute_batch("ROLLBACK"));
        }
    }

    /// The busy timeout is zero, so nobody is waited for, and nobody waits for us.
    fn checkpoint(&self, pragma: &str) {
        let since = Instant::now();
        let moved = self.db.query_row(pragma, [], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)));
        if let Ok((_, pages)) = moved {
            self.shared.figures.wal_pages.store(pages.max(0), Ordering::Relaxed);
            self.shared.figures.checkpointed_epoch.store(clock::now_epoch(), Ordering::Relaxed);
        }
        self.shared.activity.record("checkpoint", since.elapsed());
    }

    fn truncate_log(&mut self) {
        if !self.truncated {
            self.checkpoint("PRAGMA wal_checkpoint(TRUNCATE)");
            self.truncated = true;
        }
    }

    fn reject_all(&mut self) {
        self.rollback();
        self.gather();
        for queued in std::mem::take(&mut self.waiting) {
            self.shared.settle(queued, Err(failed(self.shared.name)));
        }
    }
}

fn run_caught(command: &mut dyn Write, db: &Connection) -> Result<()> {
    let name = command.name();
    catch_unwind(AssertUnwindSafe(|| {
        fault::point(name);
        command.run(db)
    }))
    .unwrap_or_else(|payload| Err(Error::from_panic(name, &*payload)))
}

fn busy(name: &str, waited: Duration) -> Error {
    let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
    Error::new(
        Code::Busy,
        format!("{name} waited {waited_ms} ms for a write lock that another process holds; nothing was stored: try again or raise deadlineMs"),
    )
    .with("waitedMs", waited_ms)
}

impl std::fmt::Debug for Writer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Writer").field("name", &self.shared.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
