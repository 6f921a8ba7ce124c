//! How a memory does, in one object that a `/health` route can send as it is.

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rusqlite::Connection;

use crate::{
    clock,
    db::{
        Budget, Readers, Writer,
        activity::{Activity, Slowest},
        layout::{Layout, beside},
    },
    embedder::Embedder,
    error::Result,
    index::{self, collections::Collections},
    queue::{Figures, Queues},
    reply::Reply,
    settings::{Role, Settings},
};

/// A share of a limit from which it is worth a warning.
const WARN: f64 = 0.8;
/// A share of a limit from which it is critical.
const CRITICAL: f64 = 0.9;
/// How old a sample may be before the next is asked for.
const SAMPLE_AGE: Duration = Duration::from_secs(2);
/// A write-ahead log above this size is worth a warning, bytes: somebody's reader holds it back.
const WAL_WARN: u64 = 128 << 20;

/// Bytes of a page of the log; SQLite's default.
const PAGE: u64 = 4_096;

/// How loud a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Status {
    /// Nothing to do.
    Ok,
    /// Above 80 % of a limit, or something to look at.
    Warn,
    /// Above 90 % of a limit, or a part has failed.
    Critical,
}

impl Status {
    /// What `status` shows.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Warn => "warn",
            Self::Critical => "critical",
        }
    }

    /// The status of a share of a limit.
    #[must_use]
    pub fn of_share(share: f64) -> Self {
        if share >= CRITICAL {
            Self::Critical
        } else if share >= WARN {
            Self::Warn
        } else {
            Self::Ok
        }
    }
}

/// Figures of one file, from the last sample.
#[derive(Debug, Clone, Default)]
pub struct FileSample {
    /// Where it lies.
    pub path: PathBuf,
    /// Its size, bytes.
    pub bytes: u64,
    /// Size of its write-ahead log, bytes.
    pub wal_bytes: u64,
    /// Pages without content.
    pub free_pages: i64,
    /// When the sample was taken, epoch ms; 0 before the first.
    pub sampled_at_epoch: i64,
}

/// Figures of one file and its writer.
#[derive(Debug, Clone)]
pub struct FileHealth {
    /// From the last sample.
    pub sample: FileSample,
    /// When its last checkpoint ended, epoch ms; `None` before the first since open.
    pub last_checkpoint_epoch: Option<i64>,
    /// Commands waiting or running in its writer.
    pub waiting: usize,
    /// Transactions since open.
    pub commits: i64,
    /// Pages in its log after the last commit or checkpoint.
    pub wal_pages: i64,
    /// Those that the last checkpoint could not move into the file.
    pub pinned_pages: i64,
}

/// Of `claude-mem.db`, of `queue.db`, and when they were taken.
type Samples = (FileSample, FileSample, Option<Instant>);

/// Asks the disk in the background.
#[derive(Debug)]
pub struct Sampler {
    database: PathBuf,
    queue: PathBuf,
    samples: Mutex<Samples>,
    pending: AtomicBool,
}

impl Sampler {
    /// A sampler of the files of a directory.
    #[must_use]
    pub fn new(layout: &Layout) -> Self {
        Self {
            database: layout.database(),
            queue: layout.queue(),
            samples: Mutex::default(),
            pending: AtomicBool::new(false),
        }
    }

    /// Asks for new samples where the last ones are old; nobody waits for them.
    pub fn refresh(self: &Arc<Self>, readers: Option<&Readers>, queue: Option<&Queues>) {
        let fresh =
            self.samples.lock().unwrap_or_else(PoisonError::into_inner).2.is_some_and(|at| at.elapsed() < SAMPLE_AGE);
        // One question at a time, however long the disk takes.
        if fresh || self.pending.swap(true, Ordering::AcqRel) {
            return;
        }
        // Dropped when the last answer is in: then the next question may be asked.
        let asked = Arc::new(Asked(Arc::clone(self)));
        if let Some(readers) = readers {
            let (ask, told) = (Arc::clone(self), Arc::clone(&asked));
            let answer = move |answer: Result<FileSample>| told.take(answer, |samples| &mut samples.0);
            readers.call("sample", move |db| sample(db, &ask.database), Reply::new(answer));
        }
        let (ask, told) = (Arc::clone(self), asked);
        let answer = move |answer: Result<FileSample>| told.take(answer, |samples| &mut samples.1);
        match queue {
            None => {}
            Some(Queues::Owner(queue)) => queue.writer().call(
                "sample",
                Instant::now() + SAMPLE_AGE,
                move |db| sample(db, &ask.queue),
                Reply::new(answer),
            ),
            // A client's figures of the queue are a sample as well.
            Some(Queues::Client(queue)) => {
                let look = queue.look();
                queue.readers().call(
                    "sample",
                    move |db| look(db).and_then(|()| sample(db, &ask.queue)),
                    Reply::new(answer),
                );
            }
        }
    }

