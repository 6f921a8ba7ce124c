//! The segments of the text indexes. FTS5 writes one for each transaction, and asks every one of them for every word; of
//! its own accord it merges four of a size, so that a dozen are left after a large sync.
//!
//! Measured on the reference database: with one segment in place of 13 a search takes 0.08 ms less. To make one of all
//! rewrites the index, 0.2 s: far too long for one transaction on a thread that searches wait for, so it goes by steps.

use rusqlite::Connection;

use crate::error::Result;

/// The tables.
pub const INDEXES: [&str; 2] = ["words", "pieces"];
/// Segments that are not worth a merge: what a few rows leave is small, and FTS5 merges that itself.
const FEW: usize = 4;
/// The largest segment is rewritten once the others are so much of the whole (one part in ...): however an index grows, a
/// page is rewritten eight times on average. A sync leaves a fifth outside of it.
const PART: usize = 8;
/// Pages that one step writes. Of some thousand pages that a large index has it makes about a hundred steps, of 2 ms on
/// average; one in which SQLite moves its log into the file takes 8 ms more, however few pages it writes.
const PAGES: i64 = 32;

/// Whether the segments of an index are worth a merge: there are some, and enough was written since the largest was.
///
/// # Errors
/// What SQLite answers.
pub fn are_many(db: &Connection, index: &str) -> Result<bool> {
    // About a line a page.
    let pages: Vec<usize> = db
        .prepare_cached(&format!("SELECT count(*) FROM {index}_idx GROUP BY segid"))?
        .query_map([], |row| row.get::<_, i64>(0))?
        .map(|pages| pages.map(|pages| usize::try_from(pages).unwrap_or(0)))
        .collect::<rusqlite::Result<_>>()?;
    let (all, largest) = (pages.iter().sum::<usize>(), pages.iter().max().copied().unwrap_or(0));
    Ok(pages.len() > FEW && (all - largest) * PART >= all)
}

/// A step towards one segment, the `first` or a later one; whether there was anything to do. What it has done stays when
/// the process dies, and a later step goes on from there.
///
/// # Errors
/// What SQLite answers.
pub fn merge(db: &Connection, index: &str, first: bool) -> Result<bool> {
    let before = db.total_changes();
    // FTS5: a negative number takes in all segments, a positive one goes on with what was taken in.
    let pages = if first { -PAGES } else { PAGES };
    db.prepare_cached(&format!("INSERT INTO {index}({index}, rank) VALUES ('merge', ?1)"))?.execute([pages])?;
    // As its documentation says: the line itself counts as one.
    Ok(db.total_changes() - before >= 2)
}
