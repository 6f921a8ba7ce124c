//! Looking at a database without touching it. An ordinary open would not do: read-only it leaves `-wal` and
//! `-shm` behind, read-write it moves the log into the file.
//!
//! - No log beside the file: its schema is read with `immutable=1`, which takes no lock and opens no other file.
//! - A log that leaves the schema alone, as nearly all do ([`wal::keeps_schema`]): the same.
//! - A log that changes the schema, or a rollback journal: file and log are copied to a private directory, and
//!   SQLite looks at the copy. That costs a copy of the file, but only until somebody's next checkpoint.
//!
//! Others write, checkpoint and delete the log meanwhile, so the outside is compared before and after.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Read},
    path::Path,
    time::{Duration, Instant},
};

use rusqlite::{Connection, OpenFlags};

use super::{
    shape::Shape,
    wal::{self, Header},
};
use crate::{
    db::{
        connection::{naming, uri_path},
        layout::beside,
    },
    error::{Code, Error, Result},
};

/// How long a file may keep changing under our eyes.
const PATIENCE: Duration = Duration::from_secs(2);
/// Looks taken at least, however long each takes.
const LOOKS: usize = 5;
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(10);

/// The shape of the database at `path`; none where the file is missing or empty. Leaves no trace.
///
/// # Errors
/// `ERR_IO`, `ERR_CORRUPT`; `ERR_BUSY` where it never held still.
pub fn look(path: &Path) -> Result<Option<Shape>> {
    let deadline = Instant::now() + PATIENCE;
    let mut failures = 0;
    for taken in 1.. {
        let before = Outside::of(path)?;
        let seen = look_once(path, &before);
        if Outside::of(path)? == before {
            match seen {
                // A writer without a log leaves no mark of having been in the middle of something.
                Err(_) if failures < LOOKS => failures += 1,
                settled => return settled,
            }
        }
        if taken >= LOOKS && Instant::now() > deadline {
            break;
        }
        std::thread::sleep(PAUSE);
    }
    Err(Error::new(Code::Busy, "other processes kept rewriting the file while it was inspected; try again"))
}

/// As [`look`], for a file that this process has open: looking at it with descriptors of our own would end its
/// locks, so SQLite looks. That leaves no trace that is not there already.
///
/// # Errors
/// `ERR_IO`, `ERR_CORRUPT`, `ERR_BUSY`.
pub fn look_at_held(path: &Path) -> Result<Option<Shape>> {
    if is_empty(path)? {
        return Ok(None);
    }
    let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    db.busy_timeout(PATIENCE)?;
    Shape::read(&db).map(Some)
}

/// Whether there is no file, or nothing in it.
fn is_empty(path: &Path) -> Result<bool> {
    match fs::metadata(path) {
        Ok(file) if file.is_dir() => Err(Error::new(Code::Io, "this is a directory, not a database; move it away")),
        Ok(file) => Ok(file.len() == 0),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// What of a database can be told without opening it.
#[derive(Debug, PartialEq, Eq)]
struct Outside {
    empty: bool,
    /// Of the file itself.
    cookie: Option<[u8; 4]>,
    /// Frames may be added to a log while we look; one that has started over is another.
    log: Option<Header>,
    log_keeps_schema: bool,
    /// A rollback journal that somebody is writing, or has died on.
    journal: bool,
}

impl Outside {
    fn of(path: &Path) -> Result<Self> {
        let empty = is_empty(path)?;
        let log_path = beside(path, "-wal");
        let cookie = wal::cookie_of_database(path)?;
        let log = wal::header(&log_path)?;
        let log_keeps_schema = match (log, cookie) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some(_), Some(cookie)) => match wal::keeps_schema(&log_path, cookie) {
                // Gone since: the comparison afterwards will show it.
                Err(error) if error.kind() == ErrorKind::NotFound => true,
                answer => answer?,
            },
        };
        Ok(Self { empty, cookie, log, log_keeps_schema, journal: has_journal(&beside(path, "-journal"))? })
    }
}

/// Whether there is a rollback journal that counts; a zeroed or empty one is finished.
fn has_journal(path: &Path) -> io::Result<bool> {
    let mut first = [0];
    match File::open(path) {
        Ok(mut journal) => Ok(journal.read(&mut first)? == 1 && first[0] != 0),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

fn look_once(path: &Path, outside: &Outside) -> Result<Option<Shape>> {
    if outside.empty {
        return Ok(None);
    }
    if outside.log_keeps_schema && !outside.journal {
        let seen = look_at_file(path);
        // A checkpoint that was cut short leaves a file that only makes sense together with its log.
        if seen.is_ok() || outside.log.is_none() {
            return seen.map(Some);
        }
    }
    look_at_copy(path).map(Some)
}

/// Reads the schema from the file alone.
fn look_at_file(path: &Path) -> Result<Shape> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX | OpenFlags::SQLITE_OPEN_URI;
    Shape::read(&Connection::open_with_flags(format!("file:{}?immutable=1", uri_path(path.as_os_str())), flags)?)
}

/// Reads the schema from a copy of the file with its log or journal.
///
/// The file is copied first and the log after it. Whatever a checkpoint writes into the file meanwhile is in
/// the log as well, as long as that has not started over, which the caller sees by its header.
fn look_at_copy(path: &Path) -> Result<Shape> {
    let directory = tempfile::Builder::new().prefix("claude-mem-native-").tempdir()?;
    let copy = directory.path().join("copy.db");
    naming(directory.path(), || {
        for suffix in ["", "-wal", "-journal"] {
            match File::open(beside(path, suffix)) {
                // Not `fs::copy`: a read-only file would give a read-only copy.
                Ok(mut from) => drop(io::copy(&mut from, &mut File::create_new(beside(&copy, suffix))?)?),
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    })?;
    let db = Connection::open_with_flags(&copy, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    let shape = Shape::read(&db);
    // Closed before its directory goes: Windows removes no open file.
    drop(db);
    shape
}
