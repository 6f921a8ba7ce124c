//! The copy of a database as it was before our first change of its schema.
//!
//! It is made before the first of steps 4 to 10 that changes tables or indexes in a file which has some. Rows in
//! the ledger, the two full-text tables that claude-mem's search side makes, and our own `native_` tables take
//! nothing from anybody: for them alone no copy is made.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::Path,
};

use rusqlite::{Connection, OpenFlags, backup};

use crate::{
    db::{
        connection::naming,
        durable::sync_directory,
        layout::{PRE_NATIVE, beside},
    },
    error::{Code, Error, Result},
    fault,
};

/// Copies the database behind `db`, which lies at `path`, to `<path>.pre-native`, mode 0600, unless there is
/// such a file already: the oldest state is the one worth keeping. The copy is a consistent snapshot, though
/// others go on writing; it has its name only once it is whole and on disk. `free` tells the free bytes of a
/// directory.
///
/// # Errors
/// `ERR_DISK_FULL` with the figures, before anything is written; `ERR_IO`.
pub fn make_once(db: &Connection, path: &Path, free: impl FnOnce(&Path) -> io::Result<u64>) -> Result<()> {
    let copy = beside(path, PRE_NATIVE);
    if copy.try_exists()? {
        return Ok(());
    }
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let bytes: u64 =
        db.query_row("SELECT page_count * page_size FROM pragma_page_count, pragma_page_size", [], |row| {
            row.get::<_, i64>(0).map(i64::cast_unsigned)
        })?;
    // As much again for the log: the steps may write every row anew.
    let needed = bytes * 2;
    let free = free(directory)?;
    if free < needed {
        return Err(Error::new(
            Code::DiskFull,
            format!(
                "bringing this database to the current schema needs {needed} free bytes (a copy of it and as much \
                 again to work in), and {} has {free}; nothing was changed: free some space and try again",
                directory.display()
            ),
        )
        .with("neededBytes", needed)
        .with("freeBytes", free));
    }
    // Only the owner of the data directory comes here, so this name is nobody else's; one that was killed may
    // have left it.
    let partial = beside(path, ".pre-native.partial");
    let remove = || {
        for leftover in [&partial, &beside(&partial, "-journal")] {
            // Missing is what is wanted; anything else shows below.
            drop(fs::remove_file(leftover));
        }
    };
    remove();
    let made = naming(&partial, || write(db, &partial)).and_then(|()| Ok(fs::rename(&partial, &copy)?));
    if made.is_err() {
        remove();
    }
    made?;
    sync_directory(directory)?;
    fault::point("schema-copy");
    Ok(())
}

fn write(db: &Connection, to: &Path) -> Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    // SQLite then opens an empty file, and keeps its mode.
    drop(options.open(to)?);
    let mut copy =
        Connection::open_with_flags(to, OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    // All pages in one step hold one read snapshot, which keeps nobody from writing; in several, each foreign
    // commit in between would start the copy over.
    let done = backup::Backup::new(db, &mut copy)?.step(-1)?;
    if done != backup::StepResult::Done {
        return Err(Error::new(Code::Busy, "the copy could not get its read lock; try again"));
    }
    copy.close().map_err(|(_, error)| error)?;
    Ok(File::open(to)?.sync_all()?)
}
