mod io_errors;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crossbeam_channel::Receiver;
use rusqlite::Connection;

use super::{Budget, Call, Durability, Follow, Write, Writer};
use crate::{
    db::connection,
    error::{Code, Detail, Error, Result},
    reply::{Reply, wait},
};

const SOON: Duration = Duration::from_secs(20);

struct Bench {
    folder: tempfile::TempDir,
    budget: Arc<Budget>,
    writer: Writer,
}

impl Bench {
    fn new() -> Self {
        Self::with(1 << 20, "", None)
    }

    /// `setup` runs on the write connection, after the tables were made.
    fn with(budget: usize, setup: &str, follow: Option<Box<dyn Follow>>) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let db = connection::open_gathering_writer(&folder.path().join("t.db"), "").unwrap();
        db.execute_batch(
            "CREATE TABLE parents(id INTEGER PRIMARY KEY);
             CREATE TABLE rows(name TEXT UNIQUE, parent INTEGER REFERENCES parents(id) DEFERRABLE INITIALLY DEFERRED)",
        )
        .unwrap();
        db.execute_batch(setup).unwrap();
        let budget = Arc::new(Budget::new(budget));
        let writer =
            Writer::start("t-writer", db, Durability::Normal, Arc::clone(&budget), Arc::default(), follow).unwrap();
        Self { folder, budget, writer }
    }

    /// Another process's write lock. What is submitted while it lasts becomes one group.
    fn lock(&self) -> Lock {
        let db = self.connect();
        db.execute_batch("BEGIN IMMEDIATE").unwrap();
        Lock(db)
    }

    fn connect(&self) -> Connection {
        let db = Connection::open(self.folder.path().join("t.db")).unwrap();
        db.busy_timeout(SOON).unwrap();
        db
    }

    fn names(&self) -> Vec<String> {
        let db = self.connect();
        let mut statement = db.prepare("SELECT name FROM rows ORDER BY rowid").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().map(rusqlite::Result::unwrap).collect()
    }

    fn commits(&self) -> i64 {
        self.writer.figures().commits.load(Ordering::Relaxed)
    }

    fn submit<T: Send + 'static>(
        &self,
        run: impl FnMut(&Connection) -> Result<T> + Send + 'static,
    ) -> Receiver<Result<T>> {
        self.submit_until(SOON, 0, run)
    }

    fn submit_until<T: Send + 'static>(
        &self,
        deadline: Duration,
        bytes: usize,
        run: impl FnMut(&Connection) -> Result<T> + Send + 'static,
    ) -> Receiver<Result<T>> {
        let (reply, answer) = Reply::channel();
        self.writer.submit(Call::new("test", Instant::now() + deadline, run, reply).bytes(bytes));
        answer
    }

    fn insert(&self, name: &'static str) -> Receiver<Result<()>> {
        self.submit(move |db| insert(db, name))
    }

    fn close(&self) {
        self.writer.close(SOON);
    }
}

struct Lock(Connection);

impl Lock {
    fn release(self) {
        self.0.execute_batch("ROLLBACK").unwrap();
    }
}

fn insert(db: &Connection, name: &str) -> Result<()> {
    db.execute("INSERT INTO rows(name) VALUES (?1)", [name])?;
    Ok(())
}

/// A row whose parent is missing: seen only at COMMIT.
fn insert_orphan(db: &Connection) -> Result<()> {
    db.execute("INSERT INTO rows(name, parent) VALUES ('orphan', 99)", [])?;
    Ok(())
}

fn answer<T>(receiver: &Receiver<Result<T>>) -> Result<T> {
    receiver.recv_timeout(SOON).expect("no answer")
}

fn code<T: std::fmt::Debug>(receiver: &Receiver<Result<T>>) -> Code {
    answer(receiver).unwrap_err().code
}