    fn last(&self) -> (FileSample, FileSample) {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        (samples.0.clone(), samples.1.clone())
    }
}

/// A question that is on its way.
struct Asked(Arc<Sampler>);

impl Asked {
    fn take(&self, answer: Result<FileSample>, place: fn(&mut Samples) -> &mut FileSample) {
        if let Ok(sample) = answer {
            *place(&mut self.0.samples.lock().unwrap_or_else(PoisonError::into_inner)) = sample;
        }
    }
}

impl Drop for Asked {
    fn drop(&mut self) {
        self.0.samples.lock().unwrap_or_else(PoisonError::into_inner).2 = Some(Instant::now());
        self.0.pending.store(false, Ordering::Release);
    }
}

fn sample(db: &Connection, path: &Path) -> Result<FileSample> {
    // Only its size is asked for: opening and closing the file beside SQLite would drop its POSIX locks.
    let size = |path: &Path| std::fs::metadata(path).map_or(0, |file| file.len());
    Ok(FileSample {
        path: path.to_owned(),
        bytes: size(path),
        wal_bytes: size(&beside(path, "-wal")),
        free_pages: db.query_row("PRAGMA freelist_count", [], |row| row.get(0))?,
        sampled_at_epoch: clock::now_epoch(),
    })
}

/// Bytes in native memory, by part.
#[derive(Debug, Clone, Copy)]
pub struct NativeBytes {
    /// Page caches and statements of SQLite, over all memories of this process.
    pub sqlite: u64,
    /// Payloads of writes that are not committed yet.
    pub in_flight_writes: u64,
    /// Counters, leases, timers and the session registry.
    pub queue: u64,
    /// Vectors of documents of the tables, their graph and maps.
    pub vectors: u64,
    /// Vectors of collections that were searched lately.
    pub collections: u64,
    /// The embedding model and remembered queries.
    pub model: u64,
}

impl NativeBytes {
    /// Their sum.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.sqlite + self.in_flight_writes + self.queue + self.vectors + self.collections + self.model
    }
}

/// Everything that is known without JavaScript.
#[derive(Debug, Clone)]
pub struct Health {
    /// What the memory is to its data directory.
    pub role: Role,
    /// The worst of the findings.
    pub status: Status,
    /// What was found.
    pub reasons: Vec<String>,
    /// Since open.
    pub uptime: Duration,
    /// Bytes by part.
    pub native: NativeBytes,
    /// The queues, where that part is open.
    pub queue: Option<Figures>,
    /// Active sessions, where the queue is open.
    pub sessions: Option<usize>,
    /// `claude-mem.db`, where the store is open.
    pub database: Option<FileHealth>,
    /// `native/queue.db`, where the queue is open.
    pub queue_database: Option<FileHealth>,
    /// The index, where the store and the vectors are open.
    pub index: Option<index::status::Status>,
    /// Reads waiting or running.
    pub waiting_reads: usize,
    /// Slowest recent operations.
    pub slowest: Vec<Slowest>,
}

/// What the figures are collected from.
pub struct Sources<'m> {
    /// The memory's.
    pub settings: &'m Settings,
    /// When it was.
    pub opened: Instant,
    /// The queues, where that part is open.
    pub queue: Option<&'m Queues>,
    /// The threads of `claude-mem.db`, where the store is open.
    pub store: Option<(&'m Writer, &'m Readers)>,
    /// How the index does, where there is one.
    pub index: Option<index::status::Status>,
    /// The caller's own documents, where the vectors are open.
    pub collections: Option<&'m Collections>,
    /// What makes vectors of texts, where the vectors are open.
    pub embedder: Option<&'m dyn Embedder>,
    /// Writes in flight.
    pub budget: &'m Budget,
    /// What took long.
    pub activity: &'m Activity,
    /// Figures from disk.
    pub sampler: &'m Sampler,
}

