//! What a text index has of a phrase: the rows that it is in, and how much it stands out in each.

use std::sync::Arc;

use rusqlite::Connection;

use super::{
    occurrences,
    remembered::{Figures, LENGTHS, POSTINGS},
};
use crate::error::{Error, Result};

/// Which text index.
#[derive(Debug, Clone, Copy)]
pub(super) enum Table {
    /// Of words.
    Words,
    /// Of pieces of words, three characters and more.
    Pieces,
}

/// A row that has a phrase.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Posting {
    /// Which row.
    pub key: i64,
    /// What bm25 multiplies the phrase's worth by: how often the row has it, the less the longer the row is.
    pub weight: f64,
}

/// A text index, with what is remembered of it.
pub(super) struct Index<'a> {
    db: &'a Connection,
    table: Table,
    figures: &'a mut Figures,
}

impl<'a> Index<'a> {
    /// On `db`, of which `figures` are remembered.
    pub(super) fn new(db: &'a Connection, table: Table, figures: &'a mut [Figures; 2]) -> Self {
        let figures = match table {
            Table::Words => &mut figures[0],
            Table::Pieces => &mut figures[1],
        };
        Self { db, table, figures }
    }

    /// Every row that has `phrase`, an FTS5 string, in ascending order. What words are often asked for are in many rows:
    /// they are remembered.
    pub(super) fn postings(&mut self, phrase: &str) -> Result<Arc<[Posting]>> {
        /// FTS5's constants.
        const K1: f64 = 1.2;
        const B: f64 = 0.75;
        if let Some(known) = self.figures.postings.get(phrase) {
            return Ok(Arc::clone(known));
        }
        let (_, average) = self.size()?;
        let mut statement = self.db.prepare_cached(match self.table {
            Table::Words => "SELECT occurrences(words) FROM words WHERE words MATCH ?1 LIMIT 1",
            Table::Pieces => "SELECT occurrences(pieces) FROM pieces WHERE pieces MATCH ?1 LIMIT 1",
        })?;
        let mut rows = statement.query([phrase])?;
        let mut postings = Vec::new();
        if let Some(row) = rows.next()? {
            let answer = row.get_ref(0)?.as_blob().map_err(|error| Error::internal(error.to_string()))?;
            postings.reserve_exact(answer.len() / size_of::<Posting>());
            for (key, count) in occurrences::pairs(answer) {
                let (count, length) = (as_number(count), K1 * (1.0 - B + B * self.length(key)? / average));
                postings.push(Posting { key, weight: count * (K1 + 1.0) / (count + length) });
            }
        }
        let postings: Arc<[Posting]> = postings.into();
        let figures = &mut *self.figures;
        if postings.len() <= POSTINGS / 8 {
            if figures.remembered + postings.len() > POSTINGS {
                figures.postings.clear();
                figures.remembered = 0;
            }
            figures.remembered += postings.len();
            figures.postings.insert(phrase.to_owned(), Arc::clone(&postings));
        }
        Ok(postings)
    }

    /// What a phrase that `found` rows have is worth. As FTS5: one that more than half of the rows have is worth next to
    /// nothing, never less.
    pub(super) fn worth(&mut self, found: u32) -> Result<f64> {
        let (rows, found) = (self.size()?.0, f64::from(found));
        Ok(((rows.max(found) - found + 0.5) / (found + 0.5)).ln().max(1e-6))
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
    fn integers_of_variable_length() {
        let all: Vec<i64> = Varints(&[0, 0x7f, 0x81, 0x00, 0x82, 0x01]).collect();
        assert_eq!(all, [0, 127, 128, 257]);
        assert_eq!(Varints(&[0x81]).next(), None, "cut off");
    }
}
