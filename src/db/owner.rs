//! The one owner of a data directory.
//!
//! What counts is an operating-system lock on `native/owner.lock`: it ends with its holder, however that died.
//! Who holds it stands in `native/owner.json` beside it, for messages only, as Windows lets nobody read a
//! locked file.

use std::{
    collections::BTreeSet,
    fs::{self, File, OpenOptions, TryLockError},
    io::Write,
    path::{Path, PathBuf},
    process,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::{
    clock,
    db::{
        connection::naming,
        layout::{Layout, beside},
    },
    error::{Code, Error, Result},
};

/// Between two attempts at a lock that somebody else holds.
const RETRY: Duration = Duration::from_millis(20);

/// Directories owned by this process. The OS locks exclude a second handle of the same process on local disks
/// of every platform; network file systems may turn them into locks of the whole process, which would not.
static OWNED: Mutex<BTreeSet<PathBuf>> = Mutex::new(BTreeSet::new());

/// The ownership of a data directory; ends when it is dropped.
#[derive(Debug)]
pub struct OwnerLock {
    // Fields are dropped in this order: the lock before the entry, so that no thread of this process is let in
    // while the lock is still held.
    _lock: File,
    _entry: Entry,
    note: PathBuf,
}

impl OwnerLock {
    /// Takes the data directory of `layout`, waiting `wait` for an owner that is about to go. Creates the
    /// directory, `native/` (mode 0700) and the lock file (0600) where they are missing. Blocks: not for the JS
    /// thread.
    ///
    /// # Errors
    /// `ERR_LOCKED` naming the owner's process and start; `ERR_IO` or `ERR_DISK_FULL` where a file cannot be
    /// made or the file system has no locks.
    pub fn acquire(layout: &Layout, wait: Duration) -> Result<Self> {
        let deadline = Instant::now() + wait;
        let native = layout.native();
        naming(&native, || create_private_directory(&native))?;
        let directory = naming(&native, || Ok(native.canonicalize()?))?;
        loop {
            match Self::try_acquire(layout, &directory)? {
                Some(owner) => return Ok(owner),
                None if Instant::now() >= deadline => return Err(locked(layout)),
                None => std::thread::sleep(RETRY.min(deadline.saturating_duration_since(Instant::now()))),
            }
        }
    }

    fn try_acquire(layout: &Layout, directory: &Path) -> Result<Option<Self>> {
        let Some(entry) = Entry::claim(directory) else { return Ok(None) };
        let path = layout.owner_lock();
        let lock = naming(&path, || Ok(private_file().read(true).truncate(false).open(&path)?))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => {
                let message = format!(
                    "{}: the file system gives no lock ({error}); put the data directory on a local disk",
                    path.display()
                );
                return Err(Error::new(Code::Io, message).with("path", path.display().to_string()));
            }
        }
        let owner = Self { _lock: lock, _entry: entry, note: layout.owner_note() };
        owner.write_note()?;
        Ok(Some(owner))
    }

    /// Replaces the note as a whole, so that nobody reads half of one.
    fn write_note(&self) -> Result<()> {
        let note = json!({
            "pid": process::id(),
            "startedAtEpoch": clock::now_epoch(),
            "version": env!("CARGO_PKG_VERSION"),
        });
        let partial = beside(&self.note, ".partial");
        naming(&self.note, || {
            private_file().truncate(true).open(&partial)?.write_all(note.to_string().as_bytes())?;
            Ok(fs::rename(&partial, &self.note)?)
        })
    }
}

impl Drop for OwnerLock {
    fn drop(&mut self) {
        // Under the lock still, so this is our note. One that stays behind misleads nobody: the lock decides.
        drop(fs::remove_file(&self.note));
    }
}

/// A directory's place in [`OWNED`].
#[derive(Debug)]
struct Entry(PathBuf);

impl Entry {
    fn claim(directory: &Path) -> Option<Self> {
        let mut owned = OWNED.lock().unwrap_or_else(PoisonError::into_inner);
        owned.insert(directory.to_owned()).then(|| Self(directory.to_owned()))
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        OWNED.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.0);
    }
}

/// `ERR_LOCKED` with what the note tells.
fn locked(layout: &Layout) -> Error {
    let path = layout.data_dir.display().to_string();
    let note: Value =
        fs::read(layout.owner_note()).ok().and_then(|note| serde_json::from_slice(&note).ok()).unwrap_or_default();
    let pid = note["pid"].as_u64();
    let started = note["startedAtEpoch"].as_i64();
    let who = match pid {
        Some(pid) if pid == u64::from(process::id()) => format!("another handle of this process ({pid})"),
        Some(pid) => format!("process {pid}"),
        // It has the lock and has not written its note yet.
        None => "another process".to_owned(),
    };
    let since = started.map_or_else(String::new, |epoch| format!(" since {}", clock::iso8601(epoch)));
    let mut error = Error::new(
        Code::Locked,
        format!(
            "{path} is owned by {who}{since}; stop or dispose that one first, or choose another data directory \
             (dataDir or CLAUDE_MEM_DATA_DIR)"
        ),
    )
    .with("path", path);
    if let Some(pid) = pid {
        error = error.with("pid", pid);
    }
    if let Some(started) = started {
        error = error.with("startedAtEpoch", started);
    }
    error
}

/// Creates `path` and what is missing above it; only `path` itself is closed to others.
///
/// # Errors
/// What the operating system answers.
pub fn create_private_directory(path: &Path) -> Result<()> {
    fs::create_dir_all(path)?;
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        let private = fs::Permissions::from_mode(0o700);
        if fs::metadata(path)?.permissions().mode() & 0o777 != private.mode() {
            fs::set_permissions(path, private)?;
        }
    }
    Ok(())
}

/// Options that create a file for this user alone.
fn private_file() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.write(true).create(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

#[cfg(test)]
mod tests;