#[test]
fn a_failing_command_of_a_group_harms_no_other() {
    let bench = Bench::new();
    let lock = bench.lock();
    let first = bench.insert("first");
    let twice = bench.submit(|db| insert(db, "half").and_then(|()| insert(db, "first")));
    let panics = bench.submit(|db| -> Result<()> {
        insert(db, "panicked")?;
        panic!("a fault of this command");
    });
    let last = bench.insert("last");
    lock.release();
    answer(&first).unwrap();
    assert_eq!(code(&twice), Code::Constraint);
    let error = answer(&panics).unwrap_err();
    assert!(error.code == Code::Internal && error.message.contains("a fault of this command"), "{error:?}");
    answer(&last).unwrap();
    assert_eq!(bench.commits(), 1, "one group");
    assert_eq!(bench.names(), ["first", "last"]);
    bench.close();
}

#[test]
fn a_lone_command_that_fails_leaves_nothing() {
    let bench = Bench::new();
    let failed = bench.submit(|db| -> Result<()> {
        insert(db, "half")?;
        Err(Error::invalid("no"))
    });
    assert_eq!(code(&failed), Code::InvalidArg);
    answer(&bench.insert("next")).unwrap();
    assert_eq!(bench.names(), ["next"]);
    assert_eq!(bench.commits(), 1);
    bench.close();
}

/// A full disk rolls back the whole transaction, not the savepoint: the others get a transaction of their own.
#[test]
fn a_full_disk_in_the_middle_of_a_group() {
    let bench = Bench::with(1 << 20, "PRAGMA max_page_count = 12", None);
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let lock = bench.lock();
    let first = bench.submit(move |db| {
        counted.fetch_add(1, Ordering::Relaxed);
        insert(db, "first")
    });
    let huge = bench.submit(|db| {
        db.execute("INSERT INTO rows(name) VALUES (hex(zeroblob(1000000)))", [])?;
        Ok(())
    });
    let last = bench.insert("last");
    lock.release();
    assert_eq!(code(&huge), Code::DiskFull);
    answer(&first).unwrap();
    answer(&last).unwrap();
    assert_eq!(runs.load(Ordering::Relaxed), 2, "the first was rolled back with the transaction, and run again");
    assert_eq!(bench.commits(), 2);
    assert_eq!(bench.names(), ["first", "last"]);
    assert_eq!(code(&bench.insert("first")), Code::Constraint, "and once only");
    bench.close();
}

#[test]
fn a_commit_that_fails_is_its_causes_alone() {
    let bench = Bench::new();
    assert_eq!(code(&bench.submit(insert_orphan)), Code::Constraint, "alone");
    let lock = bench.lock();
    let first = bench.insert("first");
    let orphan = bench.submit(insert_orphan);
    let last = bench.insert("last");
    lock.release();
    answer(&first).unwrap();
    assert_eq!(code(&orphan), Code::Constraint, "in a group");
    answer(&last).unwrap();
    assert_eq!(bench.names(), ["first", "last"]);
    bench.close();
}

#[test]
fn what_waits_beyond_its_deadline_never_runs() {
    let bench = Bench::new();
    let runs = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&runs);
    let lock = bench.lock();
    let patient = bench.insert("patient");
    let hasty = bench.submit_until(Duration::from_millis(60), 0, move |db| {
        counted.fetch_add(1, Ordering::Relaxed);
        insert(db, "hasty")
    });
    let error = answer(&hasty).unwrap_err();
    assert_eq!(error.code, Code::Busy);
    let waited = error.details.iter().find(|(name, _)| *name == "waitedMs").map(|(_, value)| value);
    assert!(matches!(waited, Some(Detail::Number(ms)) if *ms >= 60.0), "{error:?}");
    assert!(patient.try_recv().is_err(), "its own deadline is far");
    lock.release();
    answer(&patient).unwrap();
    answer(&bench.insert("later")).unwrap();
    assert_eq!(runs.load(Ordering::Relaxed), 0);
    assert_eq!(bench.names(), ["patient", "later"]);
    bench.close();
}

