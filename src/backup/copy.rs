//! `memory.backup()`: each file is copied page by page from one read snapshot.
//!
//! SQLite's online backup starts over whenever another connection commits between two steps: beside a busy writer
//! one restarted 39 times and never ended. It does so when its source's *next* read transaction sees the change; so
//! the source, a connection of its own, stays inside one read transaction from before the first step to after the
//! last. Writers go on meanwhile. What they cannot do is start the log over, so it grows by what is written until the
//! copy is whole.
//!
//! `VACUUM INTO` reads in one transaction too. It was not taken as it says nothing of its progress, and makes every
//! index anew: the copy is of equal content, not of equal bytes.

use std::{
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
};

use rusqlite::{Connection, OpenFlags, backup};

use super::{
    Progress,
    files::{DataFile, FILES},
    manifest::{Entry, MANIFEST, Manifest, digest, partial},
};
use crate::{
    clock,
    db::{
        connection::{create_private, naming, open_reader},
        durable::sync_directory,
        layout::{Layout, beside},
    },
    error::{Code, Error, Result},
    fault,
    job::Control,
    parts::Parts,
};

/// Pages copied between two looks at whether the job was cancelled.
const STEP: i32 = 256;

/// Copies the files of the open parts into `folder`, which is new or empty, and answers its manifest.
///
/// # Errors
/// `ERR_INVALID_ARG` where `folder` has something in it; `ERR_DISK_FULL`, `ERR_READ_ONLY`, `ERR_IO`, `ERR_CORRUPT`
/// naming the file; `ERR_DISPOSED` where the job was cancelled. In all of these nothing is left behind.
pub fn run(layout: &Layout, parts: Parts, folder: &Path, control: &Control<'_, Progress>) -> Result<Manifest> {
    let mut target = Target::prepare(folder)?;
    let created_at_epoch = clock::now_epoch();
    let mut files = Vec::new();
    // What is not open may be anything, and is left alone.
    for file in FILES.iter().filter(|file| parts.has(file.part)) {
        control.check()?;
        // A client may come before the file does.
        if (file.path)(layout).try_exists()? {
            files.push(copy(file, layout, &mut target, control)?);
            fault::point("backup-file");
        }
    }
    if files.is_empty() {
        let path = layout.data_dir.display();
        return Err(Error::new(
            Code::Io,
            format!("{path}: there is no file to back up: nothing was made here yet, or it was deleted"),
        )
        .with("path", path.to_string()));
    }
    let manifest = Manifest { created_at_epoch, engine: env!("CARGO_PKG_VERSION").to_owned(), files };
    target.finish(&manifest)?;
    Ok(manifest)
}

fn copy(
    file: &'static DataFile,
    layout: &Layout,
    target: &mut Target,
    control: &Control<'_, Progress>,
) -> Result<Entry> {
    let from = (file.path)(layout);
    let to = target.file(file.name);
    let report = |done: u64, total: u64| control.report(Progress { file: file.name, done, total });
    create_private(&to)?;
    naming(&from, || {
        let copy = snapshot(&from, &to, || control.check(), report)?;
        let rows = naming(&to, || {
            let rows = file.counted.iter().map(|table| {
                // An older or foreign file may lack one of them.
                let known: bool = copy.query_row(
                    "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = ?",
                    [table],
                    |row| row.get(0),
                )?;
                let count = if known {
                    copy.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0))?
                } else {
                    0
                };
                Ok(((*table).to_owned(), count))
            });
            let rows = rows.collect::<Result<Vec<(String, i64)>>>()?;
            copy.close().map_err(|(_, error)| error)?;
            OpenOptions::new().write(true).open(&to)?.sync_all()?;
            Ok(rows)
        })?;
        let (bytes, sha256) = digest(&to, |_| control.check())?;
        Ok(Entry { file, bytes, sha256, rows })
    })
}

