//! The files as a whole: backup and restore, check and repair.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc, time::Duration};

use napi::{Env, Unknown};
use napi_derive::napi;

use super::{
    answer::{Answer, IntoAnswer, object_answer},
    arguments::Argument,
    call::{Pending, Promised, immediate, promise},
    job::JobHandle,
    memory::Memory,
    open_options::milliseconds,
};
use crate::{
    backup::{
        self, Progress,
        files::FILES,
        manifest::Manifest,
        restore::{RestoreOptions as Options, Restored, RestoredFile as File},
    },
    db::layout::Layout,
    error::{Error, Result},
    integrity::{self, Action, Finding, Repaired, Report},
    job::Job,
    reply::Reply,
};

object_answer!(Progress { file: "file", done: "done", total: "total" });
object_answer!(Restored { created_at_epoch: "createdAtEpoch", files: "files" });
object_answer!(File { name: "name", path: "path", bytes: "bytes", kept_as: "keptAs" });
object_answer!(Action { table: "table", message: "message", blocked_ms: "blockedMs" });
object_answer!(Repaired { actions: "actions", blocked_ms: "blockedMs", report: "report" });
object_answer!(Report { ok: "ok", checked_at_epoch: "checkedAtEpoch", took_ms: "tookMs", findings: "findings" });
object_answer!(Finding {
    kind: "kind",
    severity: "severity",
    file: "file",
    table: "table",
    message: "message",
    count: "count",
    ids: "ids",
    remedy: "remedy",
});

impl IntoAnswer for Manifest {
    fn into_answer(self) -> Answer {
        self.to_json().into_answer()
    }
}

/// How far a backup or a restore is.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct BackupProgress {
    /// The file it is at, by its name in the backup.
    #[napi(ts_type = "'queue.db' | 'collections.db' | 'claude-mem.db'")]
    pub file: String,
    /// Bytes of it that are done.
    pub done: f64,
    /// Bytes of it in all; a restore reads each file twice.
    pub total: f64,
}

/// One file of a backup.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct BackupFile {
    /// Its name in the backup's folder.
    #[napi(ts_type = "'queue.db' | 'collections.db' | 'claude-mem.db'")]
    pub name: String,
    /// Where it lies in a data directory.
    pub place: String,
    /// Its length.
    pub bytes: f64,
    /// Its SHA-256, in lower-case hexadecimal.
    pub sha256: String,
    /// Rows of its tables.
    #[napi(ts_type = "Record<string, number>")]
    pub rows: u32,
}

/// What a backup says of itself; `manifest.json` in its folder.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct BackupManifest {
    /// Format of the backup.
    pub format: f64,
    /// Version of the engine that made it.
    pub engine: String,
    /// When its first copy began, epoch ms.
    pub created_at_epoch: f64,
    /// The same, ISO-8601.
    pub created_at: String,
    /// Its files.
    pub files: Vec<BackupFile>,
}

/// Options of `restore`.
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct RestoreOptions {
    /// Replace files that are there; each is kept beside as `*.before-restore`, numbered where that name is
    /// taken. Default false.
    pub overwrite: Option<bool>,
    /// Restore only these. Default: all that the backup has.
    #[napi(ts_type = "Array<'queue.db' | 'collections.db' | 'claude-mem.db'>")]
    pub files: Option<Vec<String>>,
    /// How long to wait for the directory's owner, and for others who have a database open, ms (0 to 600,000).
    /// Default 10,000.
    pub lock_wait_ms: Option<f64>,
}

/// What became of one file.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct RestoredFile {
    /// Its name in the backup.
    #[napi(ts_type = "'queue.db' | 'collections.db' | 'claude-mem.db'")]
    pub name: String,
    /// Where it lies now.
    pub path: String,
    /// Its length.
    pub bytes: f64,
    /// Where the file lies that was there before; null where there was none, or it was the same already.
    pub kept_as: Option<String>,
}

/// What a restore has done.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct RestoreReport {
    /// When the backup was made, epoch ms.
    pub created_at_epoch: f64,
    /// What became of each file.
    pub files: Vec<RestoredFile>,
}

/// One thing that `memory.checkIntegrity()` found.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct IntegrityFinding {
    /// What kind of thing.
    #[napi(
        ts_type = "'damaged' | 'missing-file' | 'missing-table' | 'missing-index' | 'missing-text-index' | 'text-index-differs' | 'trigger' | 'orphans' | 'not-json' | 'queue-counters' | 'dead-letter-counter' | 'stray-leases' | 'stray-attempts' | 'busy'"
    )]
    pub kind: String,
    /// `'error'`: something is lost or wrong. `'warning'`: somebody should look. `'info'`: legal, and worth knowing.
    #[napi(ts_type = "'error' | 'warning' | 'info'")]
    pub severity: String,
    /// The file.
    pub file: String,
    /// The table or trigger, where it is about one.
    pub table: Option<String>,
    /// What was found.
    pub message: String,
    /// How many rows.
    pub count: Option<f64>,
    /// Ids of the first 20 of them.
    pub ids: Vec<f64>,
    /// What to do.
    pub remedy: String,
}

/// What `memory.checkIntegrity()` found.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct IntegrityReport {
    /// Whether there is no finding of severity `'error'`.
    pub ok: bool,
    /// When it began, epoch ms.
    pub checked_at_epoch: f64,
    /// How long it took, ms.
    pub took_ms: f64,
    /// The findings, file by file.
    pub findings: Vec<IntegrityFinding>,
}

/// One thing that `memory.repair()` did.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct RepairAction {
    /// The full-text table, or `queue` for the counters.
    pub table: String,
    /// What was done.
    pub message: String,
    /// For how long others could not write to `claude-mem.db`, ms.
    pub blocked_ms: f64,
}

