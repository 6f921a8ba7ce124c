//! Opens the parts, in order.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{Arc, Mutex, PoisonError, atomic::Ordering},
    time::Instant,
};

use super::{
    Memory,
    close::{Closing, OpenCount},
    ownership::Ownership,
    shared_database::SharedDatabase,
};
use crate::{
    client,
    db::{Budget, activity::Activity, connection, layout::Layout},
    embedder::{self, Embedder},
    error::{Error, Result},
    fault,
    health::Sampler,
    index::{self, Index, collections::Collections},
    job::Jobs,
    parts::Part,
    queue::{Directory, OwnFile, Queue, Queues, SharedFile, engine::Parts, open_storage},
    reply::Reply,
    settings::{Role, Settings},
};

impl Memory {
    /// Opens a data directory on a thread of its own. `activity` tells when that thread and those of the memory have
    /// ended.
    pub fn open(settings: Settings, activity: Arc<Activity>, reply: Reply<Arc<Self>>) {
        let shared = Arc::new(Mutex::new(Some(reply)));
        let mine = Arc::clone(&shared);
        let take = |slot: &Mutex<Option<Reply<Arc<Self>>>>| slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        let running = activity.thread();
        let spawned = std::thread::Builder::new().name("cm-open".into()).spawn(move || {
            let opened = catch_unwind(AssertUnwindSafe(|| Self::open_with(settings, activity)))
                .unwrap_or_else(|payload| Err(Error::from_panic("openMemory", &*payload)));
            if let Some(reply) = take(&mine) {
                reply.settle(opened);
            }
            drop(running);
        });
        if let Err(error) = spawned
            && let Some(reply) = take(&shared)
        {
            reply.settle(Err(error.into()));
        }
    }

    /// Opens a data directory on this thread.
    ///
    /// # Errors
    /// `ERR_LOCKED`, `ERR_SCHEMA_UNSUPPORTED`, `ERR_CORRUPT`, `ERR_IO`, `ERR_DISK_FULL`, `ERR_BUSY`.
    pub fn open_here(settings: Settings) -> Result<Arc<Self>> {
        Self::open_with(settings, Arc::default())
    }

    fn open_with(settings: Settings, activity: Arc<Activity>) -> Result<Arc<Self>> {
        if settings.role == Role::Client {
            return Self::open_client(settings, activity);
        }
        let settings = Arc::new(settings);
        let layout = Layout::new(settings.data_dir.clone());
        let owner = Arc::new(Ownership::take(&layout, &settings)?);
        let parts = settings.parts;
        let budget = Arc::new(Budget::new(settings.max_in_flight_bytes));
        // The lock ends with the last of the threads that write, also where the handle is only
        // garbage-collected.
        let guard: Arc<dyn Any + Send + Sync> = Arc::clone(&owner) as _;
        let embedder = embedder_of(&settings);
        let collections = open_collections(&settings, embedder.as_ref(), &budget, &activity, Some(&guard))?;
        let store = if parts.has(Part::Store) {
            // With a queue it is that one's thread which ends last.
            let alone = (!parts.has(Part::Queue)).then(|| Arc::clone(&guard));
            Some(SharedDatabase::open(&layout, &settings, &budget, &activity, alone)?)
        } else {
            None
        };
        fault::point("openMemory");
        let queue = if parts.has(Part::Queue) {
            let directory: Box<dyn Directory> = match &store {
                Some(store) => {
                    let look_ups = connection::open_reader(&layout.database())?;
                    Box::new(SharedFile::new(look_ups, Arc::clone(&store.writer)))
                }
                None => Box::new(OwnFile),
            };
            let queue_db = open_storage(&layout.queue(), settings.secure_delete)?;
            Some(Arc::new(Queues::Owner(Queue::open(Parts {
                settings: Arc::clone(&settings),
                queue_db,
                watched: connection::open_reader(&layout.queue())?,
                directory,
                budget: Arc::clone(&budget),
                activity: Arc::clone(&activity),
                guard: Arc::clone(&guard),
            })?)))
        } else {
            None
        };
        let index = open_index(&settings, embedder.as_ref(), store.as_ref(), &activity, Some(guard))?;
        let sampler = Arc::new(Sampler::new(&layout));
        let memory = Arc::new(Self {
            settings,
            store,
            queue,
            embedder,
            collections,
            index,
            budget,
            activity,
            sampler,
            jobs: Jobs::default(),
            owner: Mutex::new(Some(owner)),
            closing: Mutex::new(Closing::Open),
            open: OpenCount::one_more(),
            opened: Instant::now(),
        });
        memory.sample();
        Ok(memory)
    }

    /// Opens nothing but what it looks at; see [`client`].
    fn open_client(settings: Settings, activity: Arc<Activity>) -> Result<Arc<Self>> {
        let settings = Arc::new(settings);
        let budget = Arc::new(Budget::new(settings.max_in_flight_bytes));
        let client::Parts { store, queue } = client::open(&settings, &budget, &activity)?;
        let sampler = Arc::new(Sampler::new(&Layout::new(settings.data_dir.clone())));
        let store =
            store.map(|(readers, writer)| SharedDatabase { readers: Arc::new(readers), writer: Arc::new(writer) });
        let embedder = embedder_of(&settings);
        let collections = open_collections(&settings, embedder.as_ref(), &budget, &activity, None)?;
        let index = open_index(&settings, embedder.as_ref(), store.as_ref(), &activity, None)?;
        Ok(Arc::new(Self {
            settings,
            store,
            queue: queue.map(|queue| Arc::new(Queues::Client(Box::new(queue)))),
            embedder,
            collections,
            index,
            budget,
            activity,
            sampler,
            jobs: Jobs::default(),
            owner: Mutex::new(None),
            closing: Mutex::new(Closing::Open),
            open: OpenCount::one_more(),
            opened: Instant::now(),
        }))
    }
}

/// With the part `vectors`; no model is loaded here.
fn embedder_of(settings: &Settings) -> Option<Arc<dyn Embedder>> {
    settings.parts.has(Part::Vectors).then(|| embedder::open_for(settings))
}

/// Part `vectors`: the caller's own documents.
fn open_collections(
    settings: &Arc<Settings>,
    embedder: Option<&Arc<dyn Embedder>>,
    budget: &Arc<Budget>,
    activity: &Arc<Activity>,
    guard: Option<&Arc<dyn Any + Send + Sync>>,
) -> Result<Option<Arc<Collections>>> {
    let Some(embedder) = embedder else { return Ok(None) };
    let opened = Collections::open(settings, Arc::clone(embedder), budget, activity, guard.map(Arc::clone))?;
    Ok(Some(Arc::new(opened)))
}

/// The index of the tables, where there are both.
fn open_index(
    settings: &Arc<Settings>,
    embedder: Option<&Arc<dyn Embedder>>,
    store: Option<&SharedDatabase>,
    activity: &Arc<Activity>,
    guard: Option<Arc<dyn Any + Send + Sync>>,
) -> Result<Option<Arc<Index>>> {
    let (Some(embedder), Some(store)) = (embedder, store) else { return Ok(None) };
    // Weakly: a memory that is only garbage-collected lets its writer end first.
    let writer = Arc::downgrade(&store.writer);
    Ok(Some(Arc::new(Index::open(index::Parts {
        settings: Arc::clone(settings),
        embedder: Arc::clone(embedder),
        own_commits: Box::new(move || {
            writer.upgrade().map_or(0, |writer| writer.figures().commits.load(Ordering::Relaxed))
        }),
        activity: Arc::clone(activity),
        guard,
    })?)))
}
