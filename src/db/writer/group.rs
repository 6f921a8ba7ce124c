//! The writer's thread: gathers a group, waits for the lock, runs, commits, settles, checkpoints.

use std::{
    collections::VecDeque,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError};
use rusqlite::Connection;

use super::{Queued, Shared, WAL_PAGES, failed};
use crate::{
    clock,
    db::{
        command::{Durability, Follow, Write},
        connection::{Identity, about_file},
    },
    error::{Code, Error, Result},
    fault,
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

pub(super) struct Worker {
    db: Connection,
    /// The file that was opened.
    identity: Option<Identity>,
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
    pub(super) fn new(
        db: Connection,
        base: Durability,
        shared: Arc<Shared>,
        commands: Receiver<Queued>,
        follow: Option<Box<dyn Follow>>,
    ) -> Self {
        Self {
            identity: Identity::of(&db),
            db,
            base,
            synchronous: None,
            shared,
            commands,
            waiting: VecDeque::new(),
            follow,
            truncated: true,
            checkpoint_at: CHECKPOINT_PAGES,
        }
    }

    /// Serves until the sending side has gone.
    pub(super) fn serve(&mut self) {
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
            self.shared.settle(queued, outcome.map_err(|error| about_file(&self.db, error)));
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
                    let error = about_file(&self.db, error);
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
        if let Some(identity) = &self.identity {
            // A microsecond a group. Deleted right after it, the commit is in a file without a name: nobody can tell.
            identity.check(&self.db)?;
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

    /// The thread itself has failed: what waits is told so.
    pub(super) fn reject_all(&mut self) {
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
