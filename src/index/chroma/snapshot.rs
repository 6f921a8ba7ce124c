//! A private copy of the files of one moment.
//!
//! Chroma writes its database and its index files one after the other, without a lock that covers them all. So
//! nothing is read where it lies: the files are copied to a directory of our own, and the copies count only if
//! none of the originals changed from before the first was read until after the last was. Nothing is opened but
//! for reading, no lock is taken, and no byte is written into or beside the directory.
//!
//! What this cannot see is a Chroma that died, or paused, between two of its writes. The index files are then
//! ahead of the database or behind it, which the replay of the log puts right.

use std::{
    fs::{self, File},
    io::{self, ErrorKind, Read, Seek, SeekFrom},
    path::{Path, PathBuf},
    thread,
    time::{Duration, SystemTime},
};

use tempfile::TempDir;

use super::{corrupt, limits};
use crate::{
    db::{connection::naming, layout::beside},
    error::{Code, Error, Result},
};

/// Copies made at most before giving up on a directory that keeps changing.
const ATTEMPTS: u32 = 5;
/// Before the second copy; doubled before each further one.
const PAUSE: Duration = Duration::from_millis(25);
/// A file that was written this recently may be in the middle of something: an error is not believed at once.
const RECENT: Duration = Duration::from_secs(2);
/// Ends a rollback journal that names a journal of several databases.
const SUPER_JOURNAL: [u8; 8] = [0xd9, 0xd5, 0x05, 0xf9, 0x20, 0xa1, 0x63, 0xd7];

/// A file of the directory and our copy of it.
#[derive(Debug, Clone)]
pub(super) struct Copied {
    /// For messages only.
    pub original: PathBuf,
    pub copy: PathBuf,
    pub bytes: u64,
}

/// The copied files of a vector segment.
#[derive(Debug)]
pub(super) struct Segment {
    pub header: Option<Copied>,
    pub rows: Option<Copied>,
    pub pickle: Option<Copied>,
}

/// What a copied database led to, with the segment's files.
#[derive(Debug)]
pub(super) struct Snapshot<T> {
    /// Made from the database; dropped before its files.
    pub found: T,
    /// None where the folder does not exist.
    pub segment: Option<Segment>,
    pub folder: TempDir,
}

/// By what a change of a file is seen; none where there is no file.
type Mark = Option<(u64, Option<SystemTime>, [i64; 4])>;

/// Copies the database of `directory`, lets `look` read it, and copies the files of the segment folder that
/// `segment_of` names. The copies lie in a directory of their own in `scratch`, by default the system's.
///
/// # Errors
/// `ERR_NOT_FOUND`, `ERR_CORRUPT`, `ERR_IO`, `ERR_DISK_FULL`; `ERR_BUSY` where the files never held still.
pub(super) fn take<T>(
    directory: &Path,
    scratch: Option<&Path>,
    look: impl Fn(&Copied) -> Result<T>,
    segment_of: impl Fn(&T) -> Option<String>,
) -> Result<Snapshot<T>> {
    // Through a link, too: the caller chose it. Nothing inside is followed.
    match fs::metadata(directory) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => return Err(not_found(directory, "is not a directory")),
        Err(error) if error.kind() == ErrorKind::NotFound => return Err(not_found(directory, "does not exist")),
        Err(error) => return naming(directory, || Err(error.into())),
    }
    let database = directory.join("chroma.sqlite3");
    let beside_database = [database.clone(), beside(&database, "-journal"), beside(&database, "-wal")];
    let mut settled = None;
    for attempt in 0..ATTEMPTS {
        if attempt > 0 {
            thread::sleep(PAUSE * (1 << (attempt - 1)));
        }
        let before = marks(&beside_database)?;
        let mut files = Vec::new();
        let taken = once(directory, scratch, &look, &segment_of, &mut files);
        let paths = files.iter().map(|(path, _)| path);
        let changed = marks(&beside_database)? != before || marks(paths)?.iter().ne(files.iter().map(|(_, mark)| mark));
        match taken {
            _ if changed => {}
            Err(error)
                if error.code == Code::Corrupt && recent(before.iter().chain(files.iter().map(|(_, mark)| mark))) =>
            {
                settled = Some(error);
            }
            taken => return taken,
        }
    }
    Err(settled.unwrap_or_else(|| {
        Error::new(
            Code::Busy,
            format!(
                "{}: a Chroma process kept writing while the directory was copied ({ATTEMPTS} attempts); stop it and \
                 try again",
                directory.display()
            ),
        )
        .with("path", directory.display().to_string())
    }))
}

/// One attempt; the segment's files, as they were before they were copied, go into `files`.
fn once<T>(
    directory: &Path,
    scratch: Option<&Path>,
    look: &impl Fn(&Copied) -> Result<T>,
    segment_of: &impl Fn(&T) -> Option<String>,
    files: &mut Vec<(PathBuf, Mark)>,
) -> Result<Snapshot<T>> {
    let mut builder = tempfile::Builder::new();
    builder.prefix("claude-mem-native-");
    let folder = match scratch {
        Some(scratch) => naming(scratch, || Ok(builder.tempdir_in(scratch)?))?,
        None => builder.tempdir()?,
    };
    let original = directory.join("chroma.sqlite3");
    let copy = folder.path().join("chroma.sqlite3");
    let Some(file) = copy_file(&original, &copy, limits::DATABASE_BYTES)? else {
        return Err(not_found(directory, "has no chroma.sqlite3, so it is not a Chroma directory"));
    };
    // After the file: what a commit writes into it from now on has its former state in the journal.
    for suffix in ["-journal", "-wal"] {
        let original = beside(&original, suffix);
        if let Some(journal) = copy_file(&original, &beside(&copy, suffix), limits::DATABASE_BYTES)? {
            refuse_super_journal(&journal)?;
        }
    }
    let found = look(&file)?;
    let segment = match segment_of(&found) {
        Some(segment) => copy_segment(directory, &segment, folder.path(), files)?,
        None => None,
    };
    Ok(Snapshot { found, segment, folder })
}