impl Health {
    /// Collects the figures.
    #[must_use]
    pub fn collect(sources: Sources<'_>) -> Self {
        let Sources { settings, opened, queue, store, index, collections, embedder, budget, activity, sampler } =
            sources;
        let figures = queue.map(Queues::figures);
        let (database, queue_database) = sampler.last();
        let file = |sample: FileSample, writer: &Writer| {
            let figures = writer.figures();
            let checkpointed = figures.checkpointed_epoch.load(Ordering::Relaxed);
            FileHealth {
                sample,
                last_checkpoint_epoch: (checkpointed > 0).then_some(checkpointed),
                waiting: figures.waiting.load(Ordering::Relaxed),
                commits: figures.commits.load(Ordering::Relaxed),
                wal_pages: figures.wal_pages.load(Ordering::Relaxed),
                pinned_pages: figures.pinned_pages.load(Ordering::Relaxed),
            }
        };
        let mut health = Self {
            role: settings.role,
            status: Status::Ok,
            reasons: Vec::new(),
            uptime: opened.elapsed(),
            native: NativeBytes {
                sqlite: sqlite_bytes(),
                in_flight_writes: budget.used() as u64,
                queue: figures.as_ref().map_or(0, |figures| figures.native_bytes as u64),
                vectors: index.as_ref().map_or(0, |index| index.memory.total() as u64),
                collections: collections.map_or(0, |collections| collections.memory_bytes() as u64),
                model: embedder.map_or(0, |embedder| embedder.memory_bytes() as u64),
            },
            queue: figures,
            sessions: queue.map(Queues::session_count),
            database: store.map(|(writer, _)| file(database, writer)),
            queue_database: queue.map(|queue| file(queue_database, queue.writer())),
            index,
            waiting_reads: store.map_or(0, |(_, readers)| readers.waiting()),
            slowest: activity.slowest(),
        };
        health.judge(settings, store.map(|(writer, _)| writer), queue.map(Queues::writer));
        health
    }

    /// Adds a finding.
    pub fn find(&mut self, status: Status, reason: impl FnOnce() -> String) {
        if status > Status::Ok {
            self.status = self.status.max(status);
            self.reasons.push(reason());
        }
    }

    /// Searches go on whatever the index is at; somebody should know that they find less.
    fn judge_index(&mut self, settings: &Settings, index: &index::status::Status) {
        use index::{status::State, vectors};
        let status = if index.state == State::Failing { Status::Warn } else { Status::Ok };
        let reason = index.reason.clone().unwrap_or_default();
        self.find(status, || format!("the index cannot be brought up to date, and is tried again: {reason}"));
        let status = if index.other_model.is_some() { Status::Warn } else { Status::Ok };
        self.find(status, || {
            format!("the stored vectors are of another model than {}; searches go on by words", index.model.name)
        });
        let (vectors, budget) = (index.documents - index.pending, settings.index.memory_budget);
        let from_file = index.answers == vectors::State::FromFile && settings.role == Role::Owner;
        let unloaded = from_file && matches!(index.state, State::Current | State::Embedding | State::Waiting);
        let status = if unloaded && index.other_model.is_none() { Status::Warn } else { Status::Ok };
        self.find(status, || {
            format!(
                "{vectors} vectors need more than the {budget} bytes of vectorMemoryBudget: each search reads them from the \
                 file; raise it"
            )
        });
    }

