//! The caller embeds: there is no model here, only what its vectors are called.

use std::sync::Arc;

use super::{Availability, Embedder, Identity, Priority, no_model};
use crate::{
    error::{Error, Result},
    settings,
};

/// An embedder that cannot embed.
pub struct External {
    identity: Identity,
}

impl External {
    /// For vectors as `settings` describe them.
    pub fn new(settings: &settings::Model) -> Self {
        Self {
            identity: Identity {
                name: settings.name.clone(),
                dimensions: settings.dimensions,
                pooling: "external".to_owned(),
                max_tokens: settings.max_tokens,
            },
        }
    }
}

fn refusal() -> Error {
    no_model("texts are not embedded here: the memory was opened with embedder: 'external'; hand vectors over instead")
}

impl Embedder for External {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn availability(&self) -> Availability {
        Availability::External
    }

    fn embed(&self, _: &[&str], _: Priority) -> Result<Vec<Vec<f32>>> {
        Err(refusal())
    }

    fn query(&self, _: &str) -> Result<Arc<[f32]>> {
        Err(refusal())
    }

    fn memory_bytes(&self) -> usize {
        0
    }
}

#[test]
fn an_external_embedder_says_who_embeds() {
    use std::path::Path;

    let mut settings = crate::settings::Settings::new("").model;
    (settings.external, settings.name, settings.dimensions) = (true, "mine".to_owned(), 8);
    let embedder = super::open(&settings, Path::new(""));
    assert_eq!(embedder.availability(), Availability::External);
    assert_eq!((embedder.identity().name.as_str(), embedder.identity().dimensions), ("mine", 8));
    for error in [embedder.query("x").unwrap_err(), embedder.embed(&["x"], Priority::Document).unwrap_err()] {
        assert_eq!(error.code, crate::error::Code::NoModel);
        assert!(error.message.contains("hand vectors over"), "{error}");
    }
}
