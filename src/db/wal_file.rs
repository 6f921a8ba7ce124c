//! Write-ahead logs whose frames are written together.
//!
//! SQLite writes each page of a transaction with two system calls, 24 bytes and the page, and with each the operating
//! system looks the same pages of its cache up again. Here the frames of a COMMIT are gathered and written at once:
//! with the frame that commits them, so that the call which SQLite takes for the COMMIT's answer is the one that writes,
//! and its error is the COMMIT's. Before that frame nobody else looks at any of them.
//!
//! What is gathered is written only by a later write of the same COMMIT statement, which proves that SQLite still holds
//! the write lock; nothing may outlive that, or it would be written over what another process has committed in its place.
//! Whatever else comes first throws it away, and the COMMIT fails. Pages that a transaction spills into the log before
//! its COMMIT are never gathered.
//!
//! It is the platform's own VFS in all but how a log is opened. Only write connections use it, and only those of files
//! without virtual tables: a full-text table writes and reads rows within the COMMIT, and a read there would throw away
//! what is gathered.

use std::{
    cell::Cell,
    ffi::{CStr, c_int, c_void},
    ptr, slice,
    sync::{
        OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use rusqlite::ffi;

const NAME: &CStr = c"claude-mem-native";
/// Bytes of a frame's header.
const FRAME_HEADER: usize = 24;
/// Bytes from which frames are written although their transaction goes on.
const GATHERED: usize = 96 << 10;
/// Bytes of one call at most: SQLite's Unix VFS takes no more than 128 KiB - 1 at once, and of exactly a multiple of
/// 128 KiB it takes nothing and calls the disk full.
const CALL: usize = 120 << 10;

/// COMMITs so far, on all threads.
static COMMITS: AtomicU64 = AtomicU64::new(0);

thread_local! {
    /// The number of the COMMIT that this thread runs, 0 outside of one.
    static COMMITTING: Cell<u64> = const { Cell::new(0) };
}

/// Runs a COMMIT statement, and nothing but that: frames that it writes are gathered.
pub(super) fn committing<T>(commit: impl FnOnce() -> T) -> T {
    struct Over;
    impl Drop for Over {
        fn drop(&mut self) {
            COMMITTING.set(0);
        }
    }
    let _over = Over;
    COMMITTING.set(COMMITS.fetch_add(1, Ordering::Relaxed) + 1);
    commit()
}

/// How the platform opens a file.
static OPEN: OnceLock<Open> = OnceLock::new();

type Open = unsafe extern "C" fn(
    *mut ffi::sqlite3_vfs,
    ffi::sqlite3_filename,
    *mut ffi::sqlite3_file,
    c_int,
    *mut c_int,
) -> c_int;

/// The name of the VFS, for `sqlite3_open_v2`; none where the platform's own cannot be found or extended.
pub(super) fn vfs() -> Option<&'static CStr> {
    static REGISTERED: OnceLock<bool> = OnceLock::new();
    REGISTERED.get_or_init(register).then_some(NAME)
}

fn register() -> bool {
    // SAFETY: finding the default VFS has no preconditions; it lives as long as the process.
    let Some(original) = (unsafe { ffi::sqlite3_vfs_find(ptr::null()).as_ref() }) else { return false };
    let (Some(platform_open), Ok(ours)) = (original.xOpen, c_int::try_from(size_of::<LogFile>())) else { return false };
    OPEN.get_or_init(|| platform_open);
    let mut vfs = *original;
    vfs.pNext = ptr::null_mut();
    vfs.zName = NAME.as_ptr();
    vfs.szOsFile += ours;
    vfs.xOpen = Some(open);
    // All other functions are the platform's. They find what they need in `pAppData`, which is copied.
    // SAFETY: a VFS that is registered must live for ever, and this one does.
    unsafe { ffi::sqlite3_vfs_register(Box::leak(Box::new(vfs)), 0) == ffi::SQLITE_OK }
}

/// An open log. Behind it, in the same allocation of SQLite's, lies the platform's file.
#[repr(C)]
struct LogFile {
    base: ffi::sqlite3_file,
    /// The platform's file.
    platform: *mut ffi::sqlite3_file,
    /// Frames that are not written yet; they belong at `end` less their length.
    gathered: Vec<u8>,
    /// The COMMIT that they are of.
    commit: u64,
    /// Frames of that COMMIT were thrown away.
    lost: bool,
    /// Where the last write ended, gathered or not; negative where that is not known.
    end: i64,
    /// The last write was a frame's header: its page follows.
    within_frame: bool,
    /// That frame ends a transaction.
    commits: bool,
}

static METHODS: ffi::sqlite3_io_methods = ffi::sqlite3_io_methods {
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    // A log is never locked; its database is.
    xLock: Some(no_lock),
    xUnlock: Some(no_lock),
    xCheckReservedLock: Some(nobody_locks),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

/// Calls a method of the platform's file of a log.
macro_rules! platform {
    ($log:expr, $method:ident, $missing:expr $(, $argument:expr)*) => {{
        let file = $log.platform;
        // SAFETY: `open` has opened it, and `close` is the last to use it; the arguments are those that SQLite gave us.
        unsafe {
            match (*(*file).pMethods).$method {
                Some(method) => method(file $(, $argument)*),
                None => $missing,
            }
        }
    }};
}

impl LogFile {
    /// Takes one write of SQLite's, which holds the write lock of the log.
    fn write(&mut self, bytes: &[u8], offset: i64) -> c_int {
        let committing = COMMITTING.get();
        if self.commit != committing {
            self.discard();
            self.commit = committing;
            self.lost = false;
        }
        if self.lost {
            return ffi::SQLITE_IOERR_WRITE;
        }
        // What does not go on where the last write ended is no new frame: the log's header, a page that the
        // transaction has written before, a checksum. That is written at once, as every reader of the log expects.
        let begins = !self.within_frame && bytes.len() == FRAME_HEADER;
        if committing != 0
            && offset == self.end
            && (self.within_frame || begins)
            && self.gathered.try_reserve(bytes.len()).is_ok()
        {
            self.gathered.extend_from_slice(bytes);
            self.end += length(bytes);
            if begins {
                self.within_frame = true;
                // The size of the database after the transaction; 0 in all frames but its last.
                self.commits = bytes[4..8] != [0; 4];
                return ffi::SQLITE_OK;
            }
            self.within_frame = false;
            return if self.commits || self.gathered.len() >= GATHERED { self.flush() } else { ffi::SQLITE_OK };
        }
        let flushed = self.flush();
        if flushed != ffi::SQLITE_OK {
            return flushed;
        }
        let written = self.put(bytes, offset);
        self.end = if written == ffi::SQLITE_OK { offset + length(bytes) } else { -1 };
        written
    }

    /// Throws away what was gathered: its COMMIT has failed.
    fn discard(&mut self) {
        self.within_frame = false;
        if !self.gathered.is_empty() {
            self.gathered.clear();
            self.end = -1;
            self.lost = true;
        }
    }

    /// Writes what this COMMIT has gathered.
    fn flush(&mut self) -> c_int {
        self.within_frame = false;
        if self.gathered.is_empty() {
            return ffi::SQLITE_OK;
        }
        let mut gathered = std::mem::take(&mut self.gathered);
        let written = self.put(&gathered, self.end - length(&gathered));
        gathered.clear();
        self.gathered = gathered;
        if written != ffi::SQLITE_OK {
            // SQLite takes the transaction back, and writes the next one in the place of this one.
            self.end = -1;
        }
        written
    }

    fn put(&mut self, bytes: &[u8], mut offset: i64) -> c_int {
        for part in bytes.chunks(CALL) {
            let Ok(amount) = c_int::try_from(part.len()) else { return ffi::SQLITE_IOERR_WRITE };
            let written = platform!(self, xWrite, ffi::SQLITE_IOERR_WRITE, part.as_ptr().cast(), amount, offset);
            if written != ffi::SQLITE_OK {
                return written;
            }
            offset += length(part);
        }
        ffi::SQLITE_OK
    }
}

fn length(bytes: &[u8]) -> i64 {
    i64::try_from(bytes.len()).unwrap_or(i64::MAX)
}

/// The log of a file object that `open` has made.
///
/// # Safety
/// `file` is one that SQLite got from `open` and has not closed. SQLite calls one method of a file at a time.
unsafe fn log<'f>(file: *mut ffi::sqlite3_file) -> &'f mut LogFile {
    // SAFETY: see above.
    unsafe { &mut *file.cast::<LogFile>() }
}

/// Before the platform's file is asked for anything but a write. Between two frames of a COMMIT SQLite asks for nothing
/// else; so what is gathered now is of one that has failed, and whose lock may be somebody else's already.
fn discarded<'f>(file: *mut ffi::sqlite3_file) -> &'f LogFile {
    // SAFETY: only methods of our own table come here, with SQLite's own argument.
    let log = unsafe { log(file) };
    log.discard();
    log
}

unsafe extern "C" fn open(
    vfs: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    opened: *mut c_int,
) -> c_int {
    let Some(open) = OPEN.get() else { return ffi::SQLITE_CANTOPEN };
    if flags & ffi::SQLITE_OPEN_WAL == 0 {
        // SAFETY: SQLite's own arguments; there is room for the platform's file.
        return unsafe { open(vfs, name, file, flags, opened) };
    }
    // A multiple of the alignment that both have.
    let behind = file.wrapping_byte_add(size_of::<LogFile>());
    // SAFETY: SQLite has allocated `szOsFile` bytes: room for both, ours first.
    unsafe {
        file.cast::<LogFile>().write(LogFile {
            base: ffi::sqlite3_file { pMethods: ptr::null() },
            platform: behind,
            gathered: Vec::new(),
            commit: 0,
            lost: false,
            end: -1,
            within_frame: false,
            commits: false,
        });
    }
    // SAFETY: as above; a file object is blank before it is opened.
    unsafe { ptr::write_bytes(behind.cast::<u8>(), 0, size_of::<ffi::sqlite3_file>()) };
    // SAFETY: SQLite's own arguments, with the place of the platform's file.
    let outcome = unsafe { open(vfs, name, behind, flags, opened) };
    // SAFETY: both file objects were written above.
    unsafe {
        if outcome == ffi::SQLITE_OK {
            (*file).pMethods = &raw const METHODS;
        } else if let Some(close) = (*behind).pMethods.as_ref().and_then(|methods| methods.xClose) {
            // Ours stays without methods: SQLite will not close it.
            close(behind);
        }
    }
    outcome
}

unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: as for `log`; SQLite does not use it again.
    let log = unsafe { file.cast::<LogFile>().read() };
    platform!(log, xClose, ffi::SQLITE_OK)
}

unsafe extern "C" fn read(file: *mut ffi::sqlite3_file, to: *mut c_void, amount: c_int, offset: i64) -> c_int {
    platform!(discarded(file), xRead, ffi::SQLITE_IOERR_READ, to, amount, offset)
}

unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, data: *const c_void, amount: c_int, offset: i64) -> c_int {
    let Ok(length) = usize::try_from(amount) else { return ffi::SQLITE_IOERR_WRITE };
    // SAFETY: SQLite gives `amount` bytes at `data`, which is not null, and nobody writes to them meanwhile.
    let bytes = unsafe { slice::from_raw_parts(data.cast::<u8>(), length) };
    // SAFETY: SQLite's own argument.
    unsafe { log(file) }.write(bytes, offset)
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: i64) -> c_int {
    platform!(discarded(file), xTruncate, ffi::SQLITE_IOERR_TRUNCATE, size)
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    platform!(discarded(file), xSync, ffi::SQLITE_IOERR_FSYNC, flags)
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, size: *mut i64) -> c_int {
    platform!(discarded(file), xFileSize, ffi::SQLITE_IOERR_FSTAT, size)
}

