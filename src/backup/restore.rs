//! `restore()`: puts the files of a backup into a data directory that nobody owns.
//!
//! Everything is checked first and copied beside its place; only then is one file after the other exchanged, each by
//! one rename. Killed in between, a repeat goes on where it was: a file that already is what the backup says is left
//! alone. Until then the directory may have one file of the backup and one of its own, which the queue takes as
//! either of them restored alone: ids start above the watermarks and ids of both.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions},
    io::{ErrorKind, Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use rusqlite::{Connection, OpenFlags};

use super::{
    Progress,
    manifest::{CHUNK, Entry, Hash, Manifest, digest},
};
use crate::{
    db::{
        connection::naming,
        durable::sync_directory,
        in_process,
        layout::{Layout, beside},
        owner::OwnerLock,
    },
    error::{Code, Error, Result},
    fault,
    job::Control,
};

/// What a file that was replaced adds to its name.
pub const BEFORE: &str = ".before-restore";
/// A file on its way to its place.
const ARRIVING: &str = ".restoring";

/// How to restore.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// Replace files that are there.
    pub overwrite: bool,
    /// Only these files of the backup; all where there are none.
    pub only: BTreeSet<&'static str>,
    /// How long to wait for the owner of the directory, and for others who have the database open.
    pub lock_wait: Duration,
}

/// What was restored.
#[derive(Debug, Clone, PartialEq)]
pub struct Restored {
    /// The manifest of the backup.
    pub created_at_epoch: i64,
    /// What became of each file.
    pub files: Vec<RestoredFile>,
}

/// What became of one file.
#[derive(Debug, Clone, PartialEq)]
pub struct RestoredFile {
    /// Its name in the backup.
    pub name: &'static str,
    /// Where it lies now.
    pub path: String,
    /// Its length.
    pub bytes: u64,
    /// Where the file lies that was there before; none where there was none, or it was the same already.
    pub kept_as: Option<String>,
}

/// Where what is at `path` is kept: `*.before-restore`, or with the first number that is free.
fn unused_name(path: &Path) -> Result<PathBuf> {
    let mut kept = beside(path, BEFORE);
    let mut number = 1;
    while kept.try_exists()? {
        number += 1;
        kept = beside(path, &format!("{BEFORE}-{number}"));
    }
    Ok(kept)
}

