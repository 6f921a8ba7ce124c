//! Vectors that the caller makes, with a model of its own.

use super::{
    Index,
    document::DocumentId,
    indexer::{Given, Put},
    vectors::vector,
};
use crate::{
    error::{Code, Error, Result},
    reply::Reply,
};

/// A document whose vector the caller owes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Its name.
    pub document: DocumentId,
    /// Of its text: another text of the same document has another.
    pub revision: i64,
    /// What to embed.
    pub text: String,
}

impl Index {
    /// Documents that wait for vectors of the caller, newest first, with their texts.
    pub fn pending(&self, limit: usize, reply: Reply<Vec<Pending>>) {
        self.run("vectors.pending()", move |indexer| indexer.pending(limit), reply);
    }

    /// Whether the caller may hand vectors over.
    ///
    /// # Errors
    /// `ERR_MODEL_MISMATCH` where vectors are made here.
    pub fn must_be_external(&self) -> Result<()> {
        if self.shared.settings.model.external {
            return Ok(());
        }
        let message = "vectors are made by the engine itself (embedder: 'local'); open the memory with embedder: 'external' to \
                       hand over those of a model of your own";
        Err(Error::new(Code::ModelMismatch, message))
    }

    /// Stores vectors that the caller has made.
    ///
    /// # Errors
    /// In the reply `ERR_INVALID_ARG` for a vector that is none of this model, naming the document: nothing is stored
    /// then.
    pub fn put(&self, given: Vec<(DocumentId, Option<i64>, Vec<f32>)>, reply: Reply<Put>) {
        let dimensions = self.shared.vectors.dimensions();
        let given = given
            .into_iter()
            .map(|(document, revision, values)| {
                let unit = vector::unit(&values, dimensions)
                    .map_err(|error| Error { message: format!("{document}: {}", error.message), ..error })?;
                Ok(Given { document, revision, blob: vector::to_blob(&unit) })
            })
            .collect::<Result<Vec<_>>>();
        match given {
            Ok(given) => self.run("vectors.put()", move |indexer| indexer.put(given), reply),
            Err(error) => reply.settle(Err(error)),
        }
    }
}
