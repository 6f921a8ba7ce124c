//! The keyword leg: rows that have any of the terms, by bm25.
//!
//! A word that no row has is looked for as a part of words (an identifier half remembered), and where there is no such
//! part either, as a word that was mistyped. What such a term adds to a row is what any term adds.

use std::{cmp::Ordering, collections::HashMap};

use rusqlite::Connection;

use super::{
    key_hash::KeyMap,
    occurrences::PHRASES,
    query::{Kind, Term},
    remembered::{Figures, LENGTHS, Remembered},
    scope::Scope,
    spelling,
};
use crate::{
    error::{Error, Result},
    index::document::RowKey,
};

/// Words that no row has, and that are looked for in other ways at most.
const UNKNOWN: usize = 8;
/// Characters that a part of a word has at least: the index of pieces knows three at a time.
const PIECE: usize = 3;

/// A row and what its words are worth.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scored {
    /// Which row.
    pub key: RowKey,
    /// Its bm25: more is better.
    pub bm25: f64,
}

/// What was found.
#[derive(Debug, Default)]
pub struct Leg {
    /// Every row that has a term, of which the first are the best, in order.
    rows: Vec<Scored>,
    /// So many.
    sorted: usize,
    /// What the best row is worth; 0 where there is none.
    pub best_bm25: f64,
    /// How much of what was asked the best row has, from 0 to 1: the worth of the words that it has, of the worth of all
    /// words of the query. Words that no row has are worth most.
    pub coverage: f64,
    /// What they were found by.
    pub marks: Marks,
}

/// What a row is worth.
#[derive(Debug, Clone, Copy, Default)]
struct Worth {
    bm25: f64,
    /// Worth of the query's words that it has, however often.
    covered: f64,
}

/// What rows were found by: to show where.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Marks {
    /// FTS5 strings for the words of a row.
    pub expressions: Vec<String>,
    /// Parts of words, in lower case.
    pub parts: Vec<String>,
}

/// Rows within `scope` that have any of `terms`. Call it within a snapshot.
///
/// # Errors
/// What SQLite answers.
pub(super) fn search(db: &Connection, remembered: &mut Remembered, terms: &[Term], scope: &Scope) -> Result<Leg> {
    let mut leg = Leg::default();
    if terms.is_empty() {
        return Ok(leg);
    }
    let phrases: Vec<String> = terms.iter().map(Term::quoted).collect();
    // The words of a compound are terms themselves.
    let counted: Vec<bool> = terms.iter().map(|term| term.kind != Kind::Compound).collect();
    let mut index = Index { db, table: Table::Words, figures: &mut remembered.figures[0] };
    let mut scores = KeyMap::default();
    let found = index.add(&phrases, &Standing::Each(&counted), scope, &mut scores)?;
    let nowhere = index.worth(0)?;
    let mut asked = 0.0;
    let mut unknown = Vec::new();
    for ((term, &rows), counted) in terms.iter().zip(&found).zip(&counted) {
        if *counted {
            asked += index.worth(rows)?;
        }
        if rows == 0 && term.kind == Kind::Word && unknown.len() < UNKNOWN && term.text.chars().count() >= PIECE {
            unknown.push(term.text.as_str());
        }
    }
    leg.marks.expressions = phrases;

    if !unknown.is_empty() {
        let parts: Vec<String> = unknown.iter().map(|part| format!("\"{part}\"")).collect();
        let mut index = Index { db, table: Table::Pieces, figures: &mut remembered.figures[1] };
        let found = index.add(&parts, &Standing::Each(&vec![true; parts.len()]), scope, &mut scores)?;
        let mut mistyped = Vec::new();
        for (&part, &rows) in unknown.iter().zip(&found) {
            if rows > 0 {
                asked += index.worth(rows)? - nowhere;
                leg.marks.parts.push(part.to_owned());
            } else {
                mistyped.push(part);
            }
        }
        let (mut similar, mut of_word) = (Vec::new(), Vec::new());
        for word in mistyped {
            for stem in spelling::similar(db, remembered, word)? {
                // The stem of a stem may be shorter still; as a beginning it finds what it stands for.
                similar.push(format!("\"{stem}\" *"));
                of_word.push(word);
            }
        }
        let mut index = Index { db, table: Table::Words, figures: &mut remembered.figures[0] };
        let found = index.add(&similar, &Standing::ForWords(&of_word), scope, &mut scores)?;
        // The least frequent of a word's alternatives is the one that a row is worth most by.
        let mut fewest: HashMap<&str, u32> = HashMap::new();
        for (&word, &rows) in of_word.iter().zip(&found).filter(|(_, rows)| **rows > 0) {
            fewest.entry(word).and_modify(|known| *known = rows.min(*known)).or_insert(rows);
        }
        for rows in fewest.into_values() {
            asked += index.worth(rows)? - nowhere;
        }
        leg.marks.expressions.extend(similar);
    }
    leg.rows = scores.iter().map(|(&key, worth)| Scored { key: RowKey(key), bm25: worth.bm25 }).collect();
    if let Some(best) = leg.rows.iter().min_by(|a, b| better(a, b)) {
        leg.best_bm25 = best.bm25;
        let covered = scores.get(&best.key.0).map_or(0.0, |worth| worth.covered);
        leg.coverage = (covered / asked.max(covered)).clamp(0.0, 1.0);
    }
    Ok(leg)
}

