//! The table that an index is made of, and searching it where its vectors are not in memory.

use std::collections::HashMap;

use super::{Allowed, By, Hit, ranking::Ranking, vector};
use crate::error::Result;

/// One document with a vector, as its table has it.
#[derive(Debug, Clone, Copy)]
pub struct Row<'a> {
    /// Its number.
    pub id: i64,
    /// What it belongs to.
    pub group: i64,
    /// Its vector: [`vector::to_blob`].
    pub blob: &'a [u8],
}

/// The table that an index is derived from. Both methods read what is committed, in one transaction each.
pub trait Source: Send + Sync {
    /// Shows every document that has a vector, in any order; an error of `visit` ends it and is returned.
    ///
    /// # Errors
    /// What SQLite answers.
    fn scan(&self, visit: &mut dyn FnMut(Row<'_>) -> Result<()>) -> Result<()>;

    /// The same of a few groups.
    ///
    /// # Errors
    /// As [`Self::scan`].
    fn of_groups(&self, groups: &[i64], visit: &mut dyn FnMut(Row<'_>) -> Result<()>) -> Result<()>;
}

/// Sets of groups up to this size are asked for; for larger ones the whole table is read.
const FEW: usize = 10_000;

/// Searches that read the table.
pub(super) struct Reading<'a> {
    pub source: &'a dyn Source,
    pub dimensions: usize,
}

impl Reading<'_> {
    pub fn nearest(&self, query: &[f32], k: usize, by: By, allowed: Allowed<'_>) -> Result<Vec<Hit>> {
        let mut ranking = Ranking::new(k, by);
        let mut compare = self.comparing(query);
        let mut visit = |row: Row<'_>| {
            let allowed = match allowed {
                Allowed::All => true,
                Allowed::Groups(groups) => groups.contains(row.group),
                Allowed::Documents(ids) => ids.contains(row.id),
            };
            if allowed {
                ranking.add(compare(row)?);
            }
            Ok(())
        };
        match allowed {
            Allowed::Groups(groups) if groups.len() <= FEW => {
                self.source.of_groups(&groups.iter().collect::<Vec<_>>(), &mut visit)?;
            }
            _ => self.source.scan(&mut visit)?,
        }
        Ok(ranking.finish())
    }

    pub fn best_of(&self, query: &[f32], groups: &[i64]) -> Result<Vec<Option<Hit>>> {
        let mut best = Ranking::new(groups.len(), By::Group);
        let mut compare = self.comparing(query);
        self.source.of_groups(groups, &mut |row| {
            best.add(compare(row)?);
            Ok(())
        })?;
        let found: HashMap<i64, Hit> = best.finish().into_iter().map(|hit| (hit.group, hit)).collect();
        Ok(groups.iter().map(|group| found.get(group).copied()).collect())
    }

    fn comparing(&self, query: &[f32]) -> impl FnMut(Row<'_>) -> Result<Hit> {
        let mut vector = vec![0.0; self.dimensions];
        move |row| {
            vector::read_blob(row.blob, &mut vector)?;
            let cosine: f32 = query.iter().zip(&vector).map(|(one, other)| one * other).sum();
            Ok(Hit { id: row.id, group: row.group, distance: 1.0 - cosine })
        }
    }
}
