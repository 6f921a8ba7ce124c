//! Duplicates, and deleting for good.

use std::{sync::Arc, time::Duration};

use napi::{Env, Unknown};
use napi_derive::napi;

use super::{
    answer::{IntoAnswer, object_answer},
    arguments::Argument,
    call::{Pending, Promised, promise},
    memory::Memory,
    store,
};
use crate::{
    deletion::{self, DeletedProject as Project, DeletedRows as Rows, Retained},
    error::Result,
    memory,
    reply::Reply,
    store::{
        date_range::Bound,
        duplicates::{self, Group},
        removal::Kind,
    },
};

object_answer!(Group { kind: "kind", project: "project", title: "title", ids: "ids", count: "count" });
object_answer!(Rows { deleted: "deleted", unknown: "unknown" });
object_answer!(Project {
    observations: "observations",
    summaries: "summaries",
    prompts: "prompts",
    sessions: "sessions",
    sessions_kept: "sessionsKept",
    messages: "messages",
    dead_letters: "deadLetters",
});
object_answer!(Retained {
    older_than_epoch: "olderThanEpoch",
    observations: "observations",
    summaries: "summaries",
    prompts: "prompts",
    sessions: "sessions",
});

/// Options of `memory.findDuplicates`.
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct DuplicateOptions {
    /// Only this project. Default: all.
    pub project: Option<String>,
    /// Groups at most. Default: 1,000.
    pub limit: Option<f64>,
}

/// Rows of one project that say the same.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct DuplicateGroup {
    /// What they are.
    #[napi(ts_type = "'observation' | 'summary'")]
    pub kind: String,
    /// Their project.
    pub project: String,
    /// An observation's title, a summary's request.
    pub title: Option<String>,
    /// Their ids, lowest first.
    pub ids: Vec<f64>,
    /// How many there are.
    pub count: f64,
}

/// Options of `deleteObservations`, `deleteSummaries` and `deleteProject`.
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct DeletionOptions {
    /// How long each step waits for a lock that another process holds, ms. Default: `deadlineMs` of `openMemory`.
    pub deadline_ms: Option<f64>,
}

/// What became of ids that were to be deleted.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct DeletedRows {
    /// Rows that are gone.
    pub deleted: f64,
    /// Ids that had no row.
    pub unknown: f64,
}

/// What of a project was deleted.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct DeletedProject {
    /// Observations.
    pub observations: f64,
    /// Summaries.
    pub summaries: f64,
    /// Prompts of its sessions.
    pub prompts: f64,
    /// Sessions.
    pub sessions: f64,
    /// Sessions that had rows of another project too: they stay for these, as that project's, without their prompts.
    pub sessions_kept: f64,
    /// Messages that waited.
    pub messages: f64,
    /// Dead letters.
    pub dead_letters: f64,
}

/// Options of `retention`.
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct RetentionOptions {
    /// Only this project. Default: all.
    pub project: Option<String>,
    /// What is from before this time goes: epoch ms, a Date, or ISO-8601 text; in the past.
    #[napi(ts_type = "number | string | Date")]
    pub older_than: f64,
    /// How long each step waits for a lock that another process holds, ms. Default: `deadlineMs` of `openMemory`.
    pub deadline_ms: Option<f64>,
}

/// What was old enough to go.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct RetentionResult {
    /// The time that it was older than, epoch ms.
    pub older_than_epoch: f64,
    /// Observations deleted.
    pub observations: f64,
    /// Summaries deleted.
    pub summaries: f64,
    /// Prompts deleted.
    pub prompts: f64,
    /// Sessions deleted: completed or failed before that time, with nothing of theirs left.
    pub sessions: f64,
}

impl Memory {
    /// Runs `work` as long work of this memory, and promises what comes of it.
    fn delete<'e, T, W>(
        &self,
        env: &'e Env,
        prepare: impl FnOnce() -> Result<(Option<Duration>, W)>,
    ) -> napi::Result<Promised<'e>>
    where
        T: IntoAnswer + Clone + Send + 'static,
        W: FnOnce(&memory::Memory, Duration) -> Result<T> + Send + 'static,
    {
        promise(env, Pending::Operation, || {
            let (wait, work) = prepare()?;
            let memory = Arc::clone(&self.core);
            let wait = wait.unwrap_or(memory.settings().deadline);
            let mine = Arc::clone(&memory);
            let job = memory.jobs().start::<(), T>("delete", move |_| work(&mine, wait))?;
            Ok(move |reply: Reply<T>| job.result(reply))
        })
    }

    fn delete_rows<'e>(
        &self,
        env: &'e Env,
        kind: Kind,
        ids: &Unknown<'e>,
        options: &Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        self.delete(env, || {
            let ids = Argument::new("ids", ids).ids()?;
            let wait = deadline(options)?;
            Ok((wait, move |memory: &memory::Memory, wait| deletion::delete_rows(memory, kind, ids, wait)))
        })
    }
}

fn deadline(options: &Unknown<'_>) -> Result<Option<Duration>> {
    store::deadline_in(&Argument::new("options", options).options(&["deadlineMs"])?)
}

