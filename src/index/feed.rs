//! The change feed: what the tables have that the index has not, whoever wrote it.
//!
//! Nobody announces a change. `PRAGMA data_version` tells that there may be one (under 10 µs); then the feed looks
//! for new ids above its mark, compares the set of ids where count or maximum differ (rows were deleted), and hashes the
//! rows, a part at a time, for those that were updated in place. Rows are read in short transactions that end before
//! the index is written.
//!
//! Commits of this process's own writer add and delete rows, but update none, so hashing all rows at once is kept for
//! changes by others that show in no id. What an own commit may have hidden the sweep finds soon.

use std::{
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rusqlite::{Connection, params};

use super::{
    document::{Kind, RowKey},
    row::{self, Hash, SourceRow},
    table::{self, Changes},
};
use crate::{
    db::{
        Database,
        connection::{self, Identity},
    },
    error::{Error, Result},
    fault,
};

/// Rows that one step of the sweep hashes.
const SWEEP: usize = 2_000;
/// Rows of one transaction on the index at most, and bytes of their texts; one row always fits.
const BATCH_ROWS: usize = 2_048;
const BATCH_BYTES: usize = 4 << 20;
/// How long everything may go unhashed.
const SWEEP_ALL: Duration = Duration::from_secs(60 * 60);
/// Steps of the sweep before a search goes on without the rest: some 20,000 rows, 40 ms.
const SWEEP_NOW: usize = 10;

/// How far to look.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Depth {
    /// Where anything was committed: ids, and a step of the sweep. Once a second.
    Tick,
    /// Where anything was committed: ids, and all rows where others have changed something that shows in no id.
    Fresh,
    /// All rows.
    Everything,
}

/// Which of the two files failed.
#[derive(Debug)]
pub enum Failure {
    /// `claude-mem.db`: nothing is wrong with the index.
    Source(Error),
    /// The index, or whoever takes what was found to it.
    Index(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Index(error)
    }
}

impl Failure {
    /// The error, whichever file it is of.
    #[must_use]
    pub fn into_error(self) -> Error {
        match self {
            Self::Source(error) | Self::Index(error) => error,
        }
    }
}

type Outcome<T> = std::result::Result<T, Failure>;

/// What one pass did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Fed {
    /// Rows that were added or had changed.
    pub put: usize,
    /// Rows that were deleted.
    pub deleted: usize,
}

/// The feed: a connection that reads `claude-mem.db`, and what was seen there.
pub struct Feed {
    path: PathBuf,
    source: Option<(Database, Option<Identity>)>,
    /// `data_version` at the last look, and the own writer's commits.
    seen: Option<(i64, i64)>,
    /// Count and highest id of each kind in the index.
    extents: [(i64, i64); Kind::ALL.len()],
    /// Where the sweep goes on.
    at: (usize, i64),
    /// Kinds that it still has to finish; more than there are kinds while its first is half done.
    left: usize,
    /// Whether others have changed something that showed in no id, and the sweep has not been round since.
    doubt: bool,
    swept: Option<Instant>,
}

/// Takes what the feed has found to the index: one transaction a call.
pub trait Sink {
    /// The index, to read.
    fn db(&self) -> &Connection;

    /// Stores rows as they are now, and forgets others.
    ///
    /// # Errors
    /// What SQLite answers.
    fn apply(&mut self, rows: &[SourceRow], deleted: &[RowKey]) -> Result<Changes>;

    /// Whether the memory is being disposed: what is not done yet waits for the next time.
    fn is_over(&self) -> bool;
}

