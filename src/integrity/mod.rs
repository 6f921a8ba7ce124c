//! Whether the files are what they should be ([`check`]), and making again what can be derived ([`repair`]).

mod check;
mod repair;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::{
    error::Result,
    job::{Control, Job},
    memory::Memory,
    reply::Reply,
};

/// One thing that is not as it should be.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// What kind of thing.
    pub kind: &'static str,
    /// `error`: something is lost or wrong. `warning`: somebody should look. `info`: legal, and worth knowing.
    pub severity: &'static str,
    /// The file.
    pub file: String,
    /// The table or trigger, where it is about one.
    pub table: Option<String>,
    /// What was found.
    pub message: String,
    /// How many rows.
    pub count: Option<i64>,
    /// Ids of the first of them.
    pub ids: Vec<i64>,
    /// What to do.
    pub remedy: &'static str,
}

/// What a check has found.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// Whether there is no finding of severity `error`.
    pub ok: bool,
    /// When it began, epoch ms.
    pub checked_at_epoch: i64,
    /// How long it took.
    pub took_ms: u64,
    /// The findings, file by file.
    pub findings: Vec<Finding>,
}

/// One thing that a repair has done.
#[derive(Debug, Clone, PartialEq)]
pub struct Action {
    /// The table, or `queue` for the counters.
    pub table: String,
    /// What was done.
    pub message: String,
    /// For how long it kept others from writing to the file.
    pub blocked_ms: u64,
}

/// What a repair has done.
#[derive(Debug, Clone, PartialEq)]
pub struct Repaired {
    /// Empty where all was well.
    pub actions: Vec<Action>,
    /// For how long others could not write to `claude-mem.db`, in all.
    pub blocked_ms: u64,
    /// What a check finds now.
    pub report: Report,
}

/// Checks the files of the open parts; see [`check`].
pub fn check(memory: &Arc<Memory>, reply: Reply<Report>) {
    start(memory, "check", check::run, reply);
}

/// Mends what [`check()`] finds and can be derived again; see [`repair`].
pub fn repair(memory: &Arc<Memory>, reply: Reply<Repaired>) {
    match memory.must_own("repair()") {
        Ok(()) => start(memory, "repair", repair::run, reply),
        Err(refusal) => reply.settle(Err(refusal)),
    }
}

/// On a thread of its own, which ends with the memory.
fn start<R: Clone + Send + 'static>(
    memory: &Arc<Memory>,
    name: &'static str,
    run: fn(&Memory, &Control<'_, ()>) -> Result<R>,
    reply: Reply<R>,
) {
    let begin = || -> Result<Job<(), R>> {
        let mine = Arc::clone(memory);
        memory.jobs().start(name, move |control| run(&mine, control))
    };
    match begin() {
        Ok(job) => job.result(reply),
        Err(error) => reply.settle(Err(error)),
    }
}
