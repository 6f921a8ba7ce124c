//! Export and import of a memory.

use std::{path::PathBuf, sync::Arc};

use napi::{Env, Unknown};
use napi_derive::napi;

use super::{
    answer::{Answer, IntoAnswer, object_answer},
    arguments::Argument,
    call::immediate,
    job::JobHandle,
    memory::Memory,
    store,
};
use crate::{
    error::Result,
    portable::{
        self, Arrivals, ExportOptions as Wanted, Exported, ImportOptions as Reading, Imported, Progress, Tally,
    },
};

object_answer!(Progress { done: "done", total: "total" });
object_answer!(Tally { imported: "imported", existing: "existing" });
object_answer!(Exported {
    path: "path",
    bytes: "bytes",
    lines: "lines",
    sessions: "sessions",
    observations: "observations",
    summaries: "summaries",
    prompts: "prompts",
    messages: "messages",
    dead_letters: "deadLetters",
});
object_answer!(Imported {
    lines: "lines",
    sessions: "sessions",
    observations: "observations",
    summaries: "summaries",
    prompts: "prompts",
    messages: "messages",
    dead_letters: "deadLetters",
    ignored_columns: "ignoredColumns",
});

impl IntoAnswer for Arrivals {
    fn into_answer(self) -> Answer {
        Answer::object(
            &["imported", "duplicate", "skipped"],
            [self.imported.into_answer(), self.duplicate.into_answer(), self.skipped.into_answer()],
        )
    }
}

/// How far an export or an import is.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct PortableProgress {
    /// Lines written by an export, bytes read by an import.
    pub done: f64,
    /// Of how many, about.
    pub total: f64,
}

/// Options of `exportTo`.
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct ExportOptions {
    /// Only this project: its observations and summaries, its sessions with their prompts and messages, and the
    /// sessions that its rows belong to. Default: everything.
    pub project: Option<String>,
    /// How long each write to the queue's file waits for a lock, ms. Default: `deadlineMs` of `openMemory`.
    pub deadline_ms: Option<f64>,
}

/// What an export wrote.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct ExportSummary {
    /// The file, absolute.
    pub path: String,
    /// Its size.
    pub bytes: f64,
    /// Its lines, header and footer included.
    pub lines: f64,
    /// Sessions in it.
    pub sessions: f64,
    /// Observations in it.
    pub observations: f64,
    /// Summaries in it.
    pub summaries: f64,
    /// Prompts in it.
    pub prompts: f64,
    /// Waiting messages in it, leased ones included.
    pub messages: f64,
    /// Dead letters in it.
    pub dead_letters: f64,
}

/// Options of `importFrom`.
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct ImportOptions {
    /// The longest line that is read into memory, 1,024 to 1,000,000,000 bytes. Default: 134,217,728 (128 MiB): a
    /// message of 50 MiB fits, however it is quoted.
    pub max_line_bytes: Option<f64>,
    /// How long each step waits for a lock that another process holds, ms. Default: `deadlineMs` of `openMemory`.
    pub deadline_ms: Option<f64>,
}

/// What became of the rows of one kind.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct ImportTally {
    /// Rows that are new here.
    pub imported: f64,
    /// Rows that are here already; they stay as they are.
    pub existing: f64,
}

/// What became of messages or dead letters.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct ImportArrivals {
    /// New here, at the tail of their sessions.
    pub imported: f64,
    /// They wait here, or this memory has imported or exported them before and they were delivered since.
    pub duplicate: f64,
    /// Dead letters beyond `maxDeadLetters` or `deadLetterAgeMs`.
    pub skipped: f64,
}

/// What an import did.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct ImportSummary {
    /// Lines read, header and footer included.
    pub lines: f64,
    /// Sessions, known by their `claude_session_id`.
    pub sessions: ImportTally,
    /// Observations.
    pub observations: ImportTally,
    /// Summaries.
    pub summaries: ImportTally,
    /// Prompts.
    pub prompts: ImportTally,
    /// Waiting messages.
    pub messages: ImportArrivals,
    /// Dead letters, and waiting messages whose session is nowhere (reason `session-gone`).
    pub dead_letters: ImportArrivals,
    /// Columns in the file that this database does not have, as `table.column`; their values were left out.
    pub ignored_columns: Vec<String>,
}

/// What is read by default at most, bytes a line.
const MAX_LINE: usize = 128 << 20;

fn path(value: &Unknown<'_>) -> Result<PathBuf> {
    Ok(std::path::absolute(Argument::new("path", value).nonempty_text()?)?)
}

