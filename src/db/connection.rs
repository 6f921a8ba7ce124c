//! Opening connections with the pragmas that every part relies on.

use std::{
    ffi::{CStr, OsStr},
    mem::ManuallyDrop,
    ops::{Deref, DerefMut},
    path::Path,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags, config::DbConfig};

use super::{layout::beside, wal_file};
use crate::error::{Code, Error, Result};

/// The log file is cut back to this size when it is reset, bytes.
const JOURNAL_SIZE_LIMIT: i64 = 16 << 20;
/// Page cache of a write connection, KiB.
const WRITER_CACHE_KIB: i64 = 8 << 10;
/// Page cache of a read connection, KiB.
const READER_CACHE_KIB: i64 = 4 << 10;

/// Held while a connection is closed. Of two that were closed at the same moment each would find the other one still
/// there, and neither would move the log into the file and remove it.
static CLOSING: Mutex<()> = Mutex::new(());

/// A connection to one of the files, or to a database in memory that stands in for one. All of this process are closed
/// one after the other, and none of them as an interrupted one.
#[derive(Debug)]
pub struct Database(ManuallyDrop<Connection>);

impl From<Connection> for Database {
    fn from(db: Connection) -> Self {
        Self(ManuallyDrop::new(db))
    }
}

impl Deref for Database {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.0
    }
}

impl DerefMut for Database {
    fn deref_mut(&mut self) -> &mut Connection {
        &mut self.0
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let _turn = CLOSING.lock().unwrap_or_else(PoisonError::into_inner);
        // An interrupt that met no statement stays until the next one begins. The checkpoint of closing is none, but
        // heeds it: the log would stay. Whoever interrupts later than this must be kept from it by the caller.
        let _ = self.0.execute_batch("SELECT 1");
        // SAFETY: this is the only place that takes the connection out, it runs once, and nothing looks at it later.
        unsafe { ManuallyDrop::drop(&mut self.0) }
    }
}

/// A read-write connection in WAL mode, foreign keys on, `synchronous=NORMAL`; the file is created where it
/// is missing. `before_wal` runs before the journal mode is set: what must stand before the first table.
///
/// # Errors
/// `ERR_IO`, `ERR_CORRUPT`, `ERR_BUSY`: the message names the file.
pub fn open_writer(path: &Path, before_wal: &str) -> Result<Database> {
    open_writer_waiting(path, before_wal, Duration::from_secs(5))
}

/// As [`open_writer`], waiting `wait` for each lock; that stays the connection's busy timeout.
///
/// # Errors
/// As [`open_writer`].
pub fn open_writer_waiting(path: &Path, before_wal: &str, wait: Duration) -> Result<Database> {
    open(path, before_wal, wait, None)
}

/// As [`open_writer`], for a file without virtual tables: the frames of a COMMIT are written together. A full-text table
/// is another matter: it writes rows, and reads them, in the middle of the COMMIT itself.
///
/// # Errors
/// As [`open_writer`].
pub fn open_gathering_writer(path: &Path, before_wal: &str) -> Result<Database> {
    open(path, before_wal, Duration::from_secs(5), wal_file::vfs())
}

fn open(path: &Path, before_wal: &str, wait: Duration, vfs: Option<&CStr>) -> Result<Database> {
    naming(path, || {
        let db = match vfs {
            Some(vfs) => Connection::open_with_flags_and_vfs(path, OpenFlags::default(), vfs)?,
            None => Connection::open(path)?,
        };
        tune(&db)?;
        db.busy_timeout(wait)?;
        db.execute_batch(before_wal)?;
        db.execute_batch(&format!(
            "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON; PRAGMA temp_store=MEMORY;
             PRAGMA cache_size=-{WRITER_CACHE_KIB}; PRAGMA journal_size_limit={JOURNAL_SIZE_LIMIT};"
        ))?;
        Ok(db.into())
    })
}

