//! Commands of a writer: what runs inside its transactions, and who is told.

use std::time::Instant;

use rusqlite::Connection;

use crate::{
    error::{Error, Result},
    reply::Reply,
};

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
    /// Whether a failure is undone by a savepoint of its own. One statement needs none: SQLite undoes a statement that
    /// fails, or the whole transaction. Asked before `run`.
    fn needs_savepoint(&self) -> bool {
        true
    }
    /// Of one without a savepoint that has failed: whether it had begun to write. Then its transaction is given up, and
    /// the others of the group run again. A command that is refused before that disturbs nobody.
    fn has_written(&self) -> bool {
        true
    }
    /// Told the truth, once: after the COMMIT, or with the failure.
    fn settle(self: Box<Self>, outcome: Result<()>);
    /// Whether `settle`, after a COMMIT, only notes what is to be done, and [`Follow::settle_together`] does it for all
    /// those of a group that stand one after the other.
    fn settles_together(&self) -> bool {
        false
    }
}

/// Adds commands to a group that has run and is about to commit: the claim of a waiting consumer is written
/// in the enqueue's own transaction.
pub trait Follow: Send {
    /// Called inside each transaction before its first command: what other connections have committed since the
    /// last one is visible, and nobody can commit more until this one ends.
    ///
    /// # Errors
    /// Rejects the commands of the group.
    fn begun(&mut self, db: &Connection) -> Result<()>;
    /// Commands to run in the same transaction.
    fn follow_ups(&mut self) -> Vec<Box<dyn Write>>;
    /// Settles what [`Write::settles_together`].
    fn settle_together(&mut self) {}
    /// Pages by which the log may grow beyond the mark at which a checkpoint is due, while commands come without a pause.
    /// A checkpoint waits for the disk; so a burst is taken in first. For a file that nobody else writes much to: a log
    /// that is long is one that others' commits may find due.
    fn postponed_pages(&self) -> i64 {
        0
    }
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
