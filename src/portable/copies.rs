//! Numbers rows that are equal in everything but their id, so that as many of them come out as went in, and no
//! more however often the file is read.

use std::collections::HashMap;

use rusqlite::Connection;

use super::{fingerprint::Fingerprint, rows::Columns};
use crate::error::Result;

/// Rows with equal ones before them, and how many. Only rows that share a millisecond are looked at, one
/// millisecond's at a time.
pub fn of_rows(db: &Connection, columns: &Columns) -> Result<HashMap<i64, u32>> {
    let table = columns.table;
    let mut shared =
        db.prepare(&format!("SELECT created_at_epoch FROM {table} GROUP BY created_at_epoch HAVING count(*) > 1"))?;
    let mut of_moment =
        db.prepare(&format!("SELECT id, {} FROM {table} WHERE created_at_epoch = ?1 ORDER BY id", columns.list()))?;
    let mut copies = HashMap::new();
    let mut moments = shared.query([])?;
    while let Some(moment) = moments.next()? {
        let epoch: rusqlite::types::Value = moment.get(0)?;
        let mut counts = Counts::default();
        let mut rows = of_moment.query([epoch])?;
        while let Some(row) = rows.next()? {
            let mut print = Fingerprint::new();
            for column in 1..=columns.names.len() {
                print = print.value(row.get_ref(column)?);
            }
            let copy = counts.next(print);
            if copy > 0 {
                copies.insert(row.get(0)?, copy);
            }
        }
    }
    Ok(copies)
}

/// Counts equals as they come.
#[derive(Debug, Default)]
pub struct Counts(HashMap<Fingerprint, u32>);

impl Counts {
    /// How many equal ones came before.
    pub fn next(&mut self, print: Fingerprint) -> u32 {
        let count = self.0.entry(print).or_default();
        *count += 1;
        *count - 1
    }

    /// How many have come.
    pub fn of(&self, print: Fingerprint) -> u32 {
        self.0.get(&print).copied().unwrap_or(0)
    }
}