impl Feed {
    /// A feed from the database at `path`, which is opened when it is first looked at.
    #[must_use]
    pub fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            source: None,
            seen: None,
            extents: Default::default(),
            at: (0, 0),
            left: 0,
            doubt: false,
            swept: None,
        }
    }

    /// Begins with an index that was just opened: nothing of it is trusted until everything was hashed.
    ///
    /// # Errors
    /// What SQLite answers.
    pub fn begin(&mut self, index: &Connection) -> Result<()> {
        for (kind, extent) in Kind::ALL.into_iter().zip(&mut self.extents) {
            *extent = table::extent(index, kind)?;
        }
        (self.seen, self.swept) = (None, None);
        Ok(())
    }

    /// Whether a look would be worth anything: somebody has committed, or the sweep is due or under way.
    ///
    /// # Errors
    /// What SQLite answers.
    pub fn is_due(&mut self, depth: Depth, own_commits: i64) -> Outcome<bool> {
        let sweeping = self.doubt || depth == Depth::Tick && self.left > 0 || self.is_sweep_due();
        let now = Some(self.look(own_commits)?);
        Ok(depth == Depth::Everything || sweeping || self.seen != now)
    }

    fn is_sweep_due(&self) -> bool {
        self.swept.is_none_or(|swept| swept.elapsed() > SWEEP_ALL)
    }

    /// `data_version` now, with the own commits that were counted before.
    fn look(&mut self, own_commits: i64) -> Outcome<(i64, i64)> {
        let source = self.source()?;
        let version =
            source.prepare_cached("PRAGMA data_version").and_then(|mut look| look.query_row([], |row| row.get(0)));
        Ok((version.map_err(|error| Failure::Source(error.into()))?, own_commits))
    }

    /// The connection; another one where the file was replaced since.
    fn source(&mut self) -> Outcome<&Connection> {
        if let Some((db, Some(identity))) = &self.source
            && identity.check(db).is_err()
        {
            self.source = None;
        }
        if self.source.is_none() {
            let db = connection::open_reader(&self.path).map_err(Failure::Source)?;
            let identity = Identity::of(&db);
            (self.seen, self.swept) = (None, None);
            self.source = Some((db, identity));
        }
        self.source
            .as_ref()
            .map(|(db, _)| &**db)
            .ok_or_else(|| Error::internal("no connection to read rows with").into())
    }

    /// Gives the connection back: there is nothing to do for long.
    pub fn close(&mut self) {
        self.source = None;
    }

    /// Brings the index up to date. `own_commits` is read by the caller **before** this call.
    ///
    /// # Errors
    /// What SQLite answers, of either file.
    pub fn run(&mut self, depth: Depth, own_commits: i64, sink: &mut impl Sink) -> Outcome<Fed> {
        let mut fed = Fed::default();
        if !self.is_due(depth, own_commits)? {
            return Ok(fed);
        }
        // Before anything is read: whatever is committed after it makes the next look worth while.
        let now = self.look(own_commits)?;
        let before = self.seen;
        if before != Some(now) {
            for (at, kind) in Kind::ALL.into_iter().enumerate() {
                self.new_rows(at, kind, sink, &mut fed)?;
                self.compare_ids(at, kind, sink, &mut fed)?;
            }
            // Whatever else may have changed is found by going round once: the rest of the kind that it is at, the
            // others, and that one from its beginning.
            self.left = Kind::ALL.len() + 1;
            let by_others = before.is_some_and(|(version, own)| version != now.0 && own == now.1);
            self.doubt |= by_others && fed == Fed::default();
        }
        if depth == Depth::Everything || self.is_sweep_due() {
            (self.at, self.left) = ((0, 0), Kind::ALL.len());
            self.sweep(usize::MAX, sink, &mut fed)?;
            if !sink.is_over() {
                self.swept = Some(Instant::now());
            }
        } else if self.doubt {
            self.sweep(SWEEP_NOW, sink, &mut fed)?;
        } else if depth == Depth::Tick {
            self.sweep(1, sink, &mut fed)?;
        }
        self.doubt &= self.left > 0;
        if !sink.is_over() {
            self.seen = Some(now);
        }
        Ok(fed)
    }

    /// Rows above the mark.
    fn new_rows(&mut self, at: usize, kind: Kind, sink: &mut impl Sink, fed: &mut Fed) -> Outcome<()> {
        let sql = format!("{} WHERE t.id > ?1 ORDER BY t.id", row::query(kind));
        while !sink.is_over() {
            let mark = self.extents[at].1;
            let (rows, more) = read(self.source()?, |db| {
                let mut statement = db.prepare_cached(&sql)?;
                let mut found = statement.query([mark])?;
                let (mut rows, mut bytes) = (Vec::new(), 0);
                while let Some(row) = found.next()? {
                    let row = SourceRow::read(kind, row)?;
                    bytes += row.bytes();
                    rows.push(row);
                    if rows.len() == BATCH_ROWS || bytes > BATCH_BYTES {
                        return Ok((rows, true));
                    }
                }
                Ok((rows, false))
            })?;
            if let Some(last) = rows.last() {
                let highest = last.id;
                let changes = sink.apply(&rows, &[])?;
                fed.put += rows.len();
                let (count, mark) = &mut self.extents[at];
                (*count, *mark) = (*count + changes.rows, highest);
            }
            if !more {
                break;
            }
        }
        Ok(())
    }

    /// Compares the sets of ids, where count or maximum say that they differ.
    fn compare_ids(&mut self, at: usize, kind: Kind, sink: &mut impl Sink, fed: &mut Fed) -> Outcome<()> {
        let sql = format!("SELECT count(*), coalesce(max(id), 0) FROM {}", row::table(kind));
        let extent: (i64, i64) = read(self.source()?, |db| {
            Ok(db.prepare_cached(&sql)?.query_row([], |row| Ok((row.get(0)?, row.get(1)?)))?)
        })?;
        if extent == self.extents[at] || sink.is_over() {
            return Ok(());
        }
        let sql = format!("SELECT id FROM {} ORDER BY id", row::table(kind));
        let theirs: Vec<i64> = read(self.source()?, |db| {
            let mut statement = db.prepare_cached(&sql)?;
            let ids = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
            Ok(ids)
        })?;
        let ours: Vec<i64> = table::hashes(sink.db(), kind, 0, i64::MAX)?.into_iter().map(|(id, _)| id).collect();
        let difference = difference(theirs.iter().map(|id| (*id, ())), ours.iter().map(|id| (*id, ())));
        self.settle(kind, difference, sink, fed)?;
        self.extents[at] = table::extent(sink.db(), kind)?;
        Ok(())
    }

    /// Stores what was found to differ.
    fn settle(&mut self, kind: Kind, difference: Difference, sink: &mut impl Sink, fed: &mut Fed) -> Outcome<()> {
        let keys: Vec<RowKey> = difference.gone.into_iter().map(|id| RowKey::new(kind, id)).collect();
        for keys in keys.chunks(BATCH_ROWS) {
            if sink.is_over() {
                return Ok(());
            }
            sink.apply(&[], keys)?;
            fed.deleted += keys.len();
        }
        let mut wanted = &*difference.changed;
        while !wanted.is_empty() && !sink.is_over() {
            let (rows, looked) = read(self.source()?, |db| {
                let (mut rows, mut bytes) = (Vec::new(), 0);
                for (looked, id) in wanted.iter().enumerate() {
                    if rows.len() == BATCH_ROWS || bytes > BATCH_BYTES {
                        return Ok((rows, looked));
                    }
                    // Deleted in between: the next look finds that.
                    if let Some(row) = SourceRow::find(db, kind, *id)? {
                        bytes += row.bytes();
                        rows.push(row);
                    }
                }
                Ok((rows, wanted.len()))
            })?;
            sink.apply(&rows, &[])?;
            fed.put += rows.len();
            wanted = &wanted[looked..];
        }
        Ok(())
    }

    /// Hashes rows from where it stopped, `steps` times some of them, until it has been round.
    fn sweep(&mut self, steps: usize, sink: &mut impl Sink, fed: &mut Fed) -> Outcome<()> {
        for _ in 0..steps {
            if self.left == 0 || sink.is_over() {
                break;
            }
            let (at, after) = self.at;
            let kind = Kind::ALL[at];
            let sql = format!("{} WHERE t.id > ?1 ORDER BY t.id LIMIT ?2", row::query(kind));
            let theirs: Vec<(i64, Hash)> = read(self.source()?, |db| {
                let mut statement = db.prepare_cached(&sql)?;
                let mut found = statement.query(params![after, i64::try_from(SWEEP).unwrap_or(i64::MAX)])?;
                let mut hashes = Vec::with_capacity(SWEEP);
                while let Some(row) = found.next()? {
                    hashes.push((row.get(0)?, row::hash(row)?));
                }
                Ok(hashes)
            })?;
            let last = theirs.last().map(|(id, _)| *id).filter(|_| theirs.len() == SWEEP);
            let ours = table::hashes(sink.db(), kind, after, last.unwrap_or(i64::MAX))?;
            let difference = difference(theirs.into_iter(), ours.into_iter());
            if !difference.is_empty() {
                self.settle(kind, difference, sink, fed)?;
                self.extents[at] = table::extent(sink.db(), kind)?;
            }
            match last {
                Some(last) => self.at = (at, last),
                None => {
                    self.at = ((at + 1) % Kind::ALL.len(), 0);
                    self.left -= 1;
                }
            }
        }
        Ok(())
    }

    /// The texts of documents, read now; `None` for one whose row is gone or has another text by now.
    ///
    /// # Errors
    /// What SQLite answers.
    pub fn texts(&mut self, documents: &[table::Owed]) -> Outcome<Vec<Option<String>>> {
        read(self.source()?, |db| texts(db, documents))
    }
}

