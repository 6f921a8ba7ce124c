//! No model here: the caller embeds, or this is a client that leaves models to the owner.

use std::sync::Arc;

use super::{Availability, Embedder, Identity, Priority, no_model};
use crate::{
    error::{Error, Result},
    settings,
};

/// An embedder that cannot embed, and says why.
pub struct Absent {
    identity: Identity,
    availability: Availability,
    reason: &'static str,
}

impl Absent {
    /// For vectors that the caller hands over.
    pub fn external(settings: &settings::Model) -> Self {
        Self {
            identity: Identity::of(settings),
            availability: Availability::External,
            reason: "texts are not embedded here: the memory was opened with embedder: 'external'; hand vectors over \
                     instead",
        }
    }

    /// For a client that was not told to load a model.
    pub fn client(settings: &settings::Model) -> Self {
        let reason = "a client loads no model: searches go on by keywords; open it with clientModel: true";
        Self {
            identity: Identity::of(settings),
            availability: Availability::Missing { reason: reason.to_owned() },
            reason,
        }
    }

    fn refusal(&self) -> Error {
        no_model(self.reason)
    }
}

impl Embedder for Absent {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn availability(&self) -> Availability {
        self.availability.clone()
    }

    fn embed(&self, _: &[&str], _: Priority) -> Result<Vec<Vec<f32>>> {
        Err(self.refusal())
    }

    fn query(&self, _: &str) -> Result<Arc<[f32]>> {
        Err(self.refusal())
    }

    fn memory_bytes(&self) -> usize {
        0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        error::Code,
        settings::{Role, Settings},
    };

    #[test]
    fn an_external_embedder_says_who_embeds() {
        let mut settings = Settings::new("");
        (settings.model.external, settings.model.name, settings.model.dimensions) = (true, "mine".to_owned(), 8);
        let embedder = super::super::open_for(&settings);
        assert_eq!(embedder.availability(), Availability::External);
        let identity = embedder.identity();
        assert_eq!((identity.name.as_str(), identity.dimensions, identity.pooling.as_str()), ("mine", 8, "external"));
        for error in [embedder.query("x").unwrap_err(), embedder.embed(&["x"], Priority::Document).unwrap_err()] {
            assert_eq!(error.code, Code::NoModel);
            assert!(error.message.contains("hand vectors over"), "{error}");
        }
    }

    #[test]
    fn a_client_has_a_model_only_where_it_was_told_so() {
        let mut settings = Settings::new("");
        settings.role = Role::Client;
        settings.model.directory = Some("nowhere".into());
        let without = super::super::open_for(&settings);
        let Availability::Missing { reason } = without.availability() else { panic!("{:?}", without.availability()) };
        assert!(reason.contains("clientModel"), "{reason}");
        settings.model.for_client = true;
        let with = super::super::open_for(&settings);
        assert!(with.query("x").unwrap_err().message.contains("nowhere"));
        assert_eq!(with.identity(), without.identity());
    }
}
