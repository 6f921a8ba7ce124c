//! Keeps a model in memory while it is used, and no longer: loaded by whoever needs it first, dropped after a while
//! without use by a thread that lives as long as the model does.

use std::{
    path::PathBuf,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use super::{
    DEFAULT_MODEL, Identity,
    location::{Places, Stamp},
    model::Model,
    no_model,
};
use crate::error::{Error, Result};

/// How long a failure stands while the files stay as they are; not for ever, since it may have been a lack of memory.
const FAILURE_STANDS: Duration = Duration::from_secs(60);

/// A model that comes and goes.
pub struct Residence {
    shared: Arc<Shared>,
    dropper: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    places: Places,
    identity: Identity,
    threads: usize,
    idle: Duration,
    state: Mutex<State>,
    /// A load has ended, a user has gone, or the residence closes.
    changed: Condvar,
}

#[derive(Default)]
struct State {
    model: Option<Arc<Model>>,
    loading: bool,
    closing: bool,
    users: usize,
    last_use: Option<Instant>,
    failure: Option<Failure>,
    /// The file that is loaded, or was last.
    file: Option<PathBuf>,
    storage: Option<&'static str>,
    last_error: Option<String>,
    loads: u64,
}

struct Failure {
    error: Error,
    at: Instant,
    stamps: Vec<Stamp>,
}

/// What health shows of a residence.
pub struct Stay {
    /// Whether the model is in memory.
    pub loaded: bool,
    /// Why it cannot be, where that is known.
    pub failure: Option<String>,
    /// See [`super::Figures`].
    pub file: Option<PathBuf>,
    /// See [`super::Figures`].
    pub storage: Option<&'static str>,
    /// See [`super::Figures`].
    pub model_bytes: usize,
    /// See [`super::Figures`].
    pub loads: u64,
    /// See [`super::Figures`].
    pub last_error: Option<String>,
}

impl Residence {
    /// For a model that lies in one of `places`. Reads nothing yet.
    pub fn new(places: Places, identity: Identity, threads: usize, idle: Duration) -> Self {
        let shared = Shared { places, identity, threads, idle, state: Mutex::default(), changed: Condvar::new() };
        Self { shared: Arc::new(shared), dropper: Mutex::new(None) }
    }

    /// Does something with the model, which is loaded where it is not, and stays until that is done.
    ///
    /// # Errors
    /// `ERR_NO_MODEL` with the reason.
    pub fn with<R>(&self, work: impl FnOnce(&Model) -> R) -> Result<R> {
        // In this order, so that the reference goes before the visit is over, also in a panic: the last one is that
        // of the thread that drops the model and gives its pages back.
        let (_visit, model) = self.enter()?;
        Ok(work(&model))
    }

    /// As [`Self::with`] where the model is loaded already; `None` where it is not. Whether it is, and that it stays, is
    /// found out under one lock: it cannot be dropped in between.
    pub fn with_loaded<R>(&self, work: impl FnOnce(&Model) -> R) -> Option<R> {
        let mut state = self.shared.lock();
        let model = Arc::clone(state.model.as_ref()?);
        state.users += 1;
        drop(state);
        let (_visit, model) = (Visit(&self.shared), model);
        Some(work(&model))
    }

    fn enter(&self) -> Result<(Visit<'_>, Arc<Model>)> {
        let shared = &*self.shared;
        let mut state = shared.lock();
        loop {
            if let Some(model) = &state.model {
                let model = Arc::clone(model);
                state.users += 1;
                return Ok((Visit(shared), model));
            }
            if !state.loading {
                break;
            }
            // Somebody else loads it: it is there, or has failed, when they are done.
            state = shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let stamps = shared.places.stamps();
        if let Some(failure) = state.failure.as_ref().filter(|failure| failure.stands(&stamps)) {
            return Err(failure.error.clone());
        }
        state.loading = true;
        drop(state);
        let loaded = shared.load();
        let mut state = shared.lock();
        state.loading = false;
        let answer = match loaded {
            Ok((model, file, overlooked)) => {
                let model = Arc::new(model);
                (state.storage, state.file) = (Some(model.storage()), Some(file));
                (state.failure, state.last_error) = (None, overlooked);
                state.model = Some(Arc::clone(&model));
                state.loads += 1;
                state.users += 1;
                Ok((Visit(shared), model))
            }
            Err(error) => {
                state.last_error = Some(error.message.clone());
                state.failure = Some(Failure { error: error.clone(), at: Instant::now(), stamps });
                Err(error)
            }
        };
        drop(state);
        shared.changed.notify_all();
        if answer.is_ok() {
            self.start_dropper();
        }
        // What was needed to read the file.
        crate::allocator::give_pages_back();
        answer
    }

    /// How it does. Looks for files at most.
    pub fn stay(&self) -> Stay {
        let state = self.shared.lock();
        let failure = match &state.model {
            Some(_) => None,
            None => state.failure.as_ref().filter(|failure| failure.stands(&self.shared.places.stamps())),
        };
        Stay {
            loaded: state.model.is_some(),
            failure: failure.map(|failure| failure.error.message.clone()),
            file: state.file.clone(),
            storage: state.storage,
            model_bytes: state.model.as_ref().map_or(0, |model| model.weights_bytes()),
            loads: state.loads,
            last_error: state.last_error.clone(),
        }
    }

    /// The places where it is looked for.
    pub fn places(&self) -> &Places {
        &self.shared.places
    }

    /// Remembers that the model failed while it ran.
    pub fn note(&self, error: &Error) {
        self.shared.lock().last_error = Some(error.message.clone());
    }

    /// Starts the thread that drops the model. Where none can be started the model stays until the residence ends.
    fn start_dropper(&self) {
        let shared = Arc::clone(&self.shared);
        let started = std::thread::Builder::new().name("cm-model".into()).spawn(move || shared.drop_when_idle());
        let mut dropper = self.dropper.lock().unwrap_or_else(PoisonError::into_inner);
        let before = std::mem::replace(&mut *dropper, started.ok());
        drop(dropper);
        // That of the load before: it has dropped its model, or there would have been no load.
        if let Some(before) = before {
            drop(before.join());
        }
    }
}

impl Drop for Residence {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.changed.notify_all();
        if let Some(dropper) = self.dropper.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            drop(dropper.join());
        }
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The first file that is a model, and why those before it are none.
    fn load(&self) -> Result<(Model, PathBuf, Option<String>)> {
        let mut first: Option<Error> = None;
        for file in self.places.present() {
            match Model::load(&file, &self.identity, self.threads) {
                Ok(model) => return Ok((model, file, first.map(|error| error.message))),
                Err(error) => first = first.or(Some(error)),
            }
        }
        Err(first.unwrap_or_else(|| no_model(missing(&self.identity.name, &self.places))))
    }

    fn drop_when_idle(&self) {
        let mut state = self.lock();
        while !state.closing {
            let rest = match state.last_use {
                Some(last) if state.users == 0 => self.idle.saturating_sub(last.elapsed()),
                // Whoever goes last wakes this thread.
                _ => Duration::MAX,
            };
            if rest.is_zero() {
                break;
            }
            state = if rest == Duration::MAX {
                self.changed.wait(state).unwrap_or_else(PoisonError::into_inner)
            } else {
                self.changed.wait_timeout(state, rest).unwrap_or_else(PoisonError::into_inner).0
            };
        }
        let model = state.model.take();
        drop(state);
        drop(model);
        crate::allocator::give_pages_back();
    }
}

impl Failure {
    fn stands(&self, stamps: &[Stamp]) -> bool {
        self.stamps == stamps && self.at.elapsed() < FAILURE_STANDS
    }
}

/// Somebody who uses the model, until they leave.
struct Visit<'a>(&'a Shared);

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        let mut state = self.0.lock();
        state.users -= 1;
        state.last_use = Some(Instant::now());
        if state.users == 0 {
            drop(state);
            self.0.changed.notify_all();
        }
    }
}

/// Why there is no model, and what helps.
pub fn missing(name: &str, places: &Places) -> String {
    let looked = places.all().iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(", ");
    let package = if name == DEFAULT_MODEL {
        "install claude-mem-native-model-all-minilm-l6-v2 beside this package, "
    } else {
        ""
    };
    format!(
        "there is no file of the model '{name}': looked for {looked}; {package}put it there (in a clone `npm run model` \
         does), or name its folder with the option modelDir or the variable CLAUDE_MEM_MODEL_DIR"
    )
}
