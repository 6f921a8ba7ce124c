//! Write-ahead logs whose frames are written together.
//!
//! SQLite writes each page of a transaction with two system calls, 24 bytes and the page, and with each the operating
//! system looks the same pages of its cache up again. Here the frames of a transaction are gathered and written at
//! once: with the frame that commits them, so that the call which SQLite takes for the COMMIT's answer is the one that
//! writes, and its error is the COMMIT's. Before that frame nobody else looks at any of them.
//!
//! It is the platform's own VFS in all but how a log is opened. Only write connections use it.

use std::{
    ffi::{CStr, c_int, c_void},
    ptr, slice,
    sync::OnceLock,
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
    /// Frames that are not written yet; they belong at `end` less their length.
    gathered: Vec<u8>,
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

/// The platform's file behind a log of ours.
fn platform(file: *mut ffi::sqlite3_file) -> *mut ffi::sqlite3_file {
    // A multiple of the alignment that both have.
    file.wrapping_byte_add(size_of::<LogFile>())
}

/// Calls a method of the platform's file.
macro_rules! platform {
    ($file:expr, $method:ident, $missing:expr $(, $argument:expr)*) => {{
        let file = platform($file);
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
    /// Takes one write of SQLite's, or the whole of what was gathered by it.
    fn write(&mut self, bytes: &[u8], offset: i64) -> c_int {
        // What does not go on where the last write ended is no new frame: the log's header, a page that the
        // transaction has written before, a checksum. That is written at once, as every reader of the log expects.
        let begins = !self.within_frame && bytes.len() == FRAME_HEADER;
        if offset == self.end && (self.within_frame || begins) && self.gathered.try_reserve(bytes.len()).is_ok() {
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

    /// Writes what was gathered.
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
        let file = &raw mut self.base;
        for part in bytes.chunks(CALL) {
            let Ok(amount) = c_int::try_from(part.len()) else { return ffi::SQLITE_IOERR_WRITE };
            let written = platform!(file, xWrite, ffi::SQLITE_IOERR_WRITE, part.as_ptr().cast(), amount, offset);
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

/// Writes what was gathered before the platform's file is asked for anything else.
fn flushed(file: *mut ffi::sqlite3_file) -> Result<(), c_int> {
    // SAFETY: only methods of our own table come here, with SQLite's own argument.
    match unsafe { log(file) }.flush() {
        ffi::SQLITE_OK => Ok(()),
        error => Err(error),
    }
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
    // SAFETY: SQLite has allocated `szOsFile` bytes: room for both, ours first.
    unsafe {
        file.cast::<LogFile>().write(LogFile {
            base: ffi::sqlite3_file { pMethods: ptr::null() },
            gathered: Vec::new(),
            end: -1,
            within_frame: false,
            commits: false,
        });
    }
    let behind = platform(file);
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
    let flushed = flushed(file);
    // SAFETY: as for `log`; it is not used again.
    unsafe { ptr::drop_in_place(file.cast::<LogFile>()) };
    let closed = platform!(file, xClose, ffi::SQLITE_OK);
    flushed.err().unwrap_or(closed)
}

unsafe extern "C" fn read(file: *mut ffi::sqlite3_file, to: *mut c_void, amount: c_int, offset: i64) -> c_int {
    match flushed(file) {
        Ok(()) => platform!(file, xRead, ffi::SQLITE_IOERR_READ, to, amount, offset),
        Err(error) => error,
    }
}

unsafe extern "C" fn write(file: *mut ffi::sqlite3_file, data: *const c_void, amount: c_int, offset: i64) -> c_int {
    let Ok(length) = usize::try_from(amount) else { return ffi::SQLITE_IOERR_WRITE };
    // SAFETY: SQLite gives `amount` bytes at `data`, which is not null, and nobody writes to them meanwhile.
    let bytes = unsafe { slice::from_raw_parts(data.cast::<u8>(), length) };
    // SAFETY: SQLite's own argument.
    unsafe { log(file) }.write(bytes, offset)
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: i64) -> c_int {
    match flushed(file) {
        Ok(()) => platform!(file, xTruncate, ffi::SQLITE_IOERR_TRUNCATE, size),
        Err(error) => error,
    }
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    match flushed(file) {
        Ok(()) => platform!(file, xSync, ffi::SQLITE_IOERR_FSYNC, flags),
        Err(error) => error,
    }
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, size: *mut i64) -> c_int {
    match flushed(file) {
        Ok(()) => platform!(file, xFileSize, ffi::SQLITE_IOERR_FSTAT, size),
        Err(error) => error,
    }
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
    platform!(file, xFileControl, ffi::SQLITE_NOTFOUND, operation, argument)
}

unsafe extern "C" fn sector_size(file: *mut ffi::sqlite3_file) -> c_int {
    platform!(file, xSectorSize, 4096)
}

unsafe extern "C" fn device_characteristics(file: *mut ffi::sqlite3_file) -> c_int {
    platform!(file, xDeviceCharacteristics, 0)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rusqlite::Connection;

    use crate::db::connection;

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
        let db = connection::open_writer(&path, "").unwrap();
        assert_eq!(super::vfs(), Some(super::NAME));
        db.execute_batch("CREATE TABLE t(id INTEGER PRIMARY KEY, x)").unwrap();
        let other = Connection::open(&path).unwrap();
        for round in 1..=40_i64 {
            db.execute_batch("BEGIN IMMEDIATE").unwrap();
            for _ in 0..round {
                db.execute("INSERT INTO t(x) VALUES (randomblob(?1))", [round * 300]).unwrap();
            }
            db.execute_batch("COMMIT").unwrap();
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
        let db = connection::open_writer(&path, "").unwrap();
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
            db.execute_batch("COMMIT").unwrap();
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
        let ours = connection::open_writer(&path, "").unwrap();
        ours.execute_batch("CREATE TABLE t(id INTEGER PRIMARY KEY, x)").unwrap();
        let theirs = Connection::open(&path).unwrap();
        for round in 0..60_i64 {
            for db in [&ours, &theirs, &ours] {
                db.execute("INSERT INTO t(x) VALUES (randomblob(9000))", []).unwrap();
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
}