/// More words first; where they are equal by key.
fn better(a: &Scored, b: &Scored) -> Ordering {
    b.bm25.total_cmp(&a.bm25).then(a.key.cmp(&b.key))
}

impl Leg {
    /// How many rows have a term.
    pub(super) const fn count(&self) -> usize {
        self.rows.len()
    }

    /// The best `depth` rows, best first. Only they are sorted: a common word is in thousands that nobody asks for.
    pub(super) fn best(&mut self, depth: usize) -> &[Scored] {
        let depth = depth.min(self.rows.len());
        if depth > self.sorted {
            let rest = &mut self.rows[self.sorted..];
            let more = depth - self.sorted;
            if more < rest.len() {
                rest.select_nth_unstable_by(more - 1, better);
            }
            rest[..more].sort_unstable_by(better);
            self.sorted = depth;
        }
        &self.rows[..depth]
    }
}

/// What phrases stand for.
enum Standing<'a> {
    /// Each for itself; and whether it is a word that was asked for.
    Each(&'a [bool]),
    /// For these words: neighbours with the same word are alternatives, of which the best counts.
    ForWords(&'a [&'a str]),
}

impl Worth {
    fn add(&mut self, more: Option<Self>) {
        if let Some(more) = more {
            self.bm25 += more.bm25;
            self.covered += more.covered;
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Table {
    Words,
    Pieces,
}

struct Index<'a> {
    db: &'a Connection,
    table: Table,
    figures: &'a mut Figures,
}

impl Index<'_> {
    /// Adds what `phrases` are worth to each row that has one, and answers how many rows have each.
    fn add(
        &mut self,
        phrases: &[String],
        standing: &Standing<'_>,
        scope: &Scope,
        scores: &mut KeyMap<Worth>,
    ) -> Result<Vec<u32>> {
        /// FTS5's constants.
        const K1: f64 = 1.2;
        const B: f64 = 0.75;
        let phrases = &phrases[..phrases.len().min(PHRASES)];
        if phrases.is_empty() {
            return Ok(Vec::new());
        }
        let (keys, counts, found) = self.walk(phrases, scope)?;
        let worth = found.iter().map(|&found| self.worth(found)).collect::<Result<Vec<_>>>()?;
        let (_, average) = self.size()?;
        for (&key, counts) in keys.iter().zip(counts.chunks_exact(phrases.len())) {
            let length = K1 * (1.0 - B + B * self.length(key)? / average);
            let mut row = Worth::default();
            // The best of alternatives: which word they stand for, and what it adds.
            let mut best: Option<(&str, Worth)> = None;
            for (place, (&count, &worth)) in counts.iter().zip(&worth).enumerate() {
                if count == 0 {
                    continue;
                }
                let count = f64::from(count);
                let bm25 = worth * count * (K1 + 1.0) / (count + length);
                match standing {
                    Standing::Each(counted) => {
                        row.bm25 += bm25;
                        row.covered += if counted[place] { worth } else { 0.0 };
                    }
                    Standing::ForWords(words) => match &mut best {
                        Some((word, known)) if *word == words[place] => {
                            if bm25 > known.bm25 {
                                *known = Worth { bm25, covered: worth };
                            }
                        }
                        _ => {
                            row.add(best.take().map(|(_, worth)| worth));
                            best = Some((words[place], Worth { bm25, covered: worth }));
                        }
                    },
                }
            }
            row.add(best.map(|(_, worth)| worth));
            scores.entry(key).or_default().add(Some(row));
        }
        Ok(found)
    }

    /// What a phrase that `found` rows have is worth. As FTS5: one that more than half of the rows have is worth next to
    /// nothing, never less.
    fn worth(&mut self, found: u32) -> Result<f64> {
        let (rows, found) = (self.size()?.0, f64::from(found));
        Ok(((rows.max(found) - found + 0.5) / (found + 0.5)).ln().max(1e-6))
    }

    /// Rows within `scope` that have one of `phrases`, how often each phrase occurs in each, and how many rows of all
    /// have each.
    fn walk(&self, phrases: &[String], scope: &Scope) -> Result<(Vec<i64>, Vec<u16>, Vec<u32>)> {
        let mut statement = self.db.prepare_cached(match self.table {
            Table::Words => "SELECT rowid, occurrences(words) FROM words WHERE words MATCH ?1",
            Table::Pieces => "SELECT rowid, occurrences(pieces) FROM pieces WHERE pieces MATCH ?1",
        })?;
        let (mut keys, mut counts, mut found) = (Vec::new(), Vec::new(), vec![0_u32; phrases.len()]);
        let mut rows = statement.query([phrases.join(" OR ")])?;
        while let Some(row) = rows.next()? {
            let key: i64 = row.get(0)?;
            let blob = row.get_ref(1)?.as_blob().map_err(|error| Error::internal(error.to_string()))?;
            if blob.len() != 2 * phrases.len() {
                return Err(Error::internal(format!(
                    "FTS5 counted {} of {} phrases; please report this",
                    blob.len() / 2,
                    phrases.len()
                )));
            }
            let admitted = scope.admits(key);
            for (pair, found) in blob.chunks_exact(2).zip(&mut found) {
                let count = u16::from_le_bytes([pair[0], pair[1]]);
                *found += u32::from(count > 0);
                if admitted {
                    counts.push(count);
                }
            }
            if admitted {
                keys.push(key);
            }
        }
        Ok((keys, counts, found))
    }

    /// Rows of the index, and words of a row on average. FTS5's own number of rows is that of all that were ever
    /// added, where a table has no content: counted here; the average is right.
    fn size(&mut self) -> Result<(f64, f64)> {
        if let Some(size) = self.figures.size {
            return Ok(size);
        }
        let (count, averages) = match self.table {
            Table::Words => ("SELECT count(*) FROM words_docsize", "SELECT block FROM words_data WHERE id = 1"),
            Table::Pieces => ("SELECT count(*) FROM pieces_docsize", "SELECT block FROM pieces_data WHERE id = 1"),
        };
        let rows: f64 = self.db.prepare_cached(count)?.query_row([], |row| row.get::<_, i64>(0)).map(as_number)?;
        let averages: Vec<u8> = self.db.prepare_cached(averages)?.query_row([], |row| row.get(0))?;
        let mut numbers = Varints(&averages);
        let ever = numbers.next().unwrap_or(1).max(1);
        let size = (rows, (as_number(numbers.sum()) / as_number(ever)).max(1.0));
        self.figures.size = Some(size);
        Ok(size)
    }

    /// Words of a row, as FTS5 keeps them: a number a column.
    fn length(&mut self, key: i64) -> Result<f64> {
        if let Some(length) = self.figures.lengths.get(&key) {
            return Ok(*length);
        }
        let mut statement = self.db.prepare_cached(match self.table {
            Table::Words => "SELECT sz FROM words_docsize WHERE id = ?1",
            Table::Pieces => "SELECT sz FROM pieces_docsize WHERE id = ?1",
        })?;
        let length = statement.query_row([key], |row| {
            Ok(row.get_ref(0)?.as_blob().map_or(0.0, |sizes| as_number(Varints(sizes).sum())))
        })?;
        if self.figures.lengths.len() < LENGTHS {
            self.figures.lengths.insert(key, length);
        }
        Ok(length)
    }
}

#[expect(clippy::cast_precision_loss, reason = "numbers of words and rows")]
fn as_number(count: i64) -> f64 {
    count as f64
}

/// SQLite's integers of variable length: seven bits a byte, the highest first; the ninth byte has eight.
struct Varints<'a>(&'a [u8]);