#[test]
fn bytes_in_flight_are_bounded() {
    let bench = Bench::with(100, "", None);
    let lock = bench.lock();
    let first = bench.submit_until(SOON, 80, |db| insert(db, "first"));
    let refused = bench.submit_until(SOON, 30, |db| insert(db, "refused"));
    let error = refused.try_recv().expect("refused at once").unwrap_err();
    assert_eq!(error.code, Code::Busy);
    assert!(error.message.contains("80 bytes") && error.message.contains("limit of 100 bytes"), "{}", error.message);
    let fits = bench.submit_until(SOON, 20, |db| insert(db, "fits"));
    lock.release();
    answer(&first).unwrap();
    answer(&fits).unwrap();
    assert_eq!(bench.budget.used(), 0);
    // One is always admitted, and what has no payload beside it.
    let lock = bench.lock();
    let large = bench.submit_until(SOON, 5_000, |db| insert(db, "large"));
    let small = bench.insert("small");
    lock.release();
    answer(&large).unwrap();
    answer(&small).unwrap();
    assert_eq!(bench.names(), ["first", "fits", "large", "small"]);
    assert_eq!(bench.budget.used(), 0);
    bench.close();
}

#[test]
fn close_lets_what_waits_finish() {
    let bench = Bench::new();
    let lock = bench.lock();
    let waiting = [bench.insert("a"), bench.insert("b")];
    std::thread::scope(|scope| {
        let closing = scope.spawn(|| bench.close());
        std::thread::sleep(Duration::from_millis(50));
        assert!(!closing.is_finished());
        lock.release();
    });
    for one in &waiting {
        answer(one).unwrap();
    }
    assert_eq!(bench.names(), ["a", "b"]);
    assert_eq!(code(&bench.insert("late")), Code::Disposed);
    bench.close();
    assert_eq!(bench.writer.figures().waiting.load(Ordering::Relaxed), 0);
}

#[test]
fn close_waits_for_a_lock_no_longer_than_the_deadlines() {
    let bench = Bench::new();
    let lock = bench.lock();
    let hasty = bench.submit_until(Duration::from_millis(60), 0, |db| insert(db, "hasty"));
    bench.close();
    assert_eq!(code(&hasty), Code::Busy);
    lock.release();
    assert_eq!(bench.names(), [""; 0]);
}

#[test]
fn close_interrupts_what_takes_too_long() {
    let bench = Bench::new();
    let endless = bench.submit(|db| {
        insert(db, "endless")?;
        let sql = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT count(*) FROM n";
        Ok(db.query_row(sql, [], |row| row.get::<_, i64>(0))?)
    });
    // Give it a moment to begin; an interrupt before that would interrupt nothing.
    std::thread::sleep(Duration::from_millis(50));
    bench.writer.close(Duration::from_millis(100));
    answer(&endless).unwrap_err();
    assert_eq!(bench.names(), [""; 0]);
}

/// Settles with a panic.
struct BadReply;

impl Write for BadReply {
    fn name(&self) -> &'static str {
        "bad-reply"
    }
    fn bytes(&self) -> usize {
        7
    }
    fn deadline(&self) -> Instant {
        Instant::now() + SOON
    }
    fn run(&mut self, db: &Connection) -> Result<()> {
        insert(db, "bad-reply")
    }
    fn settle(self: Box<Self>, _: Result<()>) {
        panic!("a fault of the reply");
    }
}

#[test]
fn a_reply_that_panics_takes_nobody_along() {
    let bench = Bench::new();
    let lock = bench.lock();
    let first = bench.insert("first");
    bench.writer.submit(BadReply);
    let last = bench.insert("last");
    lock.release();
    answer(&first).unwrap();
    answer(&last).unwrap();
    assert!(!bench.writer.has_failed());
    assert_eq!(bench.names(), ["first", "bad-reply", "last"]);
    assert_eq!(bench.budget.used(), 0);
    bench.close();
}

struct Follower(fn() -> Vec<Box<dyn Write>>);

impl Follow for Follower {
    fn begun(&mut self, _: &Connection) -> Result<()> {
        Ok(())
    }
    fn follow_ups(&mut self) -> Vec<Box<dyn Write>> {
        (self.0)()
    }
}

fn following(name: &'static str) -> Box<dyn Write> {
    Box::new(Call::new("follow-up", Instant::now() + SOON, move |db| insert(db, name), Reply::ignore()))
}