unsafe extern "C" fn no_lock(_: *mut ffi::sqlite3_file, _: c_int) -> c_int {
    ffi::SQLITE_OK
}

unsafe extern "C" fn nobody_locks(_: *mut ffi::sqlite3_file, held: *mut c_int) -> c_int {
    // SAFETY: SQLite's own pointer, to be written to.
    unsafe { held.write(0) };
    ffi::SQLITE_OK
}

unsafe extern "C" fn file_control(file: *mut ffi::sqlite3_file, operation: c_int, argument: *mut c_void) -> c_int {
    // SAFETY: SQLite's own argument.
    platform!(unsafe { log(file) }, xFileControl, ffi::SQLITE_NOTFOUND, operation, argument)
}

unsafe extern "C" fn sector_size(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite's own argument.
    platform!(unsafe { log(file) }, xSectorSize, 4096)
}

unsafe extern "C" fn device_characteristics(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite's own argument.
    platform!(unsafe { log(file) }, xDeviceCharacteristics, 0)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rusqlite::Connection;

    use super::committing;
    use crate::db::connection;

    fn commit(db: &Connection) -> rusqlite::Result<()> {
        committing(|| db.execute_batch("COMMIT"))
    }

    fn rows(db: &Connection) -> i64 {
        db.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap()
    }

    fn check(db: &Connection) {
        let answer: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(answer, "ok");
    }

    /// The files as a process leaves them that is killed now.
    fn killed_now(path: &Path, to: &Path) -> Connection {
        for suffix in ["", "-wal"] {
            let name = |path: &Path| format!("{}{suffix}", path.display());
            std::fs::copy(name(path), name(to)).unwrap();
        }
        Connection::open(to).unwrap()
    }

    #[test]
    fn a_commit_is_in_the_file_when_it_answers() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.db");
        let db = connection::open_gathering_writer(&path, "").unwrap();
        assert_eq!(super::vfs(), Some(super::NAME));
        db.execute_batch("CREATE TABLE t(id INTEGER PRIMARY KEY, x)").unwrap();
        let other = Connection::open(&path).unwrap();
        for round in 1..=40_i64 {
            db.execute_batch("BEGIN IMMEDIATE").unwrap();
            for _ in 0..round {
                db.execute("INSERT INTO t(x) VALUES (randomblob(?1))", [round * 300]).unwrap();
            }
            commit(&db).unwrap();
            let committed = round * (round + 1) / 2;
            assert_eq!(rows(&other), committed, "another connection sees it");
            assert_eq!(rows(&killed_now(&path, &folder.path().join("copy.db"))), committed, "it survives the process");
        }
        check(&killed_now(&path, &folder.path().join("copy.db")));
    }

    #[test]
    fn a_transaction_larger_than_the_cache_writes_its_pages_again_and_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.db");
        let db = connection::open_gathering_writer(&path, "").unwrap();
        // Pages are spilled into the log before the COMMIT, read back from it and written over in their places.
        db.execute_batch(
            "PRAGMA cache_size=10; PRAGMA wal_autocheckpoint=0; CREATE TABLE t(id INTEGER PRIMARY KEY, x); CREATE INDEX i ON t(x)",
        )
        .unwrap();
        let other = Connection::open(&path).unwrap();
        for round in 1..=4_i64 {
            db.execute_batch("BEGIN IMMEDIATE").unwrap();
            for _ in 0..300 {
                db.execute("INSERT INTO t(x) VALUES (randomblob(900))", []).unwrap();
            }
            db.execute("UPDATE t SET x = randomblob(901) WHERE id % 3 = 0", []).unwrap();
            assert_eq!(rows(&other), (round - 1) * 300);
            commit(&db).unwrap();
            assert_eq!(rows(&other), round * 300);
            db.execute_batch("BEGIN IMMEDIATE; DELETE FROM t; ROLLBACK").unwrap();
            let copy = killed_now(&path, &folder.path().join("copy.db"));
            assert_eq!(rows(&copy), round * 300);
            check(&copy);
            if round == 2 {
                // The log starts over.
                db.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).unwrap();
            }
        }
        check(&other);
    }

    #[test]
    fn writers_take_turns() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.db");
        let ours = connection::open_gathering_writer(&path, "").unwrap();
        ours.execute_batch("CREATE TABLE t(id INTEGER PRIMARY KEY, x)").unwrap();
        let theirs = Connection::open(&path).unwrap();
        for round in 0..60_i64 {
            for db in [&ours, &theirs, &ours] {
                db.execute_batch("BEGIN IMMEDIATE; INSERT INTO t(x) VALUES (randomblob(9000))").unwrap();
                commit(db).unwrap();
            }
            assert_eq!((rows(&ours), rows(&theirs)), (3 * (round + 1), 3 * (round + 1)));
            if round % 20 == 19 {
                theirs.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
            }
        }
        check(&theirs);
        drop(ours);
        check(&theirs);
    }

    /// What is left of a transaction that was taken back must never be written over what another connection has
    /// committed in the same place of the log.
    #[test]
    fn nothing_of_a_transaction_that_was_taken_back_is_written_later() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.db");
        let ours = connection::open_gathering_writer(&path, "").unwrap();
        ours.execute_batch(
            "PRAGMA cache_size=10; PRAGMA wal_autocheckpoint=0; CREATE TABLE t(id INTEGER PRIMARY KEY, x); CREATE INDEX i ON t(x)",
        )
        .unwrap();
        let theirs = Connection::open(&path).unwrap();
        let many = "WITH RECURSIVE n(k) AS (SELECT 1 UNION ALL SELECT k + 1 FROM n WHERE k < 120)
                    INSERT INTO t(x) SELECT randomblob(900) FROM n";
        let ends = [
            format!("BEGIN IMMEDIATE; {many}; ROLLBACK"),
            format!("BEGIN IMMEDIATE; SAVEPOINT s; {many}; ROLLBACK TO s; {many}; ROLLBACK TO s; ROLLBACK"),
            // The last row fails behind all others, and SQLite takes the statement back.
            "INSERT INTO t(id, x) SELECT 100000 + value % 119, randomblob(900) FROM generate_series(1, 120)"
                .replace("generate_series(1, 120)", "(WITH RECURSIVE n(value) AS (SELECT 1 UNION ALL SELECT value + 1 FROM n WHERE value < 120) SELECT value FROM n)"),
        ];
        let mut stored = 0;
        for round in 0..12_usize {
            let taken_back = ours.execute_batch(&ends[round % ends.len()]);
            assert_eq!(taken_back.is_err(), round % ends.len() == 2);
            for _ in 0..=round {
                theirs.execute("INSERT INTO t(x) VALUES (randomblob(2000))", []).unwrap();
                stored += 1;
            }
            if round % 2 == 0 {
                assert_eq!(rows(&ours), stored);
            }
            ours.execute_batch("BEGIN IMMEDIATE; INSERT INTO t(x) VALUES (randomblob(7000)), (randomblob(10))")
                .unwrap();
            commit(&ours).unwrap();
            stored += 2;
            let copy = killed_now(&path, &folder.path().join("copy.db"));
            for db in [&ours, &theirs, &copy] {
                assert_eq!(rows(db), stored);
                check(db);
            }
        }
    }

    /// The same where the COMMIT itself fails between two of its frames.
    #[test]
    fn nothing_of_a_commit_that_failed_is_written_later() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("t.db");
        let ours = connection::open_gathering_writer(&path, "").unwrap();
        ours.execute_batch("PRAGMA wal_autocheckpoint=0; CREATE TABLE t(id INTEGER PRIMARY KEY, x)").unwrap();
        crate::fault::watch(&ours);
        let log = crate::fault::disk::log(&path).unwrap();
        let theirs = Connection::open(&path).unwrap();
        let mut stored = 0;
        for writes in 0..10 {
            ours.execute_batch("BEGIN IMMEDIATE; INSERT INTO t(x) VALUES (randomblob(20000))").unwrap();
            log.fail_writes_after(writes, 1);
            let failed = commit(&ours).is_err();
            log.fail_writes_after(0, 0);
            assert!(failed, "write {writes} of the COMMIT failed");
            if !ours.is_autocommit() {
                ours.execute_batch("ROLLBACK").unwrap();
            }
            theirs.execute("INSERT INTO t(x) VALUES (randomblob(12000))", []).unwrap();
            ours.execute_batch("BEGIN IMMEDIATE; INSERT INTO t(x) VALUES (randomblob(5000))").unwrap();
            commit(&ours).unwrap();
            stored += 2;
            let copy = killed_now(&path, &folder.path().join("copy.db"));
            for db in [&ours, &theirs, &copy] {
                assert_eq!(rows(db), stored);
                check(db);
            }
        }
    }
}