/// Puts the backup in `folder` into the data directory of `layout`.
///
/// # Errors
/// `ERR_NOT_FOUND`, `ERR_CORRUPT` (with file and digests) or `ERR_SCHEMA_UNSUPPORTED` for the backup; `ERR_LOCKED`
/// where the directory has an owner, or somebody has one of its databases open (of this process: at once); `ERR_INVALID_ARG` where there are
/// files and `overwrite` is not said. In all of these nothing was changed. `ERR_DISK_FULL`, `ERR_READ_ONLY`,
/// `ERR_IO`: no file is half restored.
pub fn run(
    folder: &Path,
    layout: &Layout,
    options: &RestoreOptions,
    control: &Control<'_, Progress>,
) -> Result<Restored> {
    let manifest = Manifest::read(folder)?;
    let wanted = |entry: &&Entry| options.only.is_empty() || options.only.contains(entry.file.name);
    let entries: Vec<&Entry> = manifest.files.iter().filter(wanted).collect();
    if let Some(missing) = options.only.iter().find(|name| !entries.iter().any(|entry| entry.file.name == **name)) {
        return Err(Error::new(Code::NotFound, format!("the backup in {} has no {missing}", folder.display())));
    }
    let report = |entry: &Entry, done: u64| {
        // Each file is read twice: to check it, and to copy it.
        control.report(Progress { file: entry.file.name, done, total: entry.bytes * 2 });
    };
    for entry in &entries {
        entry.verify(folder, |done| {
            report(entry, done);
            control.check()
        })?;
    }
    // Held to the end: no engine opens the directory meanwhile.
    let _owner = OwnerLock::acquire(layout, options.lock_wait)?;
    let (mut places, mut holds) = (Vec::new(), Vec::new());
    for &entry in &entries {
        let path = (entry.file.path)(layout);
        let there = naming(&path, || Ok(path.try_exists()?))?;
        // While it looks, nobody of this process opens the file; who comes later meets the claim, as others do.
        let (done, hold) = in_process::look_and_hold(&path, |held| match held {
            true => Err(open_here(&path)),
            false => Ok(there && is_restored(&path, entry, control)?),
        });
        holds.push(hold);
        if done? {
            places.push(Place { entry, path, there, done: true });
            continue;
        }
        if there && !options.overwrite {
            let message = format!(
                "{} exists; nothing was changed: pass overwrite: true to replace it (it is kept beside as \
                 *{BEFORE}), or restore into a new directory",
                path.display()
            );
            return Err(Error::invalid(message).with("path", path.display().to_string()));
        }
        places.push(Place { entry, path, there, done: false });
    }
    let arriving = Arriving(places.iter().map(|place| beside(&place.path, ARRIVING)).collect());
    for (place, to) in places.iter().zip(&arriving.0).filter(|(place, _)| !place.done) {
        copy(place.entry, folder, to, |done| {
            report(place.entry, place.entry.bytes + done);
            control.check()
        })?;
    }
    fault::point("restore-copied");
    // All of them before the first is exchanged, and the shared file first: where a hook has it open, nothing is changed.
    let mut claims = places.iter().rev().map(|place| place.claim(options.lock_wait)).collect::<Result<Vec<_>>>()?;
    claims.reverse();
    // From here on it is not cancelled: what is left takes milliseconds.
    let mut files = Vec::new();
    for ((place, from), claim) in places.iter().zip(&arriving.0).zip(claims) {
        let kept = if place.done { None } else { place.exchange(from, claim)? };
        fault::point("restore-exchanged");
        files.push(RestoredFile {
            name: place.entry.file.name,
            path: place.path.display().to_string(),
            bytes: place.entry.bytes,
            kept_as: kept.map(|path| path.display().to_string()),
        });
    }
    Ok(Restored { created_at_epoch: manifest.created_at_epoch, files })
}

/// Where one file goes.
struct Place<'a> {
    entry: &'a Entry,
    path: PathBuf,
    there: bool,
    done: bool,
}

/// Copies on their way; gone with this where they did not arrive.
struct Arriving(Vec<PathBuf>);

impl Drop for Arriving {
    fn drop(&mut self) {
        for path in &self.0 {
            // Missing is what is wanted.
            drop(fs::remove_file(path));
        }
    }
}

/// Whether the file is what the backup says already: a restore that was killed had come so far. Nobody of this
/// process has it open while this runs (see [`in_process`]), so it may be read without SQLite.
fn is_restored(path: &Path, entry: &Entry, control: &Control<'_, Progress>) -> Result<bool> {
    let log = fs::metadata(beside(path, "-wal")).is_ok_and(|log| log.len() > 0);
    if log || naming(path, || Ok(fs::metadata(path)?.len()))? != entry.bytes {
        return Ok(false);
    }
    Ok(digest(path, |_| control.check())?.1 == entry.sha256)
}

fn copy(entry: &Entry, folder: &Path, to: &Path, mut step: impl FnMut(u64) -> Result<()>) -> Result<()> {
    let from = folder.join(entry.file.name);
    if let Some(directory) = to.parent() {
        naming(directory, || Ok(fs::create_dir_all(directory)?))?;
    }
    let mut source = naming(&from, || Ok(File::open(&from)?))?;
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut target = naming(to, || Ok(options.open(to)?))?;
    let mut chunk = vec![0; CHUNK];
    let mut hash = Hash::default();
    loop {
        let read = naming(&from, || Ok(source.read(&mut chunk)?))?;
        if read == 0 {
            break;
        }
        hash.update(&chunk[..read]);
        naming(to, || Ok(target.write_all(&chunk[..read])?))?;
        step(hash.bytes)?;
    }
    naming(to, || Ok(target.sync_all()?))?;
    // It was right a moment ago; a disk that has changed its mind since is not believed.
    let (bytes, sha256) = hash.finish();
    entry.compare(&from, bytes, &sha256)
}