    fn judge(&mut self, settings: &Settings, writer: Option<&Writer>, queue_writer: Option<&Writer>) {
        if let Some(figures) = self.queue.clone() {
            self.judge_queue(settings, &figures);
        }
        if let Some(index) = self.index.clone() {
            self.judge_index(settings, &index);
        }
        for (name, writer) in [("writer", writer), ("queue", queue_writer)] {
            let status = if writer.is_some_and(Writer::has_failed) { Status::Critical } else { Status::Ok };
            self.find(status, || format!("the {name} thread failed; dispose this memory and open a new one"));
        }
        let log = |file: &Option<FileHealth>| {
            file.as_ref().map_or((0, 0, 0), |file| (file.sample.wal_bytes, file.wal_pages, file.pinned_pages))
        };
        let logs = [("claude-mem.db", log(&self.database)), ("queue.db", log(&self.queue_database))];
        for (name, (wal, pages, pinned)) in logs {
            // The file keeps its size for a while after the log has started over: both must be large.
            let large = wal > WAL_WARN && u64::try_from(pages).is_ok_and(|pages| pages * PAGE > WAL_WARN);
            let status = if large { Status::Warn } else { Status::Ok };
            self.find(status, || {
                format!(
                    "the log of {name} has {wal} bytes ({pages} pages, {pinned} of them newer than what somebody reads): a \
                     reader, perhaps of another process, holds it back, and it grows until that one ends its transaction"
                )
            });
        }
    }

    #[expect(clippy::cast_precision_loss, reason = "shares are for people")]
    fn judge_queue(&mut self, settings: &Settings, queue: &Figures) {
        let (bytes, limit) = (queue.bytes, settings.bounds.total_bytes);
        self.find(Status::of_share(bytes as f64 / limit.max(1) as f64), || {
            format!("the queue holds {bytes} of at most {limit} bytes; let consumers catch up or raise maxQueueBytes")
        });
        let failures = queue.clock_failures;
        let status = if failures > 0 { Status::Warn } else { Status::Ok };
        self.find(status, || format!("the queue's clock failed {failures} times and went on; please report this"));
        let (dead, keep) = (queue.dead, settings.bounds.dead_letters);
        let status = if dead as f64 >= keep as f64 * WARN { Status::Warn } else { Status::Ok };
        self.find(status, || format!("{dead} of at most {keep} dead letters are kept; look at queue.deadLetters()"));
    }
}

fn sqlite_bytes() -> u64 {
    // SAFETY: sqlite3_memory_used reads a counter under SQLite's own mutex and may be called at any time from
    // any thread.
    u64::try_from(unsafe { rusqlite::ffi::sqlite3_memory_used() }).unwrap_or(0)
}

/// The version of the SQLite library inside.
#[must_use]
pub fn sqlite_version() -> &'static str {
    rusqlite::version()
}

/// The limit of V8's old generation, in bytes, as flags state it: the last one wins, as in Node.
#[must_use]
pub fn old_space_limit(flags: &[String]) -> Option<u64> {
    let mut words = flags.iter().flat_map(|flag| flag.split_whitespace()).peekable();
    let mut limit = None;
    while let Some(word) = words.next() {
        let normal = word.replace('_', "-");
        let Some(rest) = normal.strip_prefix("--max-old-space-size") else { continue };
        let text = match rest.strip_prefix('=') {
            Some(value) => Some(value.to_owned()),
            None if rest.is_empty() => words.peek().map(|next| (*next).to_owned()),
            // --max-old-space-size-percentage and the like.
            None => None,
        };
        if let Some(mebibytes) = text.and_then(|text| text.parse::<u64>().ok()) {
            limit = Some(mebibytes << 20);
        }
    }
    limit
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_of_the_old_generation() {
        let flags = |list: &[&str]| old_space_limit(&list.iter().map(|flag| (*flag).to_owned()).collect::<Vec<_>>());
        assert_eq!(flags(&["--max-old-space-size=26"]), Some(26 << 20));
        assert_eq!(flags(&["--trace-warnings --max_old_space_size=64 --foo"]), Some(64 << 20));
        assert_eq!(flags(&["--max-old-space-size", "512"]), Some(512 << 20));
        assert_eq!(flags(&["--max-old-space-size=10", "--max-old-space-size=20"]), Some(20 << 20));
        assert_eq!(flags(&["--max-old-space-size-percentage=20"]), None);
        assert_eq!(flags(&["--max-old-space-size=lots"]), None);
        assert_eq!(flags(&[]), None);
    }

    #[test]
    fn shares() {
        assert_eq!(Status::of_share(0.79), Status::Ok);
        assert_eq!(Status::of_share(0.8), Status::Warn);
        assert_eq!(Status::of_share(0.95), Status::Critical);
        assert!(Status::Critical > Status::Warn);
    }
}
