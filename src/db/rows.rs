//! Rows as they travel from a database thread to whoever asked.

use std::{
    cell::RefCell,
    collections::HashMap,
    hash::{DefaultHasher, Hasher},
    sync::Arc,
};

use rusqlite::{Params, Row, Statement, types::ValueRef};

use crate::error::Result;

/// One value of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// SQL NULL.
    Null,
    /// An integer; JavaScript sees a number.
    Integer(i64),
    /// A float.
    Real(f64),
    /// Text; bytes that are no UTF-8 are replaced by U+FFFD, so that reading never fails.
    Text(Box<str>),
}

impl From<ValueRef<'_>> for Cell {
    fn from(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Null => Self::Null,
            ValueRef::Integer(integer) => Self::Integer(integer),
            ValueRef::Real(real) => Self::Real(real),
            // No table of the contract has a BLOB column; one that somebody wrote there is read as text.
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Self::Text(match str::from_utf8(bytes) {
                // Checked many bytes at a time, which replacing is not.
                Ok(text) => text.into(),
                Err(_) => String::from_utf8_lossy(bytes).into(),
            }),
        }
    }
}

/// Names of the columns of a statement.
pub type Columns = Arc<[Box<str>]>;

/// Lists of column names that a thread remembers. The statements of this crate have some fifty.
const REMEMBERED: usize = 256;

thread_local! {
    static COLUMNS: RefCell<HashMap<u64, Columns>> = RefCell::default();
}

/// The column names of `statement`: the list of the last time where the names are the same, so that a read makes no
/// texts for them, and whoever makes objects of its rows knows the list again by its address.
fn columns_of(statement: &Statement<'_>) -> Columns {
    let width = statement.column_count();
    let names = || (0..width).map(|column| statement.column_name(column).unwrap_or_default());
    let mut hasher = DefaultHasher::new();
    for name in names() {
        hasher.write(name.as_bytes());
        hasher.write_u8(0xff);
    }
    let hash = hasher.finish();
    COLUMNS.with_borrow_mut(|remembered| {
        if let Some(known) = remembered.get(&hash)
            && known.len() == width
            && known.iter().zip(names()).all(|(known, name)| **known == *name)
        {
            return Arc::clone(known);
        }
        if remembered.len() >= REMEMBERED {
            remembered.clear();
        }
        let columns: Columns = names().map(Box::from).collect();
        remembered.insert(hash, Arc::clone(&columns));
        columns
    })
}

/// Whole rows of one query: column names once, cells row by row.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rows {
    /// Column names, in order; the keys of the JavaScript objects.
    pub columns: Columns,
    /// `columns.len()` cells a row, row by row.
    pub cells: Vec<Cell>,
}

impl Rows {
    /// Runs `statement` and reads every row.
    ///
    /// # Errors
    /// What SQLite answers.
    pub fn query(statement: &mut Statement<'_>, params: impl Params) -> Result<Self> {
        Self::query_each(statement, std::iter::once(params))
    }

    /// Runs `statement` with each of `params`, and reads all rows that come of it.
    ///
    /// # Errors
    /// What SQLite answers.
    pub fn query_each<P: Params>(statement: &mut Statement<'_>, params: impl Iterator<Item = P>) -> Result<Self> {
        let columns = columns_of(statement);
        let mut cells = Vec::new();
        for params in params {
            let mut rows = statement.query(params)?;
            while let Some(row) = rows.next()? {
                Self::read_into(row, columns.len(), &mut cells)?;
            }
        }
        Ok(Self { columns, cells })
    }

    fn read_into(row: &Row<'_>, width: usize, cells: &mut Vec<Cell>) -> Result<()> {
        for column in 0..width {
            cells.push(row.get_ref(column)?.into());
        }
        Ok(())
    }

    /// How many rows.
    #[must_use]
    pub fn len(&self) -> usize {
        self.cells.len().checked_div(self.columns.len()).unwrap_or(0)
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.cells.is_empty()
    }

    /// The rows, one slice of cells each.
    pub fn iter(&self) -> std::slice::ChunksExact<'_, Cell> {
        self.cells.chunks_exact(self.columns.len().max(1))
    }

    /// The place of the column `name`.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|column| &**column == name)
    }

    /// Bytes that the cells hold, for the accounting of answers in flight.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let texts: usize = self.cells.iter().map(|cell| if let Cell::Text(text) = cell { text.len() } else { 0 }).sum();
        texts + self.cells.len() * size_of::<Cell>()
    }
}

impl<'a> IntoIterator for &'a Rows {
    type Item = &'a [Cell];
    type IntoIter = std::slice::ChunksExact<'a, Cell>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}