impl Place<'_> {
    /// Keeps others out of the file that is here, until what this answers is dropped.
    fn claim(&self, lock_wait: Duration) -> Result<Option<Connection>> {
        if self.done || !self.there { Ok(None) } else { naming(&self.path, || alone(&self.path, lock_wait)) }
    }

    /// Puts `from` here; what was here is kept beside, under a name that nothing has yet: after a restore that was killed in
    /// between, the one before may be all there is of what the directory had. Answers where.
    fn exchange(&self, from: &Path, old: Option<Connection>) -> Result<Option<PathBuf>> {
        let kept = naming(&self.path, || unused_name(&self.path))?;
        let directory = self.path.parent().unwrap_or(Path::new("."));
        naming(&self.path, || {
            if !self.there {
                // A log without its database would be taken for the new one's.
                remove_log(&self.path)?;
                fs::rename(from, &self.path)?;
                return sync_directory(directory);
            }
            if old.is_none() {
                // It is no database, or too damaged to be opened: its log goes with it.
                for suffix in ["-wal", "-journal"] {
                    match fs::rename(beside(&self.path, suffix), beside(&kept, suffix)) {
                        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error.into()),
                        _ => {}
                    }
                }
            }
            keep_permissions(&self.path, from)?;
            // Windows renames no open file; there a hook may come in between, and finds one or the other.
            #[cfg(windows)]
            drop(old);
            remove_log(&self.path)?;
            // A link, so that the name is never without a file: whoever opens it just then would make an empty one.
            if fs::hard_link(&self.path, &kept).is_err() {
                fs::rename(&self.path, &kept)?;
            }
            fs::rename(from, &self.path)?;
            sync_directory(directory)?;
            #[cfg(not(windows))]
            drop(old);
            Ok(())
        })?;
        Ok(self.there.then_some(kept))
    }
}

/// Opens the database at `path` with nobody else in it, moves its log into it and keeps others out until the
/// connection is dropped; none where it is not a readable database.
///
/// Leaving WAL mode is what SQLite grants to the only connection alone, so this is where a hook that has the file
/// open is noticed. One that opens it a moment later waits for our lock; once the file has another name its first
/// write fails with SQLITE_READONLY_DBMOVED instead of going astray.
fn alone(path: &Path, wait: Duration) -> Result<Option<Connection>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let claimed = Connection::open_with_flags(path, flags).and_then(|db| {
        db.busy_timeout(wait)?;
        let mode: String = db.query_row("PRAGMA journal_mode=DELETE", [], |row| row.get(0))?;
        db.execute_batch("BEGIN EXCLUSIVE")?;
        Ok((db, mode))
    });
    match claimed.map_err(Error::from) {
        Ok((db, mode)) if mode.eq_ignore_ascii_case("delete") => Ok(Some(db)),
        Ok(_) => Err(in_use()),
        Err(error) if error.code == Code::Busy => Err(in_use()),
        Err(error) if error.code == Code::Corrupt => Ok(None),
        Err(error) => Err(error),
    }
}

fn in_use() -> Error {
    Error::new(
        Code::Locked,
        "another process has this database open; nothing was changed: end its sessions (hooks, viewers) and try \
         again",
    )
}

/// Whoever reads the file beside SQLite would drop the locks that this process has on it.
fn open_here(path: &Path) -> Error {
    let path = path.display().to_string();
    let message = format!(
        "{path}: a memory or client of this process has this database open; nothing was changed: dispose it and try \
         again"
    );
    Error::new(Code::Locked, message).with("path", path)
}

fn remove_log(path: &Path) -> Result<()> {
    remove(&beside(path, "-wal"))?;
    remove(&beside(path, "-shm"))
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

/// The shared file keeps the mode that its users have given it.
fn keep_permissions(old: &Path, new: &Path) -> Result<()> {
    Ok(fs::set_permissions(new, fs::metadata(old)?.permissions())?)
}
