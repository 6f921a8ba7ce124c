//! `memory.compact()`: giving disk space back.

use napi::{Env, Unknown};
use napi_derive::napi;

use super::{answer::object_answer, arguments::Argument, call::immediate, job::JobHandle, memory::Memory, store};
use crate::compact::{self, Compacted, CompactedFile as File, Progress};

object_answer!(Progress { file: "file", done: "done", total: "total" });
object_answer!(Compacted { files: "files", freed_bytes: "freedBytes", took_ms: "tookMs" });
object_answer!(File {
    name: "name",
    path: "path",
    before_bytes: "beforeBytes",
    after_bytes: "afterBytes",
    rewritten: "rewritten",
    blocked_ms: "blockedMs",
    held_back: "heldBack",
});

/// Options of `compact`.
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct CompactOptions {
    /// How long each file's lock is waited for, where somebody else writes, ms. Default: `deadlineMs` of `openMemory`.
    pub deadline_ms: Option<f64>,
}

/// How far it is.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct CompactProgress {
    /// The file that it begins with.
    #[napi(ts_type = "'queue.db' | 'claude-mem.db' | 'index.db' | 'collections.db'")]
    pub file: String,
    /// Bytes of the files that are done.
    pub done: f64,
    /// Bytes of all files.
    pub total: f64,
}

/// What became of one file.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct CompactedFile {
    /// Its name.
    #[napi(ts_type = "'queue.db' | 'claude-mem.db' | 'index.db' | 'collections.db'")]
    pub name: String,
    /// Where it lies.
    pub path: String,
    /// Its bytes and those of its log, before.
    pub before_bytes: f64,
    /// The same, after.
    pub after_bytes: f64,
    /// Whether it was written anew; false where it had no free pages, and of `queue.db`, which gives pages back one by
    /// one.
    pub rewritten: bool,
    /// For how long others could not write to it, at most, ms.
    pub blocked_ms: f64,
    /// Whether somebody who reads an older state keeps its log from being emptied. What it had to give comes back when
    /// that one has ended and `compact()` runs again.
    pub held_back: bool,
}

/// What `compact` has done.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct CompactReport {
    /// File by file.
    pub files: Vec<CompactedFile>,
    /// Bytes that the disk has back.
    pub freed_bytes: f64,
    /// How long it took, ms.
    pub took_ms: f64,
}

#[napi]
impl Memory {
    /// Gives the disk space back that deleted rows, acknowledged messages and logs still take. `await` it for what it
    /// did; `for await` shows its progress. All rows keep their ids and their content, and readers go on meanwhile.
    ///
    /// `queue.db` gives its free pages back in steps. Each of the other files that has free pages is written anew
    /// (`VACUUM`, one transaction: a process that dies leaves the file as it was), and **nobody can write to it
    /// meanwhile**: seconds for 100 MB, more where the disk is busy. So do it in a quiet hour. That needs twice the bytes of the largest
    /// file's content for as long.
    ///
    /// Throws `ERR_NOT_OPEN` on a client, `ERR_INVALID_ARG` and `ERR_DISPOSED`. The result rejects with `ERR_DISK_FULL`
    /// (`neededBytes`, `freeBytes`) before anything is changed where there is too little space, `ERR_BUSY` where somebody
    /// else wrote for longer than `deadlineMs` (files that were done stay so), `ERR_IO`, `ERR_CORRUPT`, and
    /// `ERR_DISPOSED` where the job was disposed, which leaves the file that it was at as it was.
    #[napi(
        ts_args_type = "options?: CompactOptions | null",
        ts_return_type = "Job<CompactProgress, CompactReport>",
        catch_unwind
    )]
    pub fn compact<'e>(&self, env: &'e Env, options: Unknown<'e>) -> napi::Result<Unknown<'e>> {
        immediate(env, || {
            let given = Argument::new("options", &options).options(&["deadlineMs"])?;
            let wait = store::deadline_in(&given)?.unwrap_or(self.core.settings().deadline);
            Ok(JobHandle::answer(compact::start(&self.core, wait)?))
        })
    }
}