/// What `memory.repair()` did.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct RepairReport {
    /// Empty where all was well.
    pub actions: Vec<RepairAction>,
    /// For how long others could not write to `claude-mem.db`, in all, ms.
    pub blocked_ms: f64,
    /// What a check finds now.
    pub report: IntegrityReport,
}

pub(super) fn path(name: &'static str, value: &Unknown<'_>) -> Result<PathBuf> {
    Ok(std::path::absolute(Argument::new(name, value).nonempty_text()?)?)
}

#[napi]
impl Memory {
    /// Copies the files into `folder`, which is new or empty: `queue.db`, `claude-mem.db` and, last,
    /// `manifest.json`. `await` it for the manifest; `for await` shows its progress.
    ///
    /// Each file is copied from one read snapshot, on a connection and a thread of its own: reads and writes, of
    /// other processes too, go on meanwhile, and it always ends. The logs of the databases grow while it runs.
    ///
    /// Throws `ERR_DISPOSED` and `ERR_INVALID_ARG`; rejects with `ERR_INVALID_ARG` where the folder has something in
    /// it, `ERR_DISK_FULL`, `ERR_READ_ONLY`, `ERR_IO` and `ERR_CORRUPT`. Nothing half written is left behind.
    #[napi(ts_args_type = "folder: string", ts_return_type = "Job<BackupProgress, BackupManifest>", catch_unwind)]
    pub fn backup<'e>(&self, env: &'e Env, folder: Unknown<'e>) -> napi::Result<Unknown<'e>> {
        immediate(env, || {
            Ok(JobHandle::answer(backup::start(self.core.jobs(), self.core.settings(), path("folder", &folder)?)?))
        })
    }

    /// Checks the files: pages, foreign keys, the full-text tables against their rows, triggers, JSON columns, the
    /// queue's counters against its rows, and its leases and attempts against what they are about. Blocks nobody: it
    /// looks at private copies, which need as much free space as the larger file (a client's in the system's temporary
    /// directory). What it finds is in the report, never an error. A client checks the files beside the owner; the
    /// queue's counters, leases and attempts are the owner's to check.
    ///
    /// Rejects with `ERR_DISPOSED`, `ERR_DISK_FULL`, `ERR_IO`.
    #[napi(ts_return_type = "Promise<IntegrityReport>", catch_unwind)]
    pub fn check_integrity<'e>(&self, env: &'e Env) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            let core = Arc::clone(&self.core);
            Ok(move |reply: Reply<Report>| integrity::check(&core, reply))
        })
    }

    /// Makes again what can be derived: full-text tables and triggers that are missing or wrong, from the rows, and
    /// the queue's counters; leases that nobody holds and attempts of messages that are not there go. One table a transaction; each **keeps everybody from writing** to `claude-mem.db` while it
    /// runs, and the report says for how long. Touches nothing where all is well.
    ///
    /// Rejects with `ERR_NOT_OPEN` on a client; `ERR_DISPOSED`, `ERR_BUSY`, `ERR_DISK_FULL`, `ERR_IO`.
    #[napi(ts_return_type = "Promise<RepairReport>", catch_unwind)]
    pub fn repair<'e>(&self, env: &'e Env) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            let core = Arc::clone(&self.core);
            Ok(move |reply: Reply<Repaired>| integrity::repair(&core, reply))
        })
    }
}

/// Puts the backup in `folder` into a data directory that no memory has open. `await` it for what it did; `for await`
/// shows its progress.
///
/// Every checksum is verified and every file copied beside its place before the first one is exchanged, each by one
/// rename; killed in between, a repeat completes it. Files that were there are kept as `*.before-restore`, their logs
/// moved into them. End the editor's sessions first: a hook that has `claude-mem.db` open is noticed (`ERR_LOCKED`),
/// and so is a memory or client of this process.
///
/// Throws `ERR_INVALID_ARG`; rejects with `ERR_NOT_FOUND` where the folder holds no whole backup, `ERR_CORRUPT` where a
/// file of it is damaged (with `path`, and both digests), `ERR_SCHEMA_UNSUPPORTED` where a later engine made it,
/// `ERR_LOCKED`, and `ERR_INVALID_ARG` where files are there and `overwrite` is not said: nothing was changed then.
#[napi(
    ts_args_type = "folder: string, dataDir: string, options?: RestoreOptions | null",
    ts_return_type = "Job<BackupProgress, RestoreReport>",
    catch_unwind
)]
pub fn restore<'e>(
    env: &'e Env,
    folder: Unknown<'e>,
    data_dir: Unknown<'e>,
    options: Unknown<'e>,
) -> napi::Result<Unknown<'e>> {
    immediate(env, || {
        let folder = path("folder", &folder)?;
        let layout = Layout::new(path("dataDir", &data_dir)?);
        let given = Argument::new("options", &options).options(&["overwrite", "files", "lockWaitMs"])?;
        let names = FILES.each_ref().map(|file| (file.name, file.name));
        let only = given.read("files", |value| {
            value.array()?.iter().map(|name| name.one_of(&names)).collect::<Result<BTreeSet<_>>>()
        })?;
        if only.as_ref().is_some_and(BTreeSet::is_empty) {
            return Err(Error::invalid("option 'files' names no file; leave it out to restore all"));
        }
        let options = Options {
            overwrite: given.read("overwrite", |value| value.boolean())?.unwrap_or(false),
            only: only.unwrap_or_default(),
            lock_wait: given
                .read("lockWaitMs", |value| milliseconds(value, 0..=600_000))?
                .unwrap_or(Duration::from_secs(10)),
        };
        let job = Job::start("restore", move |control| backup::restore::run(&folder, &layout, &options, control))?;
        Ok(JobHandle::answer(job))
    })
}
