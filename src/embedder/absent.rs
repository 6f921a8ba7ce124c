//! No model is loaded here, and none is looked for.

use std::sync::Arc;

use super::{Availability, Embedder, Identity, Priority, no_model};
use crate::error::Result;

/// An embedder that refuses with a reason, but knows whose vectors it would make.
pub struct Absent {
    identity: Identity,
    reason: &'static str,
}

impl Absent {
    /// In place of the model called `identity`.
    pub const fn new(identity: Identity, reason: &'static str) -> Self {
        Self { identity, reason }
    }
}

impl Embedder for Absent {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn availability(&self) -> Availability {
        Availability::Missing { reason: self.reason.to_owned() }
    }

    fn embed(&self, _: &[&str], _: Priority) -> Result<Vec<Vec<f32>>> {
        Err(no_model(self.reason))
    }

    fn query(&self, _: &str) -> Result<Arc<[f32]>> {
        Err(no_model(self.reason))
    }

    fn memory_bytes(&self) -> usize {
        0
    }
}
