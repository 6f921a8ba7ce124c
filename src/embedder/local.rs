//! A model file in this process: loaded on first use, and dropped after a while without one. Documents are embedded
//! on threads of low priority that give way to queries between batches.

use std::{
    path::Path,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use super::{
    Availability, Embedder, Figures, Identity, Priority,
    location::Places,
    model::Model,
    no_model,
    recent::Recent,
    residence::{self, Residence},
};
use crate::{
    error::{Code, Error, Result},
    settings,
};

/// How long a batch of documents gives way to queries at most, so that the index moves on under any load.
const LONGEST_WAY: Duration = Duration::from_secs(1);

/// An embedder with a model of its own.
pub struct Local {
    identity: Identity,
    residence: Residence,
    recent: Mutex<Recent>,
    queries: Queries,
    embedded: AtomicU64,
    closed: AtomicBool,
}

impl Local {
    /// As `settings` say. Reads nothing yet.
    pub fn new(settings: &settings::Model, data_dir: &Path) -> Self {
        let identity = Identity::of(settings);
        let places = Places::of(settings, data_dir);
        Self {
            residence: Residence::new(places, identity.clone(), settings.threads, settings.idle),
            identity,
            recent: Mutex::new(Recent::new(settings.query_cache_bytes)),
            queries: Queries::default(),
            embedded: AtomicU64::new(0),
            closed: AtomicBool::new(false),
        }
    }

    fn open_for_documents(&self) -> Result<()> {
        if self.closed.load(Ordering::Acquire) { Err(Error::disposed("memory")) } else { Ok(()) }
    }

    fn run(&self, texts: &[&str], priority: Priority) -> Result<Vec<Vec<f32>>> {
        self.residence.with(|model| match priority {
            Priority::Query => self.for_query(model, texts),
            Priority::Document => model.for_documents(texts, || {
                self.queries.give_way();
                self.open_for_documents()
            }),
        })?
    }

    fn for_query(&self, model: &Model, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        let _first = self.queries.one_more();
        model.for_query(texts)
    }

    /// Notes how it went.
    fn made(&self, made: Result<Vec<Vec<f32>>>) -> Result<Vec<Vec<f32>>> {
        let vectors = made.inspect_err(|error| {
            if error.code == Code::NoModel {
                self.residence.note(error);
            }
        })?;
        self.embedded.fetch_add(u64::try_from(vectors.len()).unwrap_or(0), Ordering::Relaxed);
        Ok(vectors)
    }

    fn recent(&self) -> MutexGuard<'_, Recent> {
        self.recent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers the vector of a query, the only one of `made`.
    fn remember(&self, text: &str, mut made: Vec<Vec<f32>>) -> Result<Arc<[f32]>> {
        let vector: Arc<[f32]> = made.pop().ok_or_else(|| no_model("the model made no vector"))?.into();
        self.recent().put(text, &vector);
        Ok(vector)
    }
}

impl Embedder for Local {
    fn identity(&self) -> &Identity {
        &self.identity
    }

    fn availability(&self) -> Availability {
        let stay = self.residence.stay();
        if stay.loaded {
            Availability::Loaded
        } else if let Some(reason) = stay.failure {
            Availability::Missing { reason }
        } else if self.residence.places().present().is_empty() {
            Availability::Missing { reason: residence::missing(&self.identity.name, self.residence.places()) }
        } else {
            Availability::Unloaded
        }
    }

    fn embed(&self, texts: &[&str], priority: Priority) -> Result<Vec<Vec<f32>>> {
        if texts.is_empty() {
            return Ok(Vec::new());
        }
        if priority == Priority::Document {
            // Before a model is loaded for nothing.
            self.open_for_documents()?;
        }
        self.made(self.run(texts, priority))
    }

    fn embed_now(&self, texts: &[&str]) -> Result<Option<Vec<Vec<f32>>>> {
        if texts.is_empty() {
            return Ok(Some(Vec::new()));
        }
        self.residence.with_loaded(|model| self.for_query(model, texts)).map(|made| self.made(made)).transpose()
    }

    fn query(&self, text: &str) -> Result<Arc<[f32]>> {
        match self.remembered(text) {
            Some(known) => Ok(known),
            None => self.remember(text, self.embed(&[text], Priority::Query)?),
        }
    }

    fn remembered(&self, text: &str) -> Option<Arc<[f32]>> {
        self.recent().get(text)
    }

    fn query_now(&self, text: &str) -> Result<Option<Arc<[f32]>>> {
        match self.remembered(text) {
            Some(known) => Ok(Some(known)),
            None => self.embed_now(&[text])?.map(|made| self.remember(text, made)).transpose(),
        }
    }

    fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    fn memory_bytes(&self) -> usize {
        self.residence.stay().model_bytes + self.recent().bytes()
    }

    fn figures(&self) -> Figures {
        let availability = self.availability();
        let stay = self.residence.stay();
        Figures {
            availability,
            file: stay.file.or_else(|| self.residence.places().present().into_iter().next()),
            storage: stay.storage,
            model_bytes: stay.model_bytes,
            query_cache_bytes: self.recent().bytes(),
            loads: stay.loads,
            embedded: self.embedded.load(Ordering::Relaxed),
            last_error: stay.last_error,
        }
    }
}

/// Queries that are being embedded.
#[derive(Default)]
struct Queries {
    running: Mutex<usize>,
    ended: Condvar,
}

impl Queries {
    fn one_more(&self) -> Running<'_> {
        *self.running.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        Running(self)
    }

    /// Waits until none is running, within bounds.
    fn give_way(&self) {
        let running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.ended.wait_timeout_while(running, LONGEST_WAY, |running| *running > 0));
    }
}

struct Running<'a>(&'a Queries);

impl Drop for Running<'_> {
    fn drop(&mut self) {
        *self.0.running.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        self.0.ended.notify_all();
    }
}