/// SQLite would follow the name in it, and delete the file of that name. Chroma has one database and never
/// makes such a journal.
fn refuse_super_journal(journal: &Copied) -> Result<()> {
    let mut end = [0; 8];
    if journal.bytes >= 16 {
        let mut file = File::open(&journal.copy)?;
        file.seek(SeekFrom::Start(journal.bytes - 8))?;
        file.read_exact(&mut end)?;
    }
    if end == SUPER_JOURNAL {
        return Err(corrupt(&journal.original, "its end", "names a super-journal, which Chroma never writes"));
    }
    Ok(())
}

fn copy_segment(
    directory: &Path,
    segment: &str,
    to: &Path,
    files: &mut Vec<(PathBuf, Mark)>,
) -> Result<Option<Segment>> {
    // The name goes into a path: nothing but a UUID may be one.
    if !is_uuid(segment) {
        return Err(corrupt(&directory.join("chroma.sqlite3"), "segments", "the vector segment's id is not a UUID"));
    }
    let folder = directory.join(segment);
    match fs::symlink_metadata(&folder) {
        Ok(found) if found.is_dir() => {}
        Ok(_) => return Err(corrupt(&folder, "its type", "is a link or a file where a folder should be")),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return naming(&folder, || Err(error.into())),
    }
    let names = [
        ("header.bin", super::hnsw::HEADER_BYTES),
        ("data_level0.bin", limits::ROWS_BYTES),
        ("index_metadata.pickle", limits::PICKLE_BYTES),
    ];
    for (name, _) in names {
        let path = folder.join(name);
        let mark = mark(&path)?;
        files.push((path, mark));
    }
    let mut copied = names.map(|(name, limit)| copy_file(&folder.join(name), &to.join(name), limit)).into_iter();
    let mut next = || copied.next().unwrap_or(Ok(None));
    Ok(Some(Segment { header: next()?, rows: next()?, pickle: next()? }))
}

/// 8-4-4-4-12 hexadecimal digits.
pub(super) fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

/// Copies a regular file of at most `limit` bytes; none where there is none.
fn copy_file(original: &Path, copy: &Path, limit: u64) -> Result<Option<Copied>> {
    let Some(seen) = regular(original)? else { return Ok(None) };
    if seen.len() > limit {
        return Err(corrupt(original, "its size", format!("{} bytes; the limit is {limit}", seen.len())));
    }
    naming(original, || {
        let from = match File::open(original) {
            Ok(from) => from,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // Exchanged since it was looked at: the marks will differ, too.
        let opened = from.metadata()?;
        if !opened.is_file() || identity(&opened)[..2] != identity(&seen)[..2] {
            return Err(Error::new(Code::Busy, "was exchanged while it was opened; try again"));
        }
        let mut options = File::options();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let bytes = io::copy(&mut from.take(limit), &mut options.open(copy)?)?;
        Ok(Some(Copied { original: original.to_owned(), copy: copy.to_owned(), bytes }))
    })
}

/// What is known of a file that can be opened without harm: no link, which might lead anywhere, and no pipe,
/// which might never open.
fn regular(path: &Path) -> Result<Option<fs::Metadata>> {
    match fs::symlink_metadata(path) {
        Ok(found) if found.is_file() => Ok(Some(found)),
        Ok(_) => Err(corrupt(path, "its type", "is not a regular file; links are not followed")),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => naming(path, || Err(error.into())),
    }
}

fn marks<'a>(paths: impl IntoIterator<Item = &'a PathBuf>) -> Result<Vec<Mark>> {
    paths.into_iter().map(|path| mark(path)).collect()
}

fn mark(path: &Path) -> Result<Mark> {
    Ok(regular(path)?.map(|found| (found.len(), found.modified().ok(), identity(&found))))
}

/// Device, inode, and the time of the last change of either (seconds, nanoseconds), where there is such a thing.
fn identity(found: &fs::Metadata) -> [i64; 4] {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;
        [found.dev().cast_signed(), found.ino().cast_signed(), found.ctime(), found.ctime_nsec()]
    }
    #[cfg(not(unix))]
    {
        let _ = found;
        [0; 4]
    }
}

fn recent<'a>(mut marks: impl Iterator<Item = &'a Mark>) -> bool {
    let since = SystemTime::now().checked_sub(RECENT);
    marks.any(|mark| mark.is_some_and(|(_, modified, _)| modified.is_some_and(|time| Some(time) > since)))
}

fn not_found(directory: &Path, what: &str) -> Error {
    Error::new(Code::NotFound, format!("{}: {what}", directory.display())).with("path", directory.display().to_string())
}