/// The texts of documents, from `claude-mem.db`; `None` for one whose row is gone or has another text by now.
///
/// # Errors
/// What SQLite answers.
pub fn texts(source: &Connection, documents: &[table::Owed]) -> Result<Vec<Option<String>>> {
    let mut last: Option<SourceRow> = None;
    let mut texts = Vec::with_capacity(documents.len());
    for owed in documents {
        let (kind, id) = (owed.document.field.kind(), owed.document.row_id);
        // The documents of a row come one after the other.
        if last.as_ref().is_none_or(|row| (row.kind, row.id) != (kind, id)) {
            last = SourceRow::find(source, kind, id)?;
        }
        let text = last.as_ref().and_then(|row| row.document(owed.document.field, owed.document.part));
        texts.push(text.filter(|text| row::text_hash(text) == owed.text_hash));
    }
    Ok(texts)
}

/// Reads rows in one short transaction.
fn read<T>(db: &Connection, read: impl FnOnce(&Connection) -> Result<T>) -> Outcome<T> {
    fault::point("index-read");
    let answer = db.unchecked_transaction().map_err(Error::from).and_then(|transaction| read(&transaction));
    answer.map_err(|error| Failure::Source(connection::about_file(db, error)))
}

/// Ids that differ.
#[derive(Debug, Default, PartialEq, Eq)]
struct Difference {
    /// Only theirs, or with another value.
    changed: Vec<i64>,
    /// Only ours.
    gone: Vec<i64>,
}

