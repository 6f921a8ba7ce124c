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
        Database,
        command::{Durability, Follow, Write},
        connection::{Identity, about_file},
        lookout::Lookout,
        wal_file::committing,
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
pub(super) const CHECKPOINT_PAGES: i64 = 4_000;
/// How long nothing must have come before the log is truncated, where it is not.
const IDLE: Duration = Duration::from_millis(1_000);
/// The longest between two attempts to truncate a log that a reader holds back.
const IDLE_MAX: Duration = Duration::from_secs(16);
/// Between two attempts at a lock that somebody else holds.
const LOCK_RETRY: Duration = Duration::from_millis(1);

pub(super) struct Worker {
    db: Database,
    /// The file that was opened.
    identity: Option<Identity>,
    base: Durability,
    /// What `PRAGMA synchronous` was last set to.
    synchronous: Option<Durability>,
    shared: Arc<Shared>,
    commands: Receiver<Queued>,
    waiting: VecDeque<Queued>,
    lookout: Lookout,
    follow: Option<Box<dyn Follow>>,
    truncated: bool,
    /// How long to wait for more before the log is truncated.
    idle: Duration,
    /// Pages in the log from which the next checkpoint is due.
    checkpoint_at: i64,
    /// So many more may come first while there is no pause.
    postponed: i64,
}

impl Worker {
    pub(super) fn new(
        db: Database,
        base: Durability,
        shared: Arc<Shared>,
        commands: Receiver<Queued>,
        follow: Option<Box<dyn Follow>>,
        identity: Option<Identity>,
    ) -> Self {
        let postponed = follow.as_ref().map_or(0, |follow| follow.postponed_pages());
        Self {
            identity: identity.or_else(|| Identity::of(&db)),
            db,
            base,
            synchronous: None,
            shared,
            commands,
            waiting: VecDeque::new(),
            lookout: Lookout::new(),
            follow,
            truncated: true,
            idle: IDLE,
            checkpoint_at: CHECKPOINT_PAGES,
            postponed,
        }
    }

    /// Takes the command that the connection was opened for.
    pub(super) fn accept(&mut self, first: Option<Queued>) {
        self.waiting.extend(first);
    }