#[napi]
impl Memory {
    /// Rows that say the same within a project, in whichever sessions: equal in everything but session, prompt number
    /// and time. Observations first, those with the lowest id first. Give the ids that you do not want to
    /// `deleteObservations` or `deleteSummaries`. Reads the whole tables on a reader thread.
    /// (`store.findDuplicates` finds what an agent that was asked twice has stored twice in the same session.)
    #[napi(
        ts_args_type = "options?: DuplicateOptions | null",
        ts_return_type = "Promise<DuplicateGroup[]>",
        catch_unwind
    )]
    pub fn find_duplicates<'e>(&self, env: &'e Env, options: Unknown<'e>) -> napi::Result<Promised<'e>> {
        store::read(&self.core, env, "findDuplicates", || {
            let given = Argument::new("options", &options).options(&["project", "limit"])?;
            let project = given.read("project", |value| value.text())?;
            let limit = given.read("limit", |value| value.integer(1..=1_000_000, ""))?.unwrap_or(1_000);
            Ok(move |db: &_| duplicates::find_groups(db, project.as_deref(), limit))
        })
    }

    /// Deletes observations, with their entries in the text index. Any number of ids; those without a row are counted.
    /// In steps of some 25 ms, so that no hook waits for it: one that fails leaves what it has deleted.
    ///
    /// What SQLite and FTS5 have freed may stay readable in the file until it is overwritten; with
    /// `secureDelete: true` it is overwritten at once and the text index merged. The copy
    /// `claude-mem.db.pre-native`, backups and exports are not touched.
    ///
    /// A client may call it too. Rejects with `ERR_NOT_OPEN` without the part `'store'`, `ERR_READ_ONLY` with `readOnly`,
    /// `ERR_BUSY`, `ERR_DISPOSED`, `ERR_INVALID_ARG`, `ERR_IO`, `ERR_DISK_FULL`.
    #[napi(
        ts_args_type = "ids: number[], options?: DeletionOptions | null",
        ts_return_type = "Promise<DeletedRows>",
        catch_unwind
    )]
    pub fn delete_observations<'e>(
        &self,
        env: &'e Env,
        ids: Unknown<'e>,
        options: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        self.delete_rows(env, Kind::Observations, &ids, &options)
    }

    /// As `deleteObservations`, for summaries.
    #[napi(
        ts_args_type = "ids: number[], options?: DeletionOptions | null",
        ts_return_type = "Promise<DeletedRows>",
        catch_unwind
    )]
    pub fn delete_summaries<'e>(
        &self,
        env: &'e Env,
        ids: Unknown<'e>,
        options: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        self.delete_rows(env, Kind::Summaries, &ids, &options)
    }

    /// Deletes a project (the name as rows have it; `''` is that of sessions that have none yet): all its observations
    /// and summaries with their text indexes, and its sessions with their prompts, waiting messages, dead letters,
    /// leases and remembered keys.
    ///
    /// The sessions' consumers end with `'deleted'`; an open batch's commit rejects with `ERR_LEASE_LOST`, one that
    /// has begun is waited for and what it stored is deleted; enqueues reject with `ERR_NOT_FOUND`. In steps, as
    /// `deleteObservations`; where it fails or the process dies half-way, calling it again finishes it.
    ///
    /// Rejects with `ERR_NOT_OPEN` on a client and without both parts; `ERR_BUSY`, `ERR_DISPOSED`, `ERR_INVALID_ARG`,
    /// `ERR_IO`, `ERR_DISK_FULL`.
    #[napi(
        ts_args_type = "project: string, options?: DeletionOptions | null",
        ts_return_type = "Promise<DeletedProject>",
        catch_unwind
    )]
    pub fn delete_project<'e>(
        &self,
        env: &'e Env,
        project: Unknown<'e>,
        options: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        self.delete(env, || {
            let project = Argument::new("project", &project).text()?;
            let wait = deadline(&options)?;
            Ok((wait, move |memory: &memory::Memory, wait| deletion::delete_project(memory, &project, wait)))
        })
    }

    /// Deletes what is old: observations, summaries and prompts from before `olderThan`, then sessions that were
    /// completed or failed before it and of which nothing is left; never an active one, nor one with messages, dead
    /// letters or a consumer. What a client enqueues for a session that is just going becomes a dead letter, never lost.
    /// In steps, as `deleteObservations`.
    ///
    /// Rejects with `ERR_NOT_OPEN` on a client and without both parts; `ERR_INVALID_ARG` where `olderThan` is missing, no time, or not in the past; `ERR_BUSY`,
    /// `ERR_DISPOSED`, `ERR_IO`, `ERR_DISK_FULL`.
    #[napi(ts_args_type = "options: RetentionOptions", ts_return_type = "Promise<RetentionResult>", catch_unwind)]
    pub fn retention<'e>(&self, env: &'e Env, options: Unknown<'e>) -> napi::Result<Promised<'e>> {
        self.delete(env, || {
            let given = Argument::new("options", &options).options(&["project", "olderThan", "deadlineMs"])?;
            let project = given.read("project", |value| value.text())?;
            let older_than = time(&given.required("olderThan")?)?;
            let wait = store::deadline_in(&given)?;
            Ok((wait, move |memory: &memory::Memory, wait| deletion::retention(memory, project, older_than, wait)))
        })
    }
}

fn time(value: &Argument<'_>) -> Result<Bound> {
    if let Some(epoch) = value.date()? {
        return Ok(Bound::Epoch(epoch));
    }
    value
        .text()
        .map(Bound::Text)
        .or_else(|_| value.number().map(Bound::Epoch))
        .map_err(|_| value.expected("epoch milliseconds, a Date or an ISO-8601 date"))
}