impl Difference {
    fn is_empty(&self) -> bool {
        self.changed.is_empty() && self.gone.is_empty()
    }
}

/// Compares two lists in order of their ids.
fn difference<T: PartialEq>(
    theirs: impl Iterator<Item = (i64, T)>,
    ours: impl Iterator<Item = (i64, T)>,
) -> Difference {
    let mut difference = Difference::default();
    let (mut theirs, mut ours) = (theirs.peekable(), ours.peekable());
    loop {
        match (theirs.peek(), ours.peek()) {
            (None, None) => return difference,
            (Some((id, _)), other) if other.is_none_or(|(other, _)| id < other) => {
                difference.changed.push(*id);
                theirs.next();
            }
            (other, Some((id, _))) if other.is_none_or(|(other, _)| id < other) => {
                difference.gone.push(*id);
                ours.next();
            }
            _ => {
                if let (Some((id, theirs)), Some((_, ours))) = (theirs.next(), ours.next())
                    && theirs != ours
                {
                    difference.changed.push(id);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_compared() {
        let list = |text: &'static [(i64, char)]| text.iter().copied();
        let found = difference(
            list(&[(1, 'a'), (2, 'b'), (4, 'd'), (9, 'x')]),
            list(&[(2, 'c'), (3, 'x'), (4, 'd'), (5, 'e')]),
        );
        assert_eq!(found, Difference { changed: vec![1, 2, 9], gone: vec![3, 5] });
        assert!(difference(list(&[]), list(&[])).is_empty());
    }
}
