//! The keyword leg: rows that have any of the terms, by bm25.
//!
//! A word that no row has is looked for as a part of words (an identifier half remembered), and where there is no such
//! part either, as a word that was mistyped. What such a term adds to a row is what any term adds.

use std::{cmp::Ordering, collections::BTreeMap};

use rusqlite::Connection;

use super::{
    postings::{Index, Table},
    query::{Kind, Term},
    remembered::Remembered,
    scope::Scope,
    spelling,
};
use crate::{
    error::Result,
    index::{document::RowKey, vectors::key_hash::KeyMap},
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
    let mut index = Index::new(db, Table::Words, &mut remembered.figures);
    let mut scores = KeyMap::default();
    let found = add(&mut index, &phrases, &Standing::Each(&counted), scope, &mut scores)?;
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
        let mut index = Index::new(db, Table::Pieces, &mut remembered.figures);
        let found = add(&mut index, &parts, &Standing::Each(&vec![true; parts.len()]), scope, &mut scores)?;
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
        let mut index = Index::new(db, Table::Words, &mut remembered.figures);
        let found = add(&mut index, &similar, &Standing::ForWords(&of_word), scope, &mut scores)?;
        // The least frequent of a word's alternatives is the one that a row is worth most by. By word, as sums in another
        // order have other last digits.
        let mut fewest: BTreeMap<&str, u32> = BTreeMap::new();
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
    fn add(&mut self, more: Self) {
        self.bm25 += more.bm25;
        self.covered += more.covered;
    }
}

/// Adds what `phrases` are worth to each row within `scope` that has one, and answers how many rows of all have each.
fn add(
    index: &mut Index<'_>,
    phrases: &[String],
    standing: &Standing<'_>,
    scope: &Scope,
    scores: &mut KeyMap<Worth>,
) -> Result<Vec<u32>> {
    let mut found = Vec::with_capacity(phrases.len());
    // The best of alternatives, and the word that they stand for.
    let (mut best, mut of_word): (KeyMap<Worth>, &str) = (KeyMap::default(), "");
    for (place, phrase) in phrases.iter().enumerate() {
        let postings = index.postings(phrase)?;
        let rows = u32::try_from(postings.len()).unwrap_or(u32::MAX);
        found.push(rows);
        let worth = index.worth(rows)?;
        let admitted = postings.iter().filter(|posting| scope.admits(posting.key));
        match standing {
            Standing::Each(counted) => {
                scores.reserve(postings.len().saturating_sub(scores.len()));
                let covered = if counted[place] { worth } else { 0.0 };
                for posting in admitted {
                    scores.entry(posting.key).or_default().add(Worth { bm25: worth * posting.weight, covered });
                }
            }
            Standing::ForWords(words) => {
                if words[place] != of_word {
                    best.drain().for_each(|(key, worth)| scores.entry(key).or_default().add(worth));
                    of_word = words[place];
                }
                for posting in admitted {
                    let bm25 = worth * posting.weight;
                    let known = best.entry(posting.key).or_default();
                    if bm25 > known.bm25 {
                        *known = Worth { bm25, covered: worth };
                    }
                }
            }
        }
    }
    best.into_iter().for_each(|(key, worth)| scores.entry(key).or_default().add(worth));
    Ok(found)
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
}
