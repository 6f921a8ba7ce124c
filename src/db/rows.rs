//! Rows as they travel from a database thread to whoever asked.

use std::sync::Arc;

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
            ValueRef::Text(bytes) | ValueRef::Blob(bytes) => Self::Text(String::from_utf8_lossy(bytes).into()),
        }
    }
}

/// Whole rows of one query: column names once, cells row by row.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rows {
    /// Column names, in order; the keys of the JavaScript objects.
    pub columns: Arc<[Box<str>]>,
    /// `columns.len()` cells a row, row by row.
    pub cells: Vec<Cell>,
}

impl Rows {
    /// Runs `statement` and reads every row.
    ///
    /// # Errors
    /// What SQLite answers.
    pub fn query(statement: &mut Statement<'_>, params: impl Params) -> Result<Self> {
        let columns: Arc<[Box<str>]> = statement.column_names().map(Box::from).collect();
        let mut cells = Vec::new();
        let mut rows = statement.query(params)?;
        while let Some(row) = rows.next()? {
            Self::read_into(row, columns.len(), &mut cells)?;
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