/// Copies the database at `from` into the empty file `to`, from one read snapshot; answers the copy, open and not yet
/// synced. `check` may end it between two steps, `report` hears the bytes that are done and those in all.
///
/// # Errors
/// What SQLite answers of either file; what `check` answers.
pub fn snapshot(
    from: &Path,
    to: &Path,
    check: impl Fn() -> Result<()>,
    report: impl Fn(u64, u64),
) -> Result<Connection> {
    let source = open_reader(from)?;
    // SQLite keeps the transaction open through all steps, and what others commit meanwhile stays unseen.
    source.execute_batch("BEGIN")?;
    let page: u64 = source.query_row("PRAGMA page_size", [], |row| row.get::<_, i64>(0))?.unsigned_abs();
    // A read of the schema takes the snapshot; the pragma alone would not.
    source.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get::<_, i64>(0))?;
    fault::point("backup-snapshot");
    naming(to, || {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let mut copy = Connection::open_with_flags(to, flags)?;
        // A copy that fails is deleted as a whole, and one that succeeds is synced by the caller.
        copy.execute_batch("PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF")?;
        let backup = backup::Backup::new(&source, &mut copy)?;
        loop {
            check()?;
            let step = backup.step(STEP)?;
            let pages = backup.progress();
            let of = |count: i32| u64::from(count.unsigned_abs()) * page;
            report(of(pages.pagecount - pages.remaining), of(pages.pagecount));
            match step {
                backup::StepResult::Done => break,
                backup::StepResult::More => {}
                _ => return Err(Error::new(Code::Busy, "the copy could not get its lock; try again")),
            }
        }
        drop(backup);
        Ok(copy)
    })
}

/// The folder that is being written. Dropped before it is finished, it takes back what it has made.
struct Target {
    folder: PathBuf,
    made: bool,
    /// Final names, whose partial files are there.
    files: Vec<PathBuf>,
    finished: bool,
}

impl Target {
    fn prepare(folder: &Path) -> Result<Self> {
        let made = !folder.try_exists()?;
        if made {
            naming(folder, || {
                fs::create_dir_all(folder)?;
                #[cfg(unix)]
                {
                    // What people have written to a machine is nobody else's business.
                    let private = std::os::unix::fs::PermissionsExt::from_mode(0o700);
                    fs::set_permissions(folder, private)?;
                }
                Ok(())
            })?;
        }
        let target = Self { folder: folder.to_owned(), made, files: Vec::new(), finished: false };
        for entry in naming(folder, || Ok(fs::read_dir(folder)?))? {
            let name = naming(folder, || Ok(entry?.file_name()))?;
            let leftover =
                FILES.iter().map(|file| file.name).chain([MANIFEST]).any(|known| {
                    [".partial", ".partial-journal"].iter().any(|suffix| name == *format!("{known}{suffix}"))
                });
            if !leftover {
                let message = format!(
                    "{} holds {} already; a backup goes into a new or empty folder: give another one",
                    folder.display(),
                    name.display()
                );
                return Err(Error::invalid(message).with("path", folder.display().to_string()));
            }
            // Of a backup whose process was killed.
            naming(folder, || Ok(fs::remove_file(folder.join(&name))?))?;
        }
        Ok(target)
    }

    /// Where the file called `name` is to be written.
    fn file(&mut self, name: &str) -> PathBuf {
        let path = self.folder.join(name);
        let writing = partial(&path);
        self.files.push(path);
        writing
    }

    /// Gives the files their names, and writes the manifest last.
    fn finish(mut self, manifest: &Manifest) -> Result<()> {
        let path = self.folder.join(MANIFEST);
        let writing = self.file(MANIFEST);
        naming(&writing, || {
            let text = serde_json::to_string_pretty(&manifest.to_json())
                .map_err(|error| Error::internal(format!("a manifest has no JSON: {error}")))?;
            let mut file = File::create(&writing)?;
            file.write_all(text.as_bytes())?;
            file.write_all(b"\n")?;
            Ok(file.sync_all()?)
        })?;
        for path in self.files.iter().filter(|known| **known != path) {
            naming(path, || Ok(fs::rename(partial(path), path)?))?;
        }
        // On the disk before the manifest says that they are there.
        sync_directory(&self.folder)?;
        fault::point("backup-manifest");
        naming(&path, || Ok(fs::rename(&writing, &path)?))?;
        sync_directory(&self.folder)?;
        if let Some(parent) = self.folder.parent().filter(|_| self.made) {
            // Where the parent may not be read, the folder itself is synced all the same.
            drop(sync_directory(parent));
        }
        self.finished = true;
        Ok(())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        for path in &self.files {
            for leftover in [partial(path), beside(&partial(path), "-journal"), path.clone()] {
                // Missing is what is wanted; the failure itself is what the caller is told.
                drop(fs::remove_file(leftover));
            }
        }
        if self.made {
            drop(fs::remove_dir(&self.folder));
        }
    }
}
