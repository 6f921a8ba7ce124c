//! The file `native/index.db` itself: opening it, and throwing it away on any doubt. Nothing in it is the only copy of
//! anything.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};

use super::schema;
use crate::{
    db::{
        Database,
        connection::{self, naming},
        layout::beside,
        owner,
    },
    error::{Code, Error, Result},
};

/// How long a writer waits while somebody who reads recovers the log.
pub const WAIT: Duration = Duration::from_secs(5);

/// The write connection, and whether the file had to be made (anew).
///
/// A file that is no index of this format, or that SQLite cannot read, is thrown away.
///
/// # Errors
/// `ERR_IO`, `ERR_DISK_FULL`, `ERR_READ_ONLY`.
pub fn open(path: &Path, secure_delete: bool) -> Result<(Database, bool)> {
    if let Some(native) = path.parent() {
        // The owner has made the folder. A data directory that somebody has deleted since is not made again.
        if native.parent().is_some_and(Path::exists) {
            naming(native, || owner::create_private_directory(native))?;
        }
    }
    match open_known(path, secure_delete) {
        Ok(Some(db)) => return Ok((db, false)),
        Ok(None) => {}
        Err(error) if is_doubt(&error) => {}
        Err(error) => return Err(error),
    }
    throw_away(path)?;
    let db = open_file(path, secure_delete)?;
    naming(path, || schema::create(&db))?;
    Ok((db, true))
}

/// The file that is there, where it is one of ours.
fn open_known(path: &Path, secure_delete: bool) -> Result<Option<Database>> {
    match fs::metadata(path) {
        // Neither an empty file nor a folder in its place is an index.
        Ok(file) if file.is_file() && file.len() > 0 => {}
        Ok(_) => return Ok(None),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return naming(path, || Err(error.into())),
    }
    let db = open_file(path, secure_delete)?;
    let known = naming(path, || schema::is_current(&db))?;
    Ok(known.then_some(db))
}

fn open_file(path: &Path, secure_delete: bool) -> Result<Database> {
    connection::create_private(path)?;
    let db = connection::open_writer_waiting(path, "", WAIT)?;
    naming(path, || {
        // Nobody else's keys are checked here, and a page that is not what it should be is found when it is read.
        db.execute_batch("PRAGMA foreign_keys=OFF; PRAGMA cell_size_check=ON")?;
        if secure_delete {
            db.execute_batch("PRAGMA secure_delete=ON")?;
        }
        Ok(())
    })?;
    Ok(db)
}

/// A connection to search it.
///
/// # Errors
/// `ERR_IO`, `ERR_CORRUPT`; where it is missing `ERR_IO` as well.
pub fn open_reader(path: &Path, read_only: bool) -> Result<Database> {
    let db = if read_only { connection::open_read_only(path)? } else { connection::open_reader(path)? };
    naming(path, || {
        db.execute_batch("PRAGMA cell_size_check=ON")?;
        Ok(())
    })?;
    Ok(db)
}

