//! Deleting a project.

use std::time::{Duration, Instant};

use super::{forget, go_on, merge_away, read, remove_all};
use crate::{
    db::Steps,
    error::{Code, Error, Result},
    fault,
    memory::Memory,
    store::removal::{self, Ended, Kind, Which},
};

/// What of a project was deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DeletedProject {
    /// Observations.
    pub observations: usize,
    /// Summaries.
    pub summaries: usize,
    /// Prompts.
    pub prompts: usize,
    /// Sessions.
    pub sessions: usize,
    /// Sessions that stay, without their prompts, as they have rows of another project: they are that one's now.
    pub sessions_kept: usize,
    /// Messages that waited.
    pub messages: usize,
    /// Dead letters.
    pub dead_letters: usize,
}

/// How often rows that others store meanwhile are deleted again before it is given up.
const ROUNDS: usize = 10;

/// Deletes every observation and summary of the project, and its sessions with their prompts, waiting messages,
/// dead letters and everything else that the queue has of them.
///
/// The queue's part goes first: a session whose row is gone cannot be found by its project any more, so whatever
/// is still there of it when the process dies must be in the shared file.
///
/// # Errors
/// `ERR_BUSY`, `ERR_DISPOSED`, `ERR_IO`, `ERR_CORRUPT`, `ERR_DISK_FULL`.
pub fn delete_project(memory: &Memory, project: &str, wait: Duration) -> Result<DeletedProject> {
    memory.whole("deleteProject()")?;
    let mut deleted = DeletedProject::default();
    let name = project.to_owned();
    let sessions = read(memory, "find-sessions", move |db| removal::sessions_of(db, &name))?;
    // Until the end nothing new is taken for these sessions, so that nothing waits for a row that is gone.
    let leaving = memory.queue()?.take_leave(&sessions, wait)?;
    erase(memory, &sessions, wait, &mut deleted)?;
    fault::point("deleteProject:queue");
    let of_project = Which { project: Some(project.to_owned()), before_epoch: None };
    let mut left = sessions.clone();
    for round in 0.. {
        deleted.observations += remove_all(memory, Kind::Observations, &of_project, wait)?;
        deleted.summaries += remove_all(memory, Kind::Summaries, &of_project, wait)?;
        deleted.prompts += remove_all(memory, Kind::Prompts, &of_project, wait)?;
        fault::point("deleteProject:rows");
        left = end_sessions(memory, project, left, wait, &mut deleted)?;
        if left.is_empty() {
            break;
        }
        if round == ROUNDS {
            return Err(Error::new(
                Code::Busy,
                format!(
                    "{} sessions of the project get new rows as fast as they are deleted; what was deleted stays so: \
                     stop what writes to them and delete the project again",
                    left.len()
                ),
            ));
        }
    }
    fault::point("deleteProject:sessions");
    // Another process may have enqueued in between.
    erase(memory, &sessions, wait, &mut deleted)?;
    drop(leaving);
    memory.queue()?.give_back_pages();
    merge_away(memory, &[Kind::Observations, Kind::Summaries, Kind::Prompts], wait)?;
    forget(memory)?;
    Ok(deleted)
}

fn erase(memory: &Memory, sessions: &[i64], wait: Duration, deleted: &mut DeletedProject) -> Result<()> {
    go_on(memory)?;
    let erased = memory.queue()?.erase(sessions, wait)?;
    deleted.messages += erased.messages;
    deleted.dead_letters += erased.dead_letters;
    Ok(())
}

/// Deletes the sessions; answers with those that something of the project still belongs to.
fn end_sessions(
    memory: &Memory,
    project: &str,
    sessions: Vec<i64>,
    wait: Duration,
    deleted: &mut DeletedProject,
) -> Result<Vec<i64>> {
    let mut steps = Steps::new(memory.writer()?, "delete-sessions", wait);
    let (mut in_use, mut next) = (Vec::new(), 0);
    while next < sessions.len() {
        go_on(memory)?;
        let (project, rest) = (project.to_owned(), sessions[next..].to_vec());
        let ended: Vec<Ended> = steps.run(move |db, until| {
            let mut ended = Vec::new();
            for id in &rest {
                ended.push(removal::end_session_of(db, *id, &project)?);
                if Instant::now() >= until {
                    break;
                }
            }
            Ok(ended)
        })?;
        for (id, ended) in sessions[next..].iter().zip(&ended) {
            match ended {
                Ended::Deleted => deleted.sessions += 1,
                Ended::Kept => deleted.sessions_kept += 1,
                Ended::InUse => in_use.push(*id),
                Ended::Missing => {}
            }
        }
        next += ended.len();
    }
    Ok(in_use)
}
