//! Text in, vectors out: what every embedding model looks like from outside.

#[cfg(test)]
pub(crate) mod testing;

use std::sync::Arc;

use crate::error::Result;

/// What makes two vectors comparable. A file's hash is no part of it: the same model stored with other precision
/// makes the same vectors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The family: `all-MiniLM-L6-v2`, or what the caller calls their own.
    pub name: String,
    /// Numbers in a vector.
    pub dimensions: usize,
    /// How token vectors become one: `mean`, or `external` where the caller hands vectors over.
    pub pooling: String,
    /// Tokens of a text that count at most.
    pub max_tokens: usize,
}

/// Who waits for a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// The indexer: gives way after each small batch.
    Document,
    /// Somebody who searches.
    Query,
}

/// Whether texts can be embedded now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Availability {
    /// The model is in memory.
    Loaded,
    /// A model file was found, and is loaded when it is first needed.
    Unloaded,
    /// There is none, or it cannot be used; searches go on by keywords.
    Missing {
        /// Why, and what helps: for people.
        reason: String,
    },
    /// The caller hands vectors over: texts cannot be embedded here.
    External,
}

/// An embedding model. Its calls block; none is made on a JavaScript thread.
pub trait Embedder: Send + Sync {
    /// What its vectors are comparable with.
    fn identity(&self) -> &Identity;

    /// Whether texts can be embedded. Looks for files at most; does not load the model.
    fn availability(&self) -> Availability;

    /// One vector a text, in the order of `texts`, each of unit length. Loads the model where it is not loaded.
    ///
    /// # Errors
    /// `ERR_NO_MODEL` with the reason.
    fn embed(&self, texts: &[&str], priority: Priority) -> Result<Vec<Vec<f32>>>;

    /// The vector of a query; remembered for a while.
    ///
    /// # Errors
    /// `ERR_NO_MODEL` with the reason.
    fn query(&self, text: &str) -> Result<Arc<[f32]>>;

    /// Bytes of native memory that it holds now: the model, and remembered queries.
    fn memory_bytes(&self) -> usize;
}