/// An empty index in memory, for whoever reads before there is a file.
///
/// # Errors
/// What SQLite answers.
pub fn stand_in() -> Result<Database> {
    let db = Connection::open_in_memory_with_flags(
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    schema::create(&db)?;
    Ok(db.into())
}

/// Whether an error says that the file is not what it should be, so that a new one helps.
#[must_use]
pub fn is_doubt(error: &Error) -> bool {
    match error.code {
        Code::Corrupt => true,
        // A table that is missing, or one with other columns: somebody's hand was in it.
        Code::Internal => {
            ["no such table", "no such column", "malformed"].iter().any(|sign| error.message.contains(sign))
        }
        _ => false,
    }
}

/// Removes the file with its log, and the snapshots made from it.
///
/// # Errors
/// `ERR_IO`.
pub fn throw_away(path: &Path) -> Result<()> {
    // The log first: beside a new file an old one would be played back into it.
    for file in [beside(path, "-wal"), beside(path, "-shm"), beside(path, "-journal"), path.to_owned()] {
        remove(&file)?;
    }
    if let Some(native) = path.parent() {
        for snapshot in snapshots(native) {
            remove(&snapshot)?;
        }
    }
    Ok(())
}

fn remove(file: &Path) -> Result<()> {
    let removed = match fs::remove_file(file) {
        // A folder in its place is as little an index as anything else.
        Err(_) if file.is_dir() => fs::remove_dir_all(file),
        removed => removed,
    };
    match removed {
        Err(error) if error.kind() != ErrorKind::NotFound => naming(file, || Err(error.into())),
        _ => Ok(()),
    }
}

/// `vectors-<generation>.usearch` in `native`.
fn snapshots(native: &Path) -> Vec<PathBuf> {
    let Ok(files) = fs::read_dir(native) else { return Vec::new() };
    files
        .filter_map(|file| {
            let name = file.ok()?.file_name();
            let text = name.to_str()?;
            (text.starts_with("vectors-") && text.contains(".usearch")).then(|| native.join(&name))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(db: &Connection) -> i64 {
        db.query_row("SELECT count(*) FROM rows", [], |row| row.get(0)).unwrap()
    }

    fn filled(path: &Path) {
        let (db, made) = open(path, false).unwrap();
        assert!(made);
        db.execute("INSERT INTO rows(key, kind, id, hash) VALUES (5, 1, 1, x'00')", []).unwrap();
        let padding = "INSERT INTO meta SELECT value, hex(zeroblob(3000)) FROM generate_series(1, 50)";
        // Without that table there is another way to fill pages.
        if db.execute(padding, []).is_err() {
            for number in 0..50 {
                db.execute("INSERT INTO meta VALUES (?1, hex(zeroblob(3000)))", [number]).unwrap();
            }
        }
    }

    #[test]
    fn what_is_there_is_used_again() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("native").join("index.db");
        filled(&path);
        let (db, made) = open(&path, true).unwrap();
        assert_eq!((made, rows(&db)), (false, 1));
        assert_eq!(rows(&open_reader(&path, false).unwrap()), 1);
        assert_eq!(rows(&open_reader(&path, true).unwrap()), 1);
        drop(db);
        assert!(!beside(&path, "-wal").exists());
    }

    #[test]
    fn on_any_doubt_it_is_made_anew() {
        type Damage = fn(&Path);
        let damages: [(&str, Damage); 8] = [
            ("garbage", |path| fs::write(path, "no database at all\n".repeat(500)).unwrap()),
            ("empty", |path| fs::write(path, "").unwrap()),
            ("truncated", |path| {
                let file = fs::OpenOptions::new().write(true).open(path).unwrap();
                file.set_len(file.metadata().unwrap().len() / 2 / 4096 * 4096).unwrap();
            }),
            ("cut within a page", |path| {
                let file = fs::OpenOptions::new().write(true).open(path).unwrap();
                file.set_len(5_000).unwrap();
            }),
            ("newer", |path| {
                Connection::open(path).unwrap().pragma_update(None, "user_version", 1_000).unwrap();
            }),
            ("somebody else's", |path| {
                Connection::open(path).unwrap().pragma_update(None, "application_id", 7).unwrap();
            }),
            ("without its tables", |path| {
                Connection::open(path).unwrap().execute_batch("DROP TABLE documents").unwrap()
            }),
            ("a folder", |path| {
                fs::remove_file(path).unwrap();
                fs::create_dir(path).unwrap();
                fs::write(path.join("file"), "").unwrap();
            }),
        ];
        for (name, damage) in damages {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("index.db");
            filled(&path);
            let snapshot = folder.path().join("vectors-3.usearch");
            fs::write(&snapshot, "old").unwrap();
            damage(&path);
            let (db, made) = open(&path, false).unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!((made, rows(&db)), (true, 0), "{name}");
            assert!(!snapshot.exists(), "{name}");
        }
    }

    #[test]
    fn a_data_directory_that_is_gone_stays_gone() {
        let folder = tempfile::tempdir().unwrap();
        let gone = folder.path().join("gone");
        let error = open(&gone.join("native").join("index.db"), false).unwrap_err();
        assert_eq!(error.code, Code::Io);
        assert!(!gone.exists());
    }

    #[test]
    fn a_stand_in_is_empty() {
        assert_eq!(rows(&stand_in().unwrap()), 0);
    }
}