/// A connection that only reads, to a file that is in WAL mode already. It could write, were it not for
/// `query_only`: so whichever connection is closed last can move the log into the file and remove it.
///
/// # Errors
/// As [`open_writer`].
pub fn open_reader(path: &Path) -> Result<Database> {
    naming(path, || {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let db = Connection::open_with_flags(path, flags)?;
        tune(&db)?;
        // A reader meets a lock only while the log is recovered after a crash.
        db.busy_timeout(Duration::from_secs(5))?;
        db.execute_batch(&format!(
            "PRAGMA query_only=ON; PRAGMA temp_store=MEMORY; PRAGMA cache_size=-{READER_CACHE_KIB};"
        ))?;
        Ok(db.into())
    })
}

/// A connection that changes nothing: for a file, or a directory, that may only be read. A log is read too; where
/// the directory is closed to us and nobody has left one, the file is taken for one that does not change.
///
/// # Errors
/// As [`open_writer`].
pub fn open_read_only(path: &Path) -> Result<Database> {
    naming(path, || {
        let open = |name: &Path, more: OpenFlags| -> Result<Database> {
            let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | more;
            let db = Connection::open_with_flags(name, flags)?;
            tune(&db)?;
            db.busy_timeout(Duration::from_secs(5))?;
            db.execute_batch(&format!("PRAGMA temp_store=MEMORY; PRAGMA cache_size=-{READER_CACHE_KIB};"))?;
            // The first read is what needs the log and its index.
            db.query_row("SELECT count(*) FROM sqlite_schema", [], |_| Ok(()))?;
            Ok(db.into())
        };
        match open(path, OpenFlags::empty()) {
            Err(error)
                if error.code == Code::Io && std::fs::metadata(beside(path, "-wal")).is_err() && path.exists() =>
            {
                let immutable = format!("file:{}?immutable=1", uri_path(path.as_os_str()));
                open(Path::new(&immutable), OpenFlags::SQLITE_OPEN_URI)
            }
            opened => opened,
        }
    })
}

/// A file name for a `file:` URI. Every byte that could mean something there is escaped, slashes, colons and
/// backslashes too, so that SQLite gets back exactly this name: no host, no drive letter to guess at.
#[must_use]
pub fn uri_path(name: &OsStr) -> String {
    use std::fmt::Write;
    let mut text = String::with_capacity(name.len() * 2);
    for &byte in name.as_encoded_bytes() {
        if byte.is_ascii_alphanumeric() || b"._-".contains(&byte) {
            text.push(char::from(byte));
        } else {
            // Writing to a string never fails.
            let _ = write!(text, "%{byte:02X}");
        }
    }
    text
}

/// Whether there is a file with anything in it. Only its size is asked for: opening and closing it beside SQLite
/// would drop its POSIX locks.
///
/// # Errors
/// `ERR_IO`: the message names the file.
pub fn has_content(path: &Path) -> Result<bool> {
    match std::fs::metadata(path) {
        Ok(file) => Ok(file.len() > 0),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        Err(error) => naming(path, || Err(error.into())),
    }
}

/// What every connection has in common.
fn tune(db: &Connection) -> Result<()> {
    db.set_prepared_statement_cache_capacity(128);
    // SQLite is built with STAT4 here, and would prepare a cached statement again whenever a bound value changes, in
    // case statistics (which these files do not have) wanted another plan. Measured with 20,000 enqueues of 300 bytes
    // in flight: 28 to 40 thousand a second without this, 50 to 57 thousand with it.
    db.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    Ok(())
}

/// Creates an empty file for this user alone where there is none; SQLite gives its log the same mode.
///
/// # Errors
/// `ERR_IO`: the message names the file.
pub fn create_private(path: &Path) -> Result<()> {
    naming(path, || {
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        match options.open(path) {
            // A file that exists is never opened here: closing it would drop the locks of others in this process.
            Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => Err(error.into()),
            _ => Ok(()),
        }
    })
}