impl Iterator for Varints<'_> {
    type Item = i64;

    fn next(&mut self) -> Option<i64> {
        let mut value = 0_u64;
        for place in 0..9 {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            if place == 8 {
                value = value << 8 | u64::from(byte);
            } else {
                value = value << 7 | u64::from(byte & 0x7f);
                if byte < 0x80 {
                    break;
                }
            }
        }
        i64::try_from(value).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_are_in_order_however_many_are_asked_for_at_a_time() {
        let scored = |key: i64| Scored { key: RowKey(key), bm25: f64::from(u32::try_from(key * 7_919 % 50).unwrap()) };
        let mut whole: Vec<Scored> = (0..1_000).map(scored).collect();
        whole.sort_by(better);
        let mut leg = Leg { rows: (0..1_000).rev().map(scored).collect(), ..Leg::default() };
        for depth in [0, 1, 100, 100, 50, 101, 400, 999, 1_000, 5_000] {
            assert_eq!(leg.best(depth), &whole[..depth.min(1_000)], "{depth}");
        }
        assert!(Leg::default().best(100).is_empty());
    }

    #[test]
    fn integers_of_variable_length() {
        let all: Vec<i64> = Varints(&[0, 0x7f, 0x81, 0x00, 0x82, 0x01]).collect();
        assert_eq!(all, [0, 127, 128, 257]);
        assert_eq!(Varints(&[0x81]).next(), None, "cut off");
    }
}
