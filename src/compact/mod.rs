//! `memory.compact()`: disk space that is no longer used goes back to the system, file by file.
//!
//! - `native/queue.db`: acknowledged messages are purged, and its free pages cut off in steps, as when the queue rests
//!   ([`crate::queue::reclaim`]). Nobody waits for more than one step.
//! - `claude-mem.db`, `native/index.db`, `native/collections.db`: `VACUUM`, where the file has free pages. It is one
//!   transaction: a process that dies in between leaves the file as it was. **Nobody writes to the file meanwhile**,
//!   everybody reads; it needs the space of the content once more for a temporary copy and once for the log.
//! - Each log is moved into its file and cut to nothing.
//!
//! # Why VACUUM is safe here
//! It gives new row numbers to rows of tables without an `INTEGER PRIMARY KEY`. The full-text tables of `claude-mem.db`
//! have their content in `observations`, `session_summaries` and `user_prompts` and refer to it by `id`, which is such a
//! key in all three; so are the keys of FTS5's own tables, of `native_ack`, and of every table of our files that
//! something refers to. So all rows keep their numbers, and no index has to be made again.
//!
//! # A reader that holds the log back
//! `VACUUM` writes the whole file into its log. While somebody reads an older state, that log cannot go into the file:
//! the disk would have both. So the log is emptied first, and where that fails the file is left alone and reported as
//! held back.

mod space;
#[cfg(test)]
mod tests;

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};

use rusqlite::Connection;

use self::space::Need;
use crate::{
    db::{
        connection::{has_content, naming, open_writer_waiting},
        layout::{Layout, beside},
    },
    error::{Code, Result},
    fault,
    job::{Control, Job},
    memory::Memory,
    parts::{Part, Parts},
};

/// How long is waited for readers that keep a log from being emptied.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two tries.
const PAUSE: Duration = Duration::from_millis(20);

/// How far it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// The file that it begins with, or the last one at the end.
    pub file: &'static str,
    /// Bytes of the files that are done.
    pub done: u64,
    /// Bytes of all files.
    pub total: u64,
}

/// What became of one file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CompactedFile {
    /// Its name.
    pub name: &'static str,
    /// Where it lies.
    pub path: String,
    /// Its bytes and those of its log, before.
    pub before_bytes: u64,
    /// The same, after.
    pub after_bytes: u64,
    /// Whether it was written anew.
    pub rewritten: bool,
    /// For how long others could not write to it, at most.
    pub blocked_ms: u64,
    /// Whether somebody who reads an older state keeps its log from being emptied.
    pub held_back: bool,
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compacted {
    /// File by file.
    pub files: Vec<CompactedFile>,
    /// Bytes that the disk has back.
    pub freed_bytes: u64,
    /// How long it took.
    pub took_ms: u64,
}

/// One kind of file.
struct Target {
    name: &'static str,
    needs: fn(Parts) -> bool,
    path: fn(&Layout) -> PathBuf,
    /// Whether it gives pages back by itself, in steps.
    in_steps: bool,
}

const TARGETS: [Target; 4] = [
    Target { name: "queue.db", needs: |parts| parts.has(Part::Queue), path: Layout::queue, in_steps: true },
    Target { name: "claude-mem.db", needs: |parts| parts.has(Part::Store), path: Layout::database, in_steps: false },
    Target {
        name: "index.db",
        needs: |parts| parts.has(Part::Store) && parts.has(Part::Vectors),
        path: Layout::index,
        in_steps: false,
    },
    Target {
        name: "collections.db",
        needs: |parts| parts.has(Part::Vectors),
        path: Layout::collections,
        in_steps: false,
    },
];

/// Starts it; `wait` is how long each file's write lock is waited for. See the module.
///
/// # Errors
/// `ERR_NOT_OPEN` on a client; `ERR_DISPOSED`; `ERR_IO` where no thread can be started. The job's own: `ERR_DISK_FULL`
/// before anything is changed; `ERR_BUSY` where a lock was not free in time (files that were done stay so), `ERR_IO`,
/// `ERR_CORRUPT`, `ERR_DISPOSED`.
pub fn start(memory: &Arc<Memory>, wait: Duration) -> Result<Job<Progress, Compacted>> {
    memory.must_own("compact()")?;
    let mine = Arc::clone(memory);
    memory.jobs().start("compact", move |control| run(&mine, wait, &|place| fs4::available_space(place), control))
}

/// A file that is there, and what is to be done with it.
struct Found {
    target: &'static Target,
    path: PathBuf,
    bytes: u64,
}

