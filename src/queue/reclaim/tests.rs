//! Purging and reclaiming, on real files, beside readers and writers of other connections.

use std::{
    path::PathBuf,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use rusqlite::Connection;

use crate::{
    db::layout::Layout,
    memory::Memory,
    queue::{Answer, Batch, ConsumeOptions, EnqueueOptions, Enqueued, ReleaseOptions},
    reply::wait,
    settings::Settings,
};

/// What is waited for longer than this never comes.
const NEVER: Duration = Duration::from_secs(60);

struct Opened {
    memory: Arc<Memory>,
    session: i64,
    layout: Layout,
    _folder: tempfile::TempDir,
}

impl Opened {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings::new(folder.path());
        settings.bounds.session_messages = 100_000;
        settings.retry.backoff_base = Duration::from_millis(1);
        settings.retry.backoff_max = Duration::from_millis(1);
        let layout = Layout::new(settings.data_dir.clone());
        let memory = Memory::open_here(settings).unwrap();
        let db = Connection::open(layout.database()).unwrap();
        db.busy_timeout(NEVER).unwrap();
        db.execute_batch(
            "INSERT INTO sdk_sessions(claude_session_id, sdk_session_id, project, started_at, started_at_epoch, status)
             VALUES ('s', 's', 'p', '2026-01-01T00:00:00.000Z', 1, 'active')",
        )
        .unwrap();
        Self { memory, session: db.last_insert_rowid(), layout, _folder: folder }
    }

    fn put(&self, bytes: usize) -> Enqueued {
        let payload = format!(r#"{{"type":"observation","n":"{}"}}"#, "x".repeat(bytes));
        wait(|reply| self.memory.queue().unwrap().enqueue(self.session, payload, EnqueueOptions::default(), reply))
            .unwrap()
    }

    /// Many at once, so that they share transactions.
    fn put_all(&self, count: usize, bytes: usize) {
        let (sender, answers) = std::sync::mpsc::channel();
        for _ in 0..count {
            let payload = format!(r#"{{"type":"observation","n":"{}"}}"#, "x".repeat(bytes));
            let sender = sender.clone();
            let reply = crate::reply::Reply::new(move |answer| sender.send(answer).unwrap());
            self.memory.queue().unwrap().enqueue(self.session, payload, EnqueueOptions::default(), reply);
        }
        for _ in 0..count {
            answers.recv_timeout(NEVER).unwrap().unwrap();
        }
    }

    fn claim(&self, max_batch: usize) -> Batch {
        let options = ConsumeOptions { max_batch, max_batch_bytes: 1 << 30, ..ConsumeOptions::default() };
        let consumer = self.memory.queue().unwrap().consume(self.session, options).unwrap();
        let batch = wait(|reply| consumer.next(reply)).unwrap().unwrap();
        // The consumer goes, its batch stays.
        drop(consumer);
        batch
    }

    fn drain(&self) {
        while self.memory.queue().unwrap().depth(None) > 0 {
            let batch = self.claim(512);
            wait(|reply| batch.commit(Answer::default(), reply)).unwrap();
        }
    }

    fn rows(&self) -> i64 {
        Connection::open(self.layout.queue())
            .unwrap()
            .query_row("SELECT count(*) FROM messages", [], |row| row.get(0))
            .unwrap()
    }

    fn size(&self, what: &str) -> u64 {
        let mut path = self.layout.queue().into_os_string();
        path.push(what);
        std::fs::metadata(PathBuf::from(path)).map_or(0, |file| file.len())
    }

    fn unpurged(&self) -> (usize, usize) {
        let figures = self.memory.queue().unwrap().figures(None);
        (figures.unpurged, figures.unpurged_bytes)
    }

    fn until(&self, what: &str, condition: impl Fn() -> bool) {
        let since = Instant::now();
        while !condition() {
            assert!(since.elapsed() < NEVER, "{what}: {:?}", self.memory.health().reasons);
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        wait(|reply| self.memory.dispose(reply)).unwrap();
    }
}

/// A read transaction that stays open.
fn pin(path: PathBuf) -> Connection {
    let db = Connection::open(path).unwrap();
    db.execute_batch("BEGIN; SELECT count(*) FROM sqlite_schema").unwrap();
    db
}

#[test]
fn nothing_is_purged_before_the_full_write_of_the_shared_file() {
    let opened = Opened::new();
    opened.put_all(3_000, 100);
    let batch = opened.claim(3_000);
    let full = |opened: &Opened| opened.memory.writer().unwrap().figures().full_commits.load(Ordering::SeqCst);
    let before = full(&opened);
    // A commit settles, then purges: by then the lock is another connection's.
    let locker = Connection::open(opened.layout.database()).unwrap();
    locker.busy_timeout(NEVER).unwrap();
    let (sender, answer) = std::sync::mpsc::channel();
    let reply = crate::reply::Reply::new(move |committed: crate::error::Result<_>| {
        // Before the purge is started: it follows on this thread.
        locker.execute_batch("BEGIN IMMEDIATE").unwrap();
        sender.send((committed, locker)).unwrap();
    });
    batch.commit(Answer::default(), reply);
    let (committed, locker) = answer.recv_timeout(NEVER).unwrap();
    assert_eq!(committed.unwrap().depth, 0);
    for _ in 0..5 {
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(opened.rows(), 3_000, "purged without a synced acknowledgement");
    }
    assert_eq!(full(&opened), before);
    let (count, bytes) = opened.unpurged();
    assert!(count == 3_000 && bytes > 3_000 * 100, "what is taken out of the bounds is told: {count}, {bytes}");
    locker.execute_batch("ROLLBACK").unwrap();
    opened.until("purged", || opened.rows() == 0);
    assert_eq!(full(&opened), before + 1, "one write for all");
    opened.until("told", || opened.unpurged() == (0, 0));
}

#[test]
fn attempts_and_dead_letters_are_synced_before_a_watermark_can_pass_them() {
    let opened = Opened::new();
    opened.put_all(2, 100);
    let full = || opened.memory.queue().unwrap().writer().figures().full_commits.load(Ordering::SeqCst);
    let (batch, before) = (opened.claim(2), full());
    wait(|reply| batch.release(ReleaseOptions { delay: Some(Duration::ZERO), ..ReleaseOptions::default() }, reply))
        .unwrap();
    assert_eq!(full(), before + 1, "an attempt");
    let (batch, before) = (opened.claim(1), full());
    let id = batch.messages()[0].id;
    wait(|reply| batch.dead_letter(vec![id], None, reply)).unwrap();
    assert_eq!(full(), before + 1, "a dead letter");
    wait(|reply| batch.commit(Answer::default(), reply)).unwrap();
}

#[test]
fn acknowledged_bytes_free_the_bounds_at_once_although_not_purged() {
    let opened = Opened::new();
    opened.put_all(10, 100);
    opened.drain();
    assert_eq!(opened.rows(), 10, "not purged yet: the queue was busy a moment ago");
    assert_eq!((opened.memory.queue().unwrap().depth(None), opened.memory.queue().unwrap().bytes(None)), (0, 0));
    assert_eq!(opened.unpurged().0, 10);
}

#[test]
fn a_purge_whose_delete_fails_is_tried_again() {
    let opened = Opened::new();
    let db = Connection::open(opened.layout.queue()).unwrap();
    db.busy_timeout(NEVER).unwrap();
    db.execute_batch("CREATE TRIGGER refuse BEFORE DELETE ON messages BEGIN SELECT raise(ABORT, 'not now'); END")
        .unwrap();
    opened.put_all(20, 100);
    opened.drain();
    opened.until("a first try", || opened.memory.queue().unwrap().shared().read(|state| state.purge_after.is_some()));
    assert_eq!((opened.rows(), opened.unpurged().0), (20, 20));
    db.execute_batch("DROP TRIGGER refuse").unwrap();
    opened.until("purged", || opened.rows() == 0);
}

#[test]
fn pages_of_a_queue_that_was_thrown_away_are_given_back() {
    let opened = Opened::new();
    opened.put_all(2_000, 4_300);
    assert_eq!(wait(|reply| opened.memory.queue().unwrap().purge(opened.session, reply)).unwrap(), 2_000);
    opened.until("a small file", || opened.size("") < 1 << 20);
}

#[test]
fn a_large_purge_goes_in_steps_bounded_by_bytes() {
    let opened = Opened::new();
    for _ in 0..5 {
        opened.put(4 << 20);
    }
    opened.put_all(20, 10);
    let shared = opened.memory.queue().unwrap().shared();
    let commits = || opened.memory.queue().unwrap().writer().figures().commits.load(Ordering::SeqCst);
    // So many bytes are due at once: the first steps would run, uncounted, while the rest is drained.
    shared.with(|state, _| state.purge_after = Some(Instant::now() + NEVER));
    opened.drain();
    let before = commits();
    shared.with(|state, _| state.purge_after = None);
    super::start_now(shared);
    opened.until("purged", || opened.rows() == 0);
    assert!(commits() - before >= 3, "20 MB of large messages went in {} transactions", commits() - before);
}

#[test]
fn a_reader_that_stays_holds_the_log_back_not_the_queue_and_is_told() {
    let opened = Opened::new();
    opened.put(10);
    let reader = pin(opened.layout.queue());
    let mut peak = 0;
    for _ in 0..6 {
        opened.put_all(1_000, 8_000);
        opened.drain();
        peak = peak.max(opened.size("-wal"));
    }
    let figures = opened.memory.queue().unwrap().writer().figures();
    opened.until("purged", || opened.unpurged().0 == 0);
    assert!(figures.log_is_held_back(), "{figures:?}");
    assert!(figures.pinned_pages.load(Ordering::SeqCst) > 0, "{figures:?}");
    // Purging went on: later messages took the free pages.
    let pages: i64 =
        Connection::open(opened.layout.queue()).unwrap().query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
    println!("48 MB through the queue: log {} MB, file {pages} pages", peak >> 20);
    assert!(pages * 4_096 < 36 << 20, "{pages} pages for at most 8 MB at a time");
    // Reclaiming waits: it would only write.
    std::thread::sleep(Duration::from_millis(2_500));
    assert!(opened.memory.queue().unwrap().shared().read(|state| state.reclaimable));
    reader.execute_batch("COMMIT").unwrap();
    // Nobody writes any more: log and file become small all the same.
    opened.until("a small log", || opened.size("-wal") == 0);
    opened.until("a small file", || opened.size("") < 1 << 20);
    assert!(!figures.log_is_held_back());
    assert_eq!(figures.pinned_pages.load(Ordering::SeqCst), 0);
}

#[test]
fn a_log_that_started_over_is_checkpointed_at_its_usual_size() {
    let opened = Opened::new();
    opened.put(10);
    let reader = pin(opened.layout.queue());
    opened.put_all(4_000, 8_000);
    reader.execute_batch("COMMIT").unwrap();
    opened.until("a small log", || opened.size("-wal") == 0);
    let checkpointed = || opened.memory.queue().unwrap().writer().figures().checkpointed_epoch.load(Ordering::SeqCst);
    let before = checkpointed();
    std::thread::sleep(Duration::from_millis(5));
    // Some 6,000 pages, one after the other so that the writer is never idle for long.
    opened.put_all(2_500, 8_000);
    assert!(checkpointed() > before, "the next checkpoint waits for a log as large as the one that was held back");
}
