//! The vectors of queries: on a reader where nothing has to be waited for, else on the [`WaitingLine`].

use std::sync::{Arc, atomic::Ordering};

use super::Index;
use crate::{
    embedder::{Embedder, WaitingLine},
    error::Result,
    reply::wait,
};

impl Index {
    /// What makes vectors of texts.
    #[must_use]
    pub fn embedder(&self) -> &Arc<dyn Embedder> {
        &self.shared.embedder
    }

    /// Where searches wait for vectors that cannot be had at once.
    #[must_use]
    pub const fn waiting_line(&self) -> &WaitingLine {
        &self.waiting_line
    }

    /// The vector of a query, for a reader; `None` where others would wait for it too long: see [`WaitingLine::here`].
    ///
    /// # Errors
    /// As [`Index::query_vector`].
    pub fn query_vector_now(&self, text: &str) -> Result<Option<Arc<[f32]>>> {
        if !self.knows_whose_vectors() {
            return Ok(None);
        }
        let embedder = &self.shared.embedder;
        match embedder.remembered(text) {
            Some(known) => Ok(Some(known)),
            None => self.waiting_line.here(|| embedder.query_now(text)),
        }
    }

    /// The vectors of some texts, for a reader; `None` where others would wait for them too long.
    ///
    /// # Errors
    /// `ERR_NO_MODEL` with the reason.
    pub fn embed_now(&self, texts: &[&str]) -> Result<Option<Vec<Vec<f32>>>> {
        self.waiting_line.here(|| self.shared.embedder.embed_now(texts))
    }

    /// Whether the model in use was compared with that of the stored vectors; a client leaves that to the owner.
    fn knows_whose_vectors(&self) -> bool {
        !self.writes() || self.shared.verified.load(Ordering::Acquire)
    }

    /// The vector of a query. Waits for the model: not for the JS thread, and not for a reader. Before the first one the
    /// model is compared with that of the stored vectors; if it is another they are owed again from then on.
    ///
    /// # Errors
    /// `ERR_NO_MODEL` with the reason.
    pub fn query_vector(&self, text: &str) -> Result<Arc<[f32]>> {
        if !self.knows_whose_vectors() {
            let probes = self.shared.embedder.probes()?;
            wait(|reply| self.run("a search", move |indexer| indexer.verify(&probes), reply))?;
        }
        self.shared.embedder.query(text)
    }
}