#[test]
fn follow_ups_are_of_the_same_transaction_and_fail_alone() {
    let bench = Bench::with(1 << 20, "", Some(Box::new(Follower(|| vec![following("first"), following("behind")]))));
    answer(&bench.insert("first")).unwrap();
    assert_eq!(bench.commits(), 1);
    assert_eq!(bench.names(), ["first", "behind"]);
    bench.close();
}

/// Never silence: a thread that dies answers everything that waits and that comes later.
#[test]
fn a_thread_that_fails_says_so() {
    let bench = Bench::with(1 << 20, "", Some(Box::new(Follower(|| panic!("a fault of the thread")))));
    let lock = bench.lock();
    let waiting =
        [bench.submit_until(SOON, 10, |db| insert(db, "a")), bench.submit_until(SOON, 10, |db| insert(db, "b"))];
    lock.release();
    for one in &waiting {
        assert_eq!(code(one), Code::Internal);
    }
    // The replies of the group settle while the thread unwinds, a moment before it says that it has failed.
    let since = Instant::now();
    while !bench.writer.has_failed() && since.elapsed() < SOON {
        std::thread::sleep(Duration::from_millis(1));
    }
    let later = answer(&bench.insert("later")).unwrap_err();
    assert!(later.code == Code::Internal && later.message.contains("t-writer"), "{later:?}");
    assert_eq!(bench.budget.used(), 0, "the budget is the other writer's too");
    assert_eq!(bench.writer.figures().waiting.load(Ordering::Relaxed), 0);
    bench.close();
    assert_eq!(bench.names(), [""; 0], "what was told to have failed is not stored");
    bench.lock().release();
}

#[test]
fn a_group_is_as_durable_as_its_most_careful_command() {
    let bench = Bench::new();
    let synchronous = |durability| {
        wait(|reply| {
            let read = |db: &Connection| Ok(db.query_row("PRAGMA synchronous", [], |row| row.get::<_, i64>(0))?);
            let deadline = Instant::now() + SOON;
            bench.writer.submit(Call::new("synchronous", deadline, read, reply).durability(durability));
        })
        .unwrap()
    };
    assert_eq!([Durability::Normal, Durability::Full, Durability::Normal].map(synchronous), [1, 2, 1]);
    bench.close();
}

/// A command without a savepoint, which is refused before it writes or fails behind its write.
struct Bare {
    name: &'static str,
    refused: bool,
    fails: bool,
    written: bool,
    reply: Reply<()>,
}

impl Write for Bare {
    fn name(&self) -> &'static str {
        "bare"
    }
    fn deadline(&self) -> Instant {
        Instant::now() + SOON
    }
    fn run(&mut self, db: &Connection) -> Result<()> {
        self.written = !self.refused;
        if self.refused {
            return Err(Error::invalid("refused"));
        }
        insert(db, self.name)?;
        if self.fails { Err(Error::internal("behind its write")) } else { Ok(()) }
    }
    fn needs_savepoint(&self) -> bool {
        false
    }
    fn has_written(&self) -> bool {
        self.written
    }
    fn settle(self: Box<Self>, outcome: Result<()>) {
        self.reply.settle(outcome);
    }
}

#[test]
fn without_a_savepoint_what_fails_leaves_nothing_and_what_is_refused_disturbs_nobody() {
    let bench = Bench::with(1 << 20, "", Some(Box::new(Follower(Vec::new))));
    let bare = |name, refused, fails| {
        let (reply, answer) = Reply::channel();
        bench.writer.submit(Bare { name, refused, fails, written: false, reply });
        answer
    };
    let lock = bench.lock();
    let answers = [bare("a", false, false), bare("refused", true, false), bare("b", false, false), bench.insert("c")];
    lock.release();
    assert_eq!(answers.each_ref().map(|one| answer(one).is_ok()), [true, false, true, true]);
    assert_eq!((bench.commits(), bench.names()), (1, ["a", "b", "c"].map(str::to_owned).to_vec()));

    let lock = bench.lock();
    let answers = [bare("d", false, false), bare("e", false, true), bare("f", false, false), bench.insert("g")];
    lock.release();
    assert_eq!(answers.each_ref().map(|one| answer(one).is_ok()), [true, false, true, true]);
    assert_eq!(bench.names(), ["a", "b", "c", "d", "f", "g"]);
    assert_eq!(bench.commits(), 4, "the three others, each by itself");
    bench.close();
}

