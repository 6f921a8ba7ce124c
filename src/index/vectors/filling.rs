//! Reading a whole table into memory.

use super::{Row, State, VectorIndex, vector};
use crate::error::Result;

/// What is shown each row of a table.
pub type Visit<'a> = &'a mut dyn FnMut(Row<'_>) -> Result<()>;

impl VectorIndex {
    /// Reads the whole table into memory, in place of what is there. Nobody may put or remove meanwhile; searches are
    /// answered as before until it is done. Answers how many vectors there are in memory: none where they are more
    /// than the budget.
    ///
    /// # Errors
    /// Those of the [`Source`]; `ERR_CORRUPT` for a stored vector that is none. What was there stays.
    pub fn fill(&self) -> Result<usize> {
        match &self.shared.source {
            Some(source) => self.fill_from(|visit| source.scan(visit)),
            None => Ok(self.len()),
        }
    }

    /// As [`Self::fill`], of a table that `scan` shows as [`Source::scan`](super::Source::scan) does: for an index that keeps
    /// none, and is made of what a transaction sees. Of more than the budget nothing is in memory afterwards
    /// ([`State::FromFile`]), and such an index cannot be searched.
    ///
    /// # Errors
    /// As [`Self::fill`].
    pub fn fill_from(&self, scan: impl FnOnce(Visit<'_>) -> Result<()>) -> Result<usize> {
        let shared = &self.shared;
        let mut filled = shared.read().emptied(shared.settings.precision);
        let mut vector = vec![0.0; shared.dimensions];
        let mut fits = true;
        scan(&mut |row| {
            if fits {
                vector::read_blob(row.blob, &mut vector)?;
                filled.put(row.id, row.group, &vector)?;
                fits = !filled.slots.len().is_multiple_of(1_024) || filled.keep_within_budget();
            }
            Ok(())
        })?;
        filled.loaded = fits && filled.keep_within_budget();
        if !filled.loaded {
            filled = filled.emptied(shared.settings.precision);
        }
        let count = filled.slots.live();
        *shared.write() = filled;
        shared.build_in_background();
        Ok(count)
    }

    /// Whether its vectors are in memory.
    #[must_use]
    pub fn is_in_memory(&self) -> bool {
        self.state() != State::FromFile
    }
}
