//! The semantic leg: rows with a document near the query.

use super::scope::Scope;
use crate::{
    error::Result,
    index::{
        document::RowKey,
        vectors::{Allowed, By, Hit, VectorIndex},
    },
};

/// A row and its nearest document.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Near {
    /// Which row.
    pub key: RowKey,
    /// The number of the document.
    pub document: i64,
    /// 1 − cosine.
    pub distance: f32,
}

impl From<Hit> for Near {
    fn from(hit: Hit) -> Self {
        Self { key: RowKey(hit.group), document: hit.id, distance: hit.distance }
    }
}

/// The `count` rows within `scope` that are nearest to `query`, nearest first.
pub(super) fn nearest(vectors: &VectorIndex, query: &[f32], count: usize, scope: &Scope) -> Result<Vec<Near>> {
    let allowed = match scope {
        Scope::All => Allowed::All,
        Scope::Groups { groups, .. } => Allowed::Groups(groups),
    };
    Ok(vectors.nearest(query, count, By::Group, allowed)?.into_iter().map(Near::from).collect())
}

/// Each row's nearest document, exactly; `None` for a row without a vector.
pub(super) fn best_of(vectors: &VectorIndex, query: &[f32], rows: &[RowKey]) -> Result<Vec<Option<Near>>> {
    let groups: Vec<i64> = rows.iter().map(|key| key.0).collect();
    Ok(vectors.best_of(query, &groups)?.into_iter().map(|hit| hit.map(Near::from)).collect())
}