/// `free` tells the free bytes of a directory.
fn run(
    memory: &Memory,
    wait: Duration,
    free: &dyn Fn(&Path) -> io::Result<u64>,
    control: &Control<'_, Progress>,
) -> Result<Compacted> {
    let since = Instant::now();
    let layout = Layout::new(memory.settings().data_dir.clone());
    let mut found = Vec::new();
    for target in TARGETS.iter().filter(|target| (target.needs)(memory.settings().parts)) {
        let path = (target.path)(&layout);
        // The index and the collections are made when there is something to put in.
        if has_content(&path)? {
            found.push(Found { target, bytes: on_disk(&path)?, path });
        }
    }
    let mut need = Need::default();
    for file in found.iter().filter(|file| !file.target.in_steps) {
        control.check()?;
        need.add(&file.path, content(&file.path, wait)?);
    }
    need.check(free)?;
    let total = found.iter().map(|file| file.bytes).sum();
    let mut done = 0;
    let mut files = Vec::with_capacity(found.len());
    for file in found {
        control.check()?;
        control.report(Progress { file: file.target.name, done, total });
        done += file.bytes;
        files.push(compact(memory, file, wait, control)?);
        fault::point("compact-file");
    }
    let freed_bytes = files.iter().map(|file| file.before_bytes.saturating_sub(file.after_bytes)).sum();
    if let Some(last) = files.last() {
        control.report(Progress { file: last.name, done: total, total });
    }
    Ok(Compacted { files, freed_bytes, took_ms: milliseconds(since.elapsed()) })
}

fn compact(memory: &Memory, file: Found, wait: Duration, control: &Control<'_, Progress>) -> Result<CompactedFile> {
    let Found { target, path, bytes } = file;
    let mut report = CompactedFile {
        name: target.name,
        path: path.display().to_string(),
        before_bytes: bytes,
        after_bytes: bytes,
        rewritten: false,
        blocked_ms: 0,
        held_back: false,
    };
    if target.in_steps {
        let longest = memory.queue()?.give_everything_back(Instant::now() + wait, &|| control.check())?;
        report.blocked_ms = milliseconds(longest);
    }
    // Closed only after the log: the last thing of it is what empties that.
    let db = open_writer_waiting(&path, "", wait)?;
    naming(&path, || {
        // Whoever writes now is waited for; what then still holds the log is a reader.
        db.execute_batch("BEGIN IMMEDIATE; ROLLBACK")?;
        report.held_back = !empty_log(&db, control)?;
        if !target.in_steps && !report.held_back && free_pages(&db)? > 0 {
            // The copy is as large as the content: on the disk, whatever our other temporary tables do.
            db.execute_batch("PRAGMA temp_store=FILE")?;
            let since = Instant::now();
            control.interruptibly(&db, |db| Ok(db.execute_batch("VACUUM")?))?;
            report.blocked_ms = milliseconds(since.elapsed());
            report.rewritten = true;
            fault::point("compact-vacuumed");
            report.held_back = !empty_log(&db, control)?;
        }
        Ok(())
    })?;
    drop(db);
    report.after_bytes = on_disk(&path)?;
    Ok(report)
}

/// Moves the log into the file and cuts it to nothing; false where somebody reads or writes all the time. Waits for
/// nobody inside SQLite: a checkpoint that waits for readers holds the write lock meanwhile.
fn empty_log(db: &Connection, control: &Control<'_, Progress>) -> Result<bool> {
    let wait = Instant::now() + PATIENCE;
    let before: i64 = db.query_row("PRAGMA busy_timeout", [], |row| row.get(0))?;
    db.busy_timeout(Duration::ZERO)?;
    let emptied = loop {
        control.check()?;
        let busy: rusqlite::Result<i64> = db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0));
        match busy.map_err(crate::error::Error::from) {
            Ok(0) => break true,
            Err(error) if error.code != Code::Busy => return Err(error),
            _ if Instant::now() >= wait => break false,
            _ => std::thread::sleep(PAUSE),
        }
    };
    db.busy_timeout(Duration::from_millis(before.unsigned_abs()))?;
    Ok(emptied)
}

fn pragma(db: &Connection, name: &str) -> Result<u64> {
    Ok(db.query_row(&format!("PRAGMA {name}"), [], |row| row.get::<_, i64>(0))?.unsigned_abs())
}

fn free_pages(db: &Connection) -> Result<u64> {
    pragma(db, "freelist_count")
}

/// Bytes that writing a file anew takes; 0 where there is nothing to gain.
fn content(path: &Path, wait: Duration) -> Result<u64> {
    let db = open_writer_waiting(path, "", wait)?;
    naming(path, || {
        let free = free_pages(&db)?;
        let pages = if free == 0 { 0 } else { pragma(&db, "page_count")?.saturating_sub(free) };
        Ok(pages * pragma(&db, "page_size")?)
    })
}

/// Bytes of a file and its log. Only their sizes are asked for: opening and closing them beside SQLite would drop its
/// POSIX locks.
fn on_disk(path: &Path) -> Result<u64> {
    let log = std::fs::metadata(beside(path, "-wal")).map_or(0, |log| log.len());
    naming(path, || Ok(std::fs::metadata(path)?.len() + log))
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
