//! Deleting what is old.

use std::time::{Duration, Instant};

use super::{forget, go_on, merge_away, read, remove_all};
use crate::{
    clock,
    db::Steps,
    error::Result,
    fault,
    memory::Memory,
    store::{
        date_range::Bound,
        removal::{self, Kind, Which},
    },
};

/// What was old enough to go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retained {
    /// The time that it was older than, epoch ms.
    pub older_than_epoch: i64,
    /// Observations deleted.
    pub observations: usize,
    /// Summaries deleted.
    pub summaries: usize,
    /// Prompts deleted.
    pub prompts: usize,
    /// Ended sessions deleted, of which nothing was left.
    pub sessions: usize,
}

/// Sessions that are looked at in one go.
const CHUNK: usize = 256;

/// Deletes observations, summaries and prompts from before `older_than`, of one project or of all; then sessions
/// that were completed or failed before it and have neither rows nor messages nor dead letters left.
///
/// # Errors
/// `ERR_INVALID_ARG` where `older_than` is no time in the past; `ERR_BUSY`, `ERR_DISPOSED`, `ERR_IO`,
/// `ERR_CORRUPT`, `ERR_DISK_FULL`.
pub fn retention(memory: &Memory, project: Option<String>, older_than: Bound, wait: Duration) -> Result<Retained> {
    memory.whole("retention()")?;
    let before = read(memory, "retention", move |db| removal::past(db, &older_than, clock::now_epoch()))?;
    let which = Which { project: project.clone(), before_epoch: Some(before) };
    let mut retained = Retained {
        older_than_epoch: before,
        observations: remove_all(memory, Kind::Observations, &which, wait)?,
        summaries: remove_all(memory, Kind::Summaries, &which, wait)?,
        prompts: remove_all(memory, Kind::Prompts, &which, wait)?,
        sessions: 0,
    };
    let ended = read(memory, "find-sessions", move |db| removal::ended_and_empty(db, project.as_deref(), before))?;
    for chunk in ended.chunks(CHUNK) {
        go_on(memory)?;
        retained.sessions += end_sessions(memory, chunk, before, wait)?;
    }
    // Also what a process that died here before has left.
    let gone = read(memory, "find-sessions", removal::unfinished)?;
    for chunk in gone.chunks(CHUNK) {
        go_on(memory)?;
        finish_sessions(memory, chunk, wait)?;
    }
    merge_away(memory, &[Kind::Observations, Kind::Summaries, Kind::Prompts], wait)?;
    forget(memory)?;
    Ok(retained)
}

fn end_sessions(memory: &Memory, sessions: &[i64], before: i64, wait: Duration) -> Result<usize> {
    // Nothing is taken for them while their rows go.
    let (_leaving, idle, newest) = memory.queue()?.take_leave_of_idle(sessions, wait)?;
    let mut steps = Steps::new(memory.writer()?, "delete-sessions", wait);
    let (mut next, mut deleted) = (0, Vec::new());
    while next < idle.len() {
        let rest = idle[next..].to_vec();
        let gone: Vec<bool> = steps.run(move |db, until| {
            let mut gone = Vec::new();
            for id in &rest {
                gone.push(removal::delete_ended(db, *id, before)?);
                if Instant::now() >= until {
                    break;
                }
            }
            Ok(gone)
        })?;
        for (id, gone) in idle[next..].iter().zip(&gone) {
            if *gone {
                deleted.push(*id);
            }
        }
        next += gone.len();
    }
    fault::point("retention:sessions");
    // Remembered keys, attempts, what is acknowledged and not purged.
    memory.queue()?.erase_idle(&deleted, newest, wait)?;
    Ok(deleted.len())
}

/// Erases what the queue still has of sessions whose row is gone, and then forgets how far they were acknowledged:
/// until then nothing of them can come again, whenever the process dies. Sessions that something waits for are left
/// to the queue, which makes dead letters of it.
fn finish_sessions(memory: &Memory, sessions: &[i64], wait: Duration) -> Result<()> {
    let (_leaving, idle, newest) = memory.queue()?.take_leave_of_idle(sessions, wait)?;
    memory.queue()?.erase_idle(&idle, newest, wait)?;
    fault::point("retention:queue");
    let mut steps = Steps::new(memory.writer()?, "forget-sessions", wait);
    let mut next = 0;
    while next < idle.len() {
        let rest = idle[next..].to_vec();
        next += steps.run(move |db, until| {
            let mut done = 0;
            for id in &rest {
                removal::forget_watermark(db, *id)?;
                done += 1;
                if Instant::now() >= until {
                    break;
                }
            }
            Ok(done)
        })?;
    }
    Ok(())
}