/// The error with the path of the file that `db` is open on, where it is about that file: what the disk, its
/// permissions or its content did.
#[must_use]
pub fn about_file(db: &Connection, error: Error) -> Error {
    let of_file = matches!(error.code, Code::Corrupt | Code::DiskFull | Code::Io | Code::ReadOnly);
    match db.path().filter(|path| of_file && !path.is_empty() && !error.details.iter().any(|(name, _)| *name == "path"))
    {
        Some(path) => Error { message: format!("{path}: {}", error.message), ..error }.with("path", path.to_owned()),
        None => error,
    }
}

/// Which file a path names: it may be deleted or replaced while a connection has the old one open, and then every
/// commit would go to a file that nobody finds again.
#[derive(Debug, PartialEq, Eq)]
pub struct Identity(#[cfg(unix)] (u64, u64));

impl Identity {
    /// That of the file which `db` is open on now; none for a database in memory, and on Windows, which lets nobody
    /// delete an open file.
    #[must_use]
    pub fn of(db: &Connection) -> Option<Self> {
        #[cfg(unix)]
        {
            use std::os::unix::fs::MetadataExt;
            let file = std::fs::metadata(db.path().filter(|path| !path.is_empty())?).ok()?;
            Some(Self((file.dev(), file.ino())))
        }
        #[cfg(not(unix))]
        {
            let _ = db;
            None
        }
    }

    /// # Errors
    /// `ERR_IO` where the path of `db` no longer names the file that it named when this was made.
    pub fn check(&self, db: &Connection) -> Result<()> {
        if Self::of(db).as_ref() == Some(self) {
            return Ok(());
        }
        let message = "the file was deleted or replaced while this memory had it open; nothing was stored: dispose the \
                       memory, restore the file from a backup if need be, and open it again";
        Err(about_file(db, Error::new(Code::Io, message)))
    }
}

/// Puts the file's path into the message of whatever fails.
///
/// # Errors
/// Those of `open`, with the path in front and as the detail `path`.
pub fn naming<T>(path: &Path, open: impl FnOnce() -> Result<T>) -> Result<T> {
    open().map_err(|error| {
        let message = format!("{}: {}", path.display(), error.message);
        Error { message, ..error }.with("path", path.display().to_string())
    })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Barrier};

    use super::*;

    #[test]
    fn the_log_goes_with_the_last_of_connections_that_close_at_once() {
        const AT_ONCE: usize = 4;
        let folder = tempfile::tempdir().unwrap();
        for round in 0..100 {
            let path = folder.path().join(format!("{round}.db"));
            let writer = open_writer(&path, "").unwrap();
            writer.execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES(1)").unwrap();
            let barrier = Arc::new(Barrier::new(AT_ONCE));
            let mut open = vec![writer];
            open.extend((1..AT_ONCE).map(|_| open_reader(&path).unwrap()));
            let threads = open.into_iter().map(|db| {
                let barrier = Arc::clone(&barrier);
                let rows: i64 = db.query_row("SELECT count(*) FROM t", [], |row| row.get(0)).unwrap();
                assert_eq!(rows, 1);
                std::thread::spawn(move || {
                    barrier.wait();
                    drop(db);
                })
            });
            for thread in threads.collect::<Vec<_>>() {
                thread.join().unwrap();
            }
            assert!(!beside(&path, "-wal").exists(), "round {round}");
        }
    }

    #[test]
    fn the_log_goes_with_a_connection_that_was_interrupted_between_two_statements() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("interrupted.db");
        let writer = open_writer(&path, "").unwrap();
        writer.execute_batch("CREATE TABLE t(x); INSERT INTO t VALUES(1)").unwrap();
        writer.get_interrupt_handle().interrupt();
        drop(writer);
        assert!(!beside(&path, "-wal").exists());
    }
}