/// Tells its number when it settles, or has that done together with others.
struct Numbered(usize, bool, Arc<std::sync::Mutex<Vec<String>>>);

impl Write for Numbered {
    fn name(&self) -> &'static str {
        "numbered"
    }
    fn deadline(&self) -> Instant {
        Instant::now() + SOON
    }
    fn run(&mut self, _: &Connection) -> Result<()> {
        if self.0 == 4 { Err(Error::invalid("4")) } else { Ok(()) }
    }
    fn settle(self: Box<Self>, _: Result<()>) {
        self.2.lock().unwrap().push(self.0.to_string());
    }
    fn settles_together(&self) -> bool {
        self.1
    }
}

struct Together(Arc<std::sync::Mutex<Vec<String>>>);

impl Follow for Together {
    fn begun(&mut self, _: &Connection) -> Result<()> {
        Ok(())
    }
    fn follow_ups(&mut self) -> Vec<Box<dyn Write>> {
        Vec::new()
    }
    fn settle_together(&mut self) {
        self.0.lock().unwrap().push("together".into());
    }
}

#[test]
fn what_settles_together_is_settled_before_what_stands_behind_it() {
    let order = Arc::new(std::sync::Mutex::new(Vec::new()));
    let bench = Bench::with(1 << 20, "", Some(Box::new(Together(Arc::clone(&order)))));
    let lock = bench.lock();
    for (number, together) in [true, true, false, true, true, true].into_iter().enumerate() {
        bench.writer.submit(Numbered(number, together, Arc::clone(&order)));
    }
    lock.release();
    bench.close();
    // The fifth failed: its answer is its own.
    assert_eq!(*order.lock().unwrap(), ["0", "1", "together", "2", "3", "together", "4", "5", "together"]);
}

struct Postponing(i64);

impl Follow for Postponing {
    fn begun(&mut self, _: &Connection) -> Result<()> {
        Ok(())
    }
    fn follow_ups(&mut self) -> Vec<Box<dyn Write>> {
        Vec::new()
    }
    fn postponed_pages(&self) -> i64 {
        self.0
    }
}

/// How long the log has become, in pages, when the last of eight commands of 2 MiB runs that came without a pause.
fn log_of_a_burst(postponed: i64) -> u64 {
    let bench = Bench::with(1 << 30, "PRAGMA journal_size_limit = -1", Some(Box::new(Postponing(postponed))));
    let log = bench.folder.path().join("t.db-wal");
    let lock = bench.lock();
    let answers: Vec<_> = (0..8)
        .map(|number| {
            let log = log.clone();
            // Each is a group of its own.
            bench.submit_until(SOON, 2 << 20, move |db| {
                let length = std::fs::metadata(&log)?.len();
                db.execute("INSERT INTO rows(name) VALUES (hex(zeroblob(1048576)) || ?1)", [number])?;
                Ok(length)
            })
        })
        .collect();
    lock.release();
    let length = answers.iter().map(|one| answer(one).unwrap()).next_back().unwrap() / (4_096 + 24);
    // Whoever rests has time for a checkpoint.
    let since = Instant::now();
    while bench.writer.figures().checkpointed_epoch.load(Ordering::Relaxed) == 0 {
        assert!(since.elapsed() < SOON, "no checkpoint was made");
        std::thread::sleep(Duration::from_millis(1));
    }
    bench.close();
    length
}

#[test]
fn a_burst_is_taken_in_before_the_checkpoint_that_it_makes_due() {
    // 1,024 pages each, row and index: the checkpoint is due after the fourth.
    assert!(log_of_a_burst(0) < 5_000);
    assert!(log_of_a_burst(10_000) > 7_000);
    // A burst without an end does not postpone it for ever.
    assert!((6_000..7_000).contains(&log_of_a_burst(2_000)));
}
