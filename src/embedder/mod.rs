//! Text in, vectors out: what every embedding model looks like from outside, and the two kinds there are. `local`
//! runs a model file in this process; `external` leaves embedding to the caller.

mod absent;
mod batches;
mod local;
mod location;
mod low_priority;
mod model;
mod onnx;
pub mod probes;
mod recent;
#[cfg(test)]
mod reference;
mod residence;
mod table;
#[cfg(test)]
pub(crate) mod testing;
mod tokens;
mod waiting_line;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use self::{absent::Absent, local::Local};
pub use self::{location::packaged_models, waiting_line::WaitingLine};
use crate::{
    error::{Code, Error, Result},
    settings::{self, Role, Settings},
};

/// The model whose vectors the users of claude-mem have already, and the only one whose vocabulary and probe
/// vectors are built in.
pub const DEFAULT_MODEL: &str = "all-MiniLM-L6-v2";

/// What makes two vectors comparable. A file's hash is no part of it: the same model stored with other precision
/// makes the same vectors. Two models that call themselves the same are told apart by their [`probes`].
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

impl Identity {
    /// What `settings` call it.
    fn of(settings: &settings::Model) -> Self {
        Self {
            name: settings.name.clone(),
            dimensions: settings.dimensions,
            pooling: if settings.external { "external" } else { "mean" }.to_owned(),
            max_tokens: settings.max_tokens,
        }
    }
}

/// Who waits for a vector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Priority {
    /// The indexer: runs on threads of low priority, and gives way after each small batch.
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

impl Availability {
    /// What `state` shows.
    #[must_use]
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Loaded => "loaded",
            Self::Unloaded => "unloaded",
            Self::Missing { .. } => "missing",
            Self::External => "external",
        }
    }

    /// Whether `embed` and `query` have a model to work with.
    #[must_use]
    pub const fn can_embed(&self) -> bool {
        matches!(self, Self::Loaded | Self::Unloaded)
    }
}

/// How an embedder does, for `health()`.
#[derive(Debug, Clone, PartialEq)]
pub struct Figures {
    /// Whether it can embed.
    pub availability: Availability,
    /// The file that is in memory, was last, or would be loaded first.
    pub file: Option<PathBuf>,
    /// How that file stores its weights, `fp32`, `fp16` or `int8`, where it has been loaded once.
    pub storage: Option<&'static str>,
    /// Bytes of the weights in memory, matrices also as they are laid out for multiplying; 0 while unloaded.
    pub model_bytes: usize,
    /// Bytes of remembered query vectors, with their texts.
    pub query_cache_bytes: usize,
    /// How often a model was loaded.
    pub loads: u64,
    /// Texts embedded, remembered queries not counted.
    pub embedded: u64,
    /// What went wrong last: also where another file was used instead.
    pub last_error: Option<String>,
}

/// An embedding model. Its calls block; none is made on a JavaScript thread.
pub trait Embedder: Send + Sync {
    /// What its vectors are comparable with.
    fn identity(&self) -> &Identity;

    /// Whether texts can be embedded. Looks for files at most; does not load the model.
    fn availability(&self) -> Availability;

    /// One vector a text, in the order of `texts`, each of unit length. Loads the model where it is not loaded.
    /// They are sorted by length and batched here: hand over a few hundred, documents of all lengths together.
    ///
    /// # Errors
    /// `ERR_NO_MODEL` with the reason; `ERR_DISPOSED` for documents after [`Self::close`].
    fn embed(&self, texts: &[&str], priority: Priority) -> Result<Vec<Vec<f32>>>;

    /// The vector of a query; remembered for a while.
    ///
    /// # Errors
    /// `ERR_NO_MODEL` with the reason.
    fn query(&self, text: &str) -> Result<Arc<[f32]>>;

    /// The vector of a query where it is remembered. Waits for nothing.
    fn remembered(&self, _text: &str) -> Option<Arc<[f32]>> {
        None
    }

    /// As [`Self::query`], but `None` where a model would have to be loaded for it: for threads that others wait for.
    /// One that is in memory stays until it is done.
    ///
    /// # Errors
    /// As [`Self::query`].
    fn query_now(&self, text: &str) -> Result<Option<Arc<[f32]>>> {
        self.query(text).map(Some)
    }

    /// As [`Self::embed`] for a query, but `None` where a model would have to be loaded for it.
    ///
    /// # Errors
    /// As [`Self::embed`].
    fn embed_now(&self, texts: &[&str]) -> Result<Option<Vec<Vec<f32>>>> {
        self.embed(texts, Priority::Query).map(Some)
    }

    /// No document is embedded any more, and what is running ends after its batch: some 100 ms on an idle machine.
    /// For whoever waits for the indexer to end.
    fn close(&self) {}

    /// Bytes of native memory that it holds now: the model, and remembered queries.
    fn memory_bytes(&self) -> usize;

    /// How it does. Looks for files at most.
    fn figures(&self) -> Figures {
        Figures {
            availability: self.availability(),
            file: None,
            storage: None,
            model_bytes: self.memory_bytes(),
            query_cache_bytes: 0,
            loads: 0,
            embedded: 0,
            last_error: None,
        }
    }

    /// The vectors of [`probes::TEXTS`]: to be stored beside the vectors of an index, and compared by
    /// [`probes::same_model`] when it is opened again.
    ///
    /// # Errors
    /// `ERR_NO_MODEL` with the reason.
    fn probes(&self) -> Result<Vec<Vec<f32>>> {
        self.embed(&probes::TEXTS, Priority::Query)
    }
}

/// The embedder that `settings` ask for. Reads no file: a local model is looked for when it is first needed.
#[must_use]
pub fn open(settings: &settings::Model, data_dir: &Path) -> Arc<dyn Embedder> {
    if settings.external { Arc::new(Absent::external(settings)) } else { Arc::new(Local::new(settings, data_dir)) }
}

/// The embedder of a memory: a client has none unless it was told to.
#[must_use]
pub fn open_for(settings: &Settings) -> Arc<dyn Embedder> {
    if settings.role == Role::Client && !settings.model.for_client && !settings.model.external {
        return Arc::new(Absent::client(&settings.model));
    }
    open(&settings.model, &settings.data_dir)
}

/// `ERR_NO_MODEL` with the reason.
fn no_model(reason: impl Into<String>) -> Error {
    Error::new(Code::NoModel, reason)
}

/// Scales a vector to unit length. False where it has no direction: a zero, or something that is no number.
fn normalize(vector: &mut [f32]) -> bool {
    let length = vector.iter().map(|number| f64::from(*number).powi(2)).sum::<f64>().sqrt();
    let usable = length.is_finite() && length > f64::from(f32::MIN_POSITIVE);
    if usable {
        vector.iter_mut().for_each(|number| *number = (f64::from(*number) / length) as f32);
    }
    usable
}
