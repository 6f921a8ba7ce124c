//! The write-ahead logs of the writers, as a disk sees them: what is written and fsynced is counted, noted for each
//! COMMIT, and made to fail where a test says so. Test build only.
//!
//! SQLite calls its files through a table of functions. Each watched log gets a table of its own, a copy in which
//! writing and fsyncing come by here first; so an error is one that SQLite has met, on any platform.

use std::{
    collections::HashMap,
    ffi::{c_int, c_void},
    path::{Path, PathBuf},
    sync::{
        Arc, LazyLock, Mutex, PoisonError,
        atomic::{AtomicI64, AtomicU64, Ordering},
    },
};

use rusqlite::{Connection, ffi};

/// A COMMIT: its commands, and the fsyncs of the log since the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Commit {
    /// The database file.
    pub file: PathBuf,
    /// Names of the commands in it, also of those that were refused.
    pub commands: Vec<String>,
    /// How often the log was fsynced for it.
    pub syncs: u64,
}

/// One log that is watched.
#[derive(Debug, Default)]
pub struct Log {
    syncs: AtomicU64,
    noted: AtomicU64,
    /// Writes and fsyncs that still fail; below zero: all.
    failing_writes: AtomicI64,
    /// Writes that still work before those.
    passing_writes: AtomicI64,
    failing_syncs: AtomicI64,
    /// Writes and fsyncs up to the one that fails, that included; 0 for none.
    countdown: AtomicI64,
}

impl Log {
    /// Fsyncs since it is watched.
    pub fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::SeqCst)
    }

    /// Has the next `count` writes fail with an I/O error; -1 for all from now on, 0 for none any more.
    pub fn fail_writes(&self, count: i64) {
        self.failing_writes.store(count, Ordering::SeqCst);
    }

    /// As [`Log::fail_writes`], after `pass` writes that work.
    pub fn fail_writes_after(&self, pass: i64, count: i64) {
        self.passing_writes.store(pass, Ordering::SeqCst);
        self.fail_writes(count);
    }

    /// As [`Log::fail_writes`], of fsyncs.
    pub fn fail_syncs(&self, count: i64) {
        self.failing_syncs.store(count, Ordering::SeqCst);
    }

    /// Has `passing` writes and fsyncs pass, and the one behind them fail.
    pub fn fail_one_behind(&self, passing: i64) {
        self.countdown.store(passing + 1, Ordering::SeqCst);
    }

    /// Ends [`Log::fail_one_behind`]; whether that one came.
    pub fn end_countdown(&self) -> bool {
        self.countdown.swap(0, Ordering::SeqCst) == 0
    }

    fn fails(&self, left: &AtomicI64) -> bool {
        let one_less = |left: i64| (left > 0).then(|| left - 1);
        match self.countdown.fetch_update(Ordering::SeqCst, Ordering::SeqCst, one_less) {
            Ok(left) => left == 1,
            Err(_) => fails(left),
        }
    }
}

/// Whether this one fails.
fn fails(left: &AtomicI64) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| match left {
        0 => None,
        left if left < 0 => Some(left),
        left => Some(left - 1),
    })
    .is_ok()
}

struct Watched {
    log: Arc<Log>,
    /// Where its own table lies: another file may get the address of one that was closed.
    table: usize,
    original: &'static ffi::sqlite3_io_methods,
}

/// The address of an open file of SQLite, which is not looked at.
static WATCHED: LazyLock<Mutex<HashMap<usize, Watched>>> = LazyLock::new(Mutex::default);
/// The log of each database file: the one opened last.
static LOGS: LazyLock<Mutex<HashMap<PathBuf, Arc<Log>>>> = LazyLock::new(Mutex::default);
static COMMITS: Mutex<Vec<Commit>> = Mutex::new(Vec::new());

fn path_of(db: &Connection) -> PathBuf {
    let path = PathBuf::from(db.path().unwrap_or_default());
    path.canonicalize().unwrap_or(path)
}

/// The watched log of a database file.
pub fn log(database: &Path) -> Option<Arc<Log>> {
    let path = database.canonicalize().unwrap_or_else(|_| database.to_path_buf());
    LOGS.lock().unwrap_or_else(PoisonError::into_inner).get(&path).map(Arc::clone)
}