#[napi]
impl Memory {
    /// Writes everything (sessions, observations, summaries, prompts, waiting messages and dead letters) to a file of
    /// JSON Lines, as it is at one moment, while the worker goes on. Rows are written as SQLite has them, text that
    /// is no JSON or no UTF-8 included, so that importing gives the same rows again, with other ids.
    ///
    /// The file is there whole or not at all: it is written as a hidden `.part` file beside it (mode 0600), synced
    /// and renamed; one that is there already is replaced. The job shows `{done, total}` lines; `dispose()` removes
    /// what was written. Bounded memory: one row at a time. The exported messages are remembered in `queue.db`, so
    /// that this memory does not take them for new when it imports them after they were delivered.
    ///
    /// A client exports as well, beside the owner or without one; with `readOnly` nothing is remembered.
    ///
    /// Throws `ERR_INVALID_ARG` and `ERR_DISPOSED`. The result rejects with `ERR_NOT_OPEN` without both parts (nothing is
    /// written), `ERR_IO`, `ERR_DISK_FULL`, `ERR_READ_ONLY`, `ERR_BUSY`, `ERR_CORRUPT`, and `ERR_INVALID_ARG` for a path of
    /// the memory's own files.
    #[napi(
        ts_args_type = "path: string, options?: ExportOptions | null",
        ts_return_type = "Job<PortableProgress, ExportSummary>",
        catch_unwind
    )]
    pub fn export_to<'e>(&self, env: &'e Env, path: Unknown<'e>, options: Unknown<'e>) -> napi::Result<Unknown<'e>> {
        immediate(env, || {
            let path = self::path(&path)?;
            let given = Argument::new("options", &options).options(&["project", "deadlineMs"])?;
            let memory = Arc::clone(&self.core);
            let wanted = Wanted {
                project: given.read("project", |value| value.text())?,
                wait: store::deadline_in(&given)?.unwrap_or(memory.settings().deadline),
            };
            let mine = Arc::clone(&memory);
            let job = memory.jobs().start("export", move |control| portable::export(&mine, &path, &wanted, control))?;
            Ok(JobHandle::answer(job))
        })
    }

    /// Reads a file that `exportTo` wrote into this memory, line by line, in transactions of some 25 ms with rests
    /// between them. Nothing is imported twice, however often the file is read:
    ///
    /// - A session is known by its `claude_session_id`. One that is here stays as it is; only a NULL `sdk_session_id`
    ///   is filled in. Rows of a session that has another `sdk_session_id` here go to that one.
    /// - Observations, summaries and prompts are known by their content: all columns but the id. The file's equal
    ///   rows count one by one.
    /// - A message is known by its session, time and text: where it waits, or was imported or exported here before
    ///   (also where it was delivered since), it is a duplicate. New ones go to the tail of their session's queue.
    ///   `queue.purge` and `deleteProject` forget what is known, so that what was thrown away can be brought back.
    ///
    /// Where it fails, the error's `line` says where; what came before that line is imported, and reading the file
    /// again goes on from there. The job shows `{done, total}` bytes; `dispose()` stops it at a line.
    ///
    /// Throws `ERR_INVALID_ARG` and `ERR_DISPOSED`. The result rejects with `ERR_NOT_OPEN` on a client and without both
    /// parts (nothing is read), `ERR_INVALID_ARG` (no export, a line that is none, one beyond `maxLineBytes`), `ERR_CORRUPT` (cut off, lines missing), `ERR_SCHEMA_UNSUPPORTED` (a later
    /// format), `ERR_CONSTRAINT`, `ERR_QUEUE_FULL`, `ERR_BUSY`, `ERR_IO`, `ERR_DISK_FULL`.
    #[napi(
        ts_args_type = "path: string, options?: ImportOptions | null",
        ts_return_type = "Job<PortableProgress, ImportSummary>",
        catch_unwind
    )]
    pub fn import_from<'e>(&self, env: &'e Env, path: Unknown<'e>, options: Unknown<'e>) -> napi::Result<Unknown<'e>> {
        immediate(env, || {
            let path = self::path(&path)?;
            let given = Argument::new("options", &options).options(&["maxLineBytes", "deadlineMs"])?;
            let memory = Arc::clone(&self.core);
            let reading = Reading {
                max_line_bytes: given
                    .read("maxLineBytes", |value| value.size(1_024..=1_000_000_000, "bytes"))?
                    .unwrap_or(MAX_LINE),
                wait: store::deadline_in(&given)?.unwrap_or(memory.settings().deadline),
            };
            let mine = Arc::clone(&memory);
            let job =
                memory.jobs().start("import", move |control| portable::import(&mine, &path, &reading, control))?;
            Ok(JobHandle::answer(job))
        })
    }
}
