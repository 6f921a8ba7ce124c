//! The semantic leg: rows with a document near the query.

use super::scope::Scope;
use crate::index::{
    document::RowKey,
    vectors::{Allowed, By, Hit, VectorIndex},
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