/// What was committed to the files in `folder`, oldest first.
pub fn commits(folder: &Path) -> Vec<Commit> {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_path_buf());
    let all = COMMITS.lock().unwrap_or_else(PoisonError::into_inner);
    all.iter().filter(|commit| commit.file.starts_with(&folder)).cloned().collect()
}

/// Notes a COMMIT and the commands in it.
pub fn committed<'a, I: Iterator<Item = &'a str>>(db: &Connection, commands: impl FnOnce() -> I) {
    let file = path_of(db);
    let Some(log) = log(&file) else { return };
    let syncs = log.syncs();
    let syncs = syncs - log.noted.swap(syncs, Ordering::SeqCst);
    let commands = commands().map(str::to_owned).collect();
    let mut all = COMMITS.lock().unwrap_or_else(PoisonError::into_inner);
    // A test looks at what has just happened; a long run must not fill its memory with it.
    if all.len() > 20_000 {
        all.drain(..10_000);
    }
    all.push(Commit { file, commands, syncs });
}

/// Watches the log of a write connection.
pub fn watch(db: &Connection) {
    let mut file: *mut ffi::sqlite3_file = std::ptr::null_mut();
    // SAFETY: the handle is open, and its thread waits for us; the answer is the address of its log's file object, or
    // of an empty one.
    let found = unsafe {
        ffi::sqlite3_file_control(
            db.handle(),
            c"main".as_ptr(),
            ffi::SQLITE_FCNTL_JOURNAL_POINTER,
            (&raw mut file).cast(),
        )
    };
    if found != ffi::SQLITE_OK {
        return;
    }
    // SAFETY: SQLite has answered with a file object of its own, which lives as long as the log is open.
    let Some(methods) = (unsafe { file.as_mut() }) else { return };
    // SAFETY: the table of an open file is static; that of one that is not open is null.
    let Some(original) = (unsafe { methods.pMethods.as_ref() }) else { return };
    let mut all = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
    if all.get(&file.addr()).is_some_and(|watched| watched.table == methods.pMethods.addr()) {
        return;
    }
    let mut mine = *original;
    mine.xWrite = Some(write);
    mine.xSync = Some(sync);
    let log = Arc::new(Log::default());
    LOGS.lock().unwrap_or_else(PoisonError::into_inner).insert(path_of(db), Arc::clone(&log));
    // Kept for the process's life: nobody says when SQLite has closed the file.
    methods.pMethods = Box::leak(Box::new(mine));
    all.insert(file.addr(), Watched { log, table: methods.pMethods.addr(), original });
}

fn watched(file: *mut ffi::sqlite3_file) -> Option<(Arc<Log>, &'static ffi::sqlite3_io_methods)> {
    let all = WATCHED.lock().unwrap_or_else(PoisonError::into_inner);
    all.get(&file.addr()).map(|watched| (Arc::clone(&watched.log), watched.original))
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    data: *const c_void,
    amount: c_int,
    offset: ffi::sqlite3_int64,
) -> c_int {
    let Some((log, original)) = watched(file) else { return ffi::SQLITE_IOERR_WRITE };
    if !fails(&log.passing_writes) && log.fails(&log.failing_writes) {
        return ffi::SQLITE_IOERR_WRITE;
    }
    match original.xWrite {
        // SAFETY: SQLite's own arguments for its own function.
        Some(write) => unsafe { write(file, data, amount, offset) },
        None => ffi::SQLITE_IOERR_WRITE,
    }
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    let Some((log, original)) = watched(file) else { return ffi::SQLITE_IOERR_FSYNC };
    if log.fails(&log.failing_syncs) {
        return ffi::SQLITE_IOERR_FSYNC;
    }
    log.syncs.fetch_add(1, Ordering::SeqCst);
    match original.xSync {
        // SAFETY: SQLite's own arguments for its own function.
        Some(sync) => unsafe { sync(file, flags) },
        None => ffi::SQLITE_IOERR_FSYNC,
    }
}