    /// Serves until the sending side has gone.
    pub(super) fn serve(&mut self) {
        loop {
            if self.waiting.is_empty() {
                if self.lookout.looks() {
                    self.lookout.look(|| !self.commands.is_empty());
                }
                // With the log truncated there is nothing to wake up for.
                let next = if self.truncated {
                    self.commands.recv().map_err(|_| RecvTimeoutError::Disconnected)
                } else {
                    self.commands.recv_timeout(self.idle)
                };
                match next {
                    Ok(queued) => {
                        self.lookout.came(queued.since);
                        self.waiting.push_back(queued);
                    }
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
            if pages >= self.checkpoint_at && (self.rests() || pages >= self.checkpoint_at + self.postponed) {
                self.checkpoint("PRAGMA wal_checkpoint(PASSIVE)");
                // A reader, perhaps of another process, may keep the log from starting over: then it is worth
                // another try only after as many pages again, not after every commit.
                self.checkpoint_at = pages + CHECKPOINT_PAGES;
            }
            self.lookout.worked();
        }
    }

    /// Whether nobody waits for this thread: whoever comes now waits for a checkpoint that is begun.
    fn rests(&self) -> bool {
        self.waiting.is_empty() && self.commands.is_empty()
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
            let outcome =
                if lone { run_caught(&mut *queued.command, &self.db) } else { self.run_in_group(&mut *queued.command) };
            // SQLITE_FULL, IOERR and NOMEM may have rolled back the whole transaction, not the savepoint.
            lost = self.db.is_autocommit();
            outcomes.push(outcome);
        }
        if !lost {
            for command in self.follow.as_mut().map(|follow| follow.follow_ups()).unwrap_or_default() {
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
        }
        if !lost {
            fault::stage("before-commit", || group.iter().map(|queued| queued.command.name()));
            if lone && outcomes.iter().any(Result::is_err) {
                self.rollback();
            } else if let Err(error) = committing(|| self.db.execute_batch("COMMIT")).map_err(Error::from) {
                self.rollback();
                // How a COMMIT with an I/O error ended the file alone can tell: each command runs again and looks. While
                // a connection is open nothing of it is there (see the test of second runs).
                if group.len() == 1 && outcomes.iter().all(Result::is_ok) && error.code != Code::Io {
                    outcomes = vec![Err(error)];
                } else {
                    lost = true;
                }
            } else {
                fault::committed(&self.db, || group.iter().map(|queued| queued.command.name()));
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
        self.settle_group(group, outcomes);
    }

    fn settle_group(&mut self, group: Vec<Queued>, outcomes: Vec<Result<()>>) {
        let mut noted = false;
        for (queued, outcome) in group.into_iter().zip(outcomes) {
            let together = outcome.is_ok() && queued.command.settles_together();
            if noted && !together {
                self.settle_noted();
            }
            noted = together;
            self.shared.settle(queued, outcome.map_err(|error| about_file(&self.db, error)));
        }
        if noted {
            self.settle_noted();
        }
    }

    /// What commands have left to be settled together.
    fn settle_noted(&mut self) {
        if let Some(follow) = &mut self.follow {
            // As in `Shared::settle`.
            drop(catch_unwind(AssertUnwindSafe(|| follow.settle_together())));
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
        self.db.execute_batch("BEGIN IMMEDIATE")?;
        let begun = match &mut self.follow {
            Some(follow) => follow.begun(&self.db),
            None => Ok(()),
        };
        if begun.is_err() {
            self.rollback();
        }
        begun
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

    fn run_in_group(&self, command: &mut dyn Write) -> Result<()> {
        if command.needs_savepoint() {
            return self.run_in_savepoint(command);
        }
        let outcome = run_caught(command, &self.db);
        if outcome.is_err() && command.has_written() {
            // Nothing tells what it did from the others' work: all of it goes, and they run again.
            self.rollback();
        }
        outcome
    }

    fn run_in_savepoint(&self, command: &mut dyn Write) -> Result<()> {
        self.db.prepare_cached("SAVEPOINT command")?.execute([])?;
        let outcome = run_caught(command, &self.db);
        if self.db.is_autocommit() {
            return outcome;
        }
        let closed = self.close_savepoint(outcome.is_err());
        if closed.is_err() {
            // What this command did could not be told from the others' work: all of it goes, and they run again.
            self.rollback();
        }
        outcome.and(closed)
    }

    fn close_savepoint(&self, undo: bool) -> Result<()> {
        if undo {
            self.db.prepare_cached("ROLLBACK TO command")?.execute([])?;
        }
        self.db.prepare_cached("RELEASE command")?.execute([])?;
        Ok(())
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
        let outcome = run_caught(command, &self.db).and_then(|()| {
            fault::stage("before-commit", || std::iter::once(command.name()));
            Ok(committing(|| self.db.execute_batch("COMMIT"))?)
        });
        match outcome {
            Ok(()) => {
                fault::committed(&self.db, || std::iter::once(command.name()));
                fault::stage("after-commit", || std::iter::once(command.name()));
                self.note_commit();
            }
            Err(_) => self.rollback(),
        }
        outcome
    }

    fn note_commit(&mut self) {
        self.truncated = false;
        self.idle = IDLE;
        if self.synchronous == Some(Durability::Full) {
            self.shared.figures.full_commits.fetch_add(1, Ordering::Relaxed);
        }
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
    /// True where it did all that it was asked for.
    fn checkpoint(&self, pragma: &str) -> bool {
        let since = Instant::now();
        let figures = &self.shared.figures;
        let done = self.db.query_row(pragma, [], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)));
        self.shared.activity.record("checkpoint", since.elapsed());
        let Ok::<(bool, i64, i64), _>((busy, pages, moved)) = done else { return false };
        // Where another process checkpoints at this moment, SQLite answers -1 for both.
        if pages >= 0 {
            figures.wal_pages.store(pages, Ordering::Relaxed);
            figures.pinned_pages.store((pages - moved).max(0), Ordering::Relaxed);
            figures.checkpointed_epoch.store(clock::now_epoch(), Ordering::Relaxed);
        }
        !busy
    }

    fn truncate_log(&mut self) {
        if self.truncated {
            return;
        }
        self.truncated = self.checkpoint("PRAGMA wal_checkpoint(TRUNCATE)");
        if self.truncated {
            // The log starts over.
            self.checkpoint_at = CHECKPOINT_PAGES;
            WAL_PAGES.set(0);
        } else {
            // Somebody reads. Once they have gone nobody may write for hours, so it is tried again, ever more rarely.
            self.idle = (self.idle * 2).min(IDLE_MAX);
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
