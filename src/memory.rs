//! Opens, wires and closes the parts, in order.

mod ownership;
mod shared_database;

use std::{
    any::Any,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use self::{ownership::Ownership, shared_database::SharedDatabase};
use crate::{
    client,
    db::{Budget, Readers, Writer, activity::Activity, connection, layout::Layout},
    embedder::{self, Embedder},
    error::{Code, Error, Result},
    fault,
    health::{self, Health, Sampler},
    index::{
        self, Index,
        collections::{self, Collections},
    },
    job::{Job, Jobs},
    parts::Part,
    queue::{Directory, OwnFile, Queue, Queues, SharedFile, client::only_the_owner, engine::Parts, open_storage},
    reply::Reply,
    search::service::Search,
    sessions::{SessionInfo, SessionSnapshot},
    settings::{Role, Settings},
    store::opening::{self, Opening},
};

/// How long dispose waits for what is being written; then SQLite is interrupted.
const CLOSE_BOUND: Duration = Duration::from_secs(6);

/// One open data directory.
pub struct Memory {
    settings: Arc<Settings>,
    /// Part `store`.
    store: Option<SharedDatabase>,
    /// Part `queue`.
    queue: Option<Arc<Queues>>,
    /// Part `vectors`.
    embedder: Option<Arc<dyn Embedder>>,
    /// Part `vectors`.
    collections: Option<Arc<Collections>>,
    /// Parts `vectors` and `store`.
    index: Option<Arc<Index>>,
    budget: Arc<Budget>,
    activity: Arc<Activity>,
    sampler: Arc<Sampler>,
    jobs: Jobs,
    owner: Mutex<Option<Arc<Ownership>>>,
    closing: Mutex<Closing>,
    open: OpenCount,
    opened: Instant,
}

/// Memories that are open in this process.
static OPEN: AtomicUsize = AtomicUsize::new(0);

/// One of them, until it is closed or dropped.
struct OpenCount(AtomicBool);

impl OpenCount {
    fn one_more() -> Self {
        OPEN.fetch_add(1, Ordering::Relaxed);
        Self(AtomicBool::new(true))
    }

    fn one_less(&self) {
        if self.0.swap(false, Ordering::Relaxed) {
            OPEN.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Drop for OpenCount {
    fn drop(&mut self) {
        self.one_less();
    }
}

enum Closing {
    Open,
    Pending(Vec<Reply<()>>),
    Closed,
}

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

    /// What this memory was opened with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The reader threads of `claude-mem.db`.
    ///
    /// # Errors
    /// `ERR_NOT_OPEN` without the part `store`.
    pub fn readers(&self) -> Result<&Readers> {
        self.part(Part::Store, self.store.as_ref()).map(|store| &*store.readers)
    }

    /// The writer thread of `claude-mem.db`.
    ///
    /// # Errors
    /// `ERR_NOT_OPEN` without the part `store`.
    pub fn writer(&self) -> Result<&Writer> {
        self.part(Part::Store, self.store.as_ref()).map(|store| &*store.writer)
    }

    /// The owner's queues and session registry.
    ///
    /// # Errors
    /// `ERR_NOT_OPEN` without the part `queue`, or on a client.
    pub fn queue(&self) -> Result<&Queue> {
        self.queues()?.owner("this")
    }

    /// What of the queues this memory's role has.
    ///
    /// # Errors
    /// `ERR_NOT_OPEN` without the part `queue`.
    pub fn queues(&self) -> Result<&Arc<Queues>> {
        self.part(Part::Queue, self.queue.as_ref())
    }

    /// What makes vectors of texts.
    ///
    /// # Errors
    /// `ERR_NOT_OPEN` without the part `vectors`.
    pub fn embedder(&self) -> Result<&Arc<dyn Embedder>> {
        self.part(Part::Vectors, self.embedder.as_ref())
    }

    /// Documents and vectors of the tables.
    ///
    /// # Errors
    /// `ERR_NOT_OPEN` without the parts `vectors` and `store`; `ERR_DISPOSED`.
    pub fn index(&self) -> Result<&Arc<Index>> {
        if self.is_disposed() {
            return Err(Error::disposed("memory"));
        }
        self.embedder()?;
        self.part(Part::Store, self.index.as_ref())
    }

    /// Search in the index, with the rows of the tables.
    ///
    /// # Errors
    /// As [`Memory::index`].
    pub fn search(&self) -> Result<Search> {
        let index = Arc::clone(self.index()?);
        let store = self.part(Part::Store, self.store.as_ref())?;
        Ok(Search::new(index, Arc::clone(&store.readers)))
    }

    /// Brings the index up to date; see [`Index::sync`].
    ///
    /// # Errors
    /// As [`Memory::index`] and [`Index::sync`].
    pub fn sync_index(&self, rebuild: bool) -> Result<Job<index::sync::Progress, index::sync::Report>> {
        self.index()?.sync(&self.jobs, rebuild)
    }

    /// Takes over the vectors of a Chroma directory; see [`index::takeover`].
    ///
    /// # Errors
    /// As [`Memory::index`] and [`Index::import_chroma`].
    pub fn import_chroma(
        &self,
        directory: PathBuf,
        options: index::chroma::Options,
    ) -> Result<Job<index::takeover::Progress, index::takeover::Report>> {
        self.index()?.import_chroma(&self.jobs, directory, options)
    }

    /// The caller's own documents.
    ///
    /// # Errors
    /// `ERR_NOT_OPEN` without the part `vectors`.
    pub fn collections(&self) -> Result<&Arc<Collections>> {
        self.part(Part::Vectors, self.collections.as_ref())
    }

    /// The same, for a write.
    ///
    /// # Errors
    /// `ERR_NOT_OPEN` without the part `vectors`, or on a client.
    pub fn collections_to_write(&self) -> Result<&Arc<Collections>> {
        let collections = self.collections()?;
        match self.settings.role {
            Role::Owner => Ok(collections),
            Role::Client => Err(collections::only_the_owner()),
        }
    }

    /// An open part. One that is disposed says so itself; one that never was open says so unless the whole memory
    /// is gone.
    fn part<'a, T>(&self, part: Part, open: Option<&'a T>) -> Result<&'a T> {
        open.ok_or_else(
            || if self.is_disposed() { Error::disposed("memory") } else { self.settings.parts.not_open(part) },
        )
    }

    /// Has the disk asked, where the last samples are old.
    fn sample(&self) {
        self.sampler.refresh(self.store.as_ref().map(|store| &*store.readers), self.queue.as_deref());
    }

    /// Long work on this memory: it ends with it.
    #[must_use]
    pub fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    /// What only the owner of the directory may do.
    ///
    /// # Errors
    /// `ERR_NOT_OPEN` on a client.
    pub fn must_own(&self, what: &str) -> Result<()> {
        match self.settings.role {
            Role::Owner => Ok(()),
            Role::Client => Err(only_the_owner(Code::NotOpen, what)),
        }
    }

    /// Whether this memory owns all of its directory and has every part open, as what works on both files needs.
    ///
    /// # Errors
    /// `ERR_NOT_OPEN`, `ERR_DISPOSED`.
    pub fn whole(&self, what: &str) -> Result<()> {
        self.must_own(what)?;
        self.both_files()
    }

    /// Whether this memory has the files of tables and queue open, as its owner or as a client.
    ///
    /// # Errors
    /// `ERR_NOT_OPEN`, `ERR_DISPOSED`.
    pub fn both_files(&self) -> Result<()> {
        self.part(Part::Store, self.store.as_ref())?;
        self.part(Part::Queue, self.queue.as_ref()).map(drop)
    }

    /// Until when a write waits for a lock, where the call says nothing else.
    #[must_use]
    pub fn deadline(&self, of_call: Option<Duration>) -> Instant {
        Instant::now() + of_call.unwrap_or(self.settings.deadline)
    }

    /// Makes a session active: its row, its newest prompt number and prompt. Without the store the session is what
    /// the caller tells of it.
    pub fn initialize_session(self: &Arc<Self>, session_id: i64, given: Initialize, reply: Reply<SessionSnapshot>) {
        let queue = match self.queue() {
            Ok(queue) => queue.clone(),
            Err(error) => return reply.settle(Err(error)),
        };
        let Some(store) = &self.store else {
            let Initialize { user_prompt, prompt_number, claude_session_id, project } = given;
            let reply = Reply::new(move |info: Result<SessionInfo>| {
                reply.settle(info.map(|info| SessionSnapshot { info, user_prompt }));
            });
            return queue.introduce_session(session_id, claude_session_id, project, prompt_number, reply);
        };
        let name = given.claude_session_id;
        let (user_prompt, prompt_number) = (given.user_prompt, given.prompt_number);
        let reply = Reply::new(move |found: Result<Opening>| {
            reply.settle(found.and_then(|opening| {
                let number = prompt_number.or(opening.last_prompt_number);
                let info = queue.activate_session(session_id, &opening.row, number)?;
                Ok(SessionSnapshot { info, user_prompt: user_prompt.or(opening.user_prompt) })
            }));
        });
        let read = move |db: &rusqlite::Connection| {
            let opening = opening::read(db, session_id)?;
            opening.row.must_be(session_id, name.as_deref())?;
            Ok(opening)
        };
        store.readers.call("initializeSession", read, reply);
    }

    /// How this memory does. Waits for no disk: figures from there are sampled and carry their age.
    #[must_use]
    pub fn health(&self) -> Health {
        self.sample();
        Health::collect(health::Sources {
            settings: &self.settings,
            opened: self.opened,
            queue: self.queue.as_deref(),
            store: self.store.as_ref().map(|store| (&*store.writer, &*store.readers)),
            index: self.index.as_ref().map(|index| index.status()),
            collections: self.collections.as_deref(),
            embedder: self.embedder.as_deref(),
            budget: &self.budget,
            activity: &self.activity,
            sampler: &self.sampler,
        })
    }

    /// Ends consumers, lets commits finish, closes the files and gives the directory up. Twice without harm:
    /// every call is answered when it is done.
    pub fn dispose(self: &Arc<Self>, reply: Reply<()>) {
        {
            let mut closing = self.closing.lock().unwrap_or_else(PoisonError::into_inner);
            match &mut *closing {
                Closing::Closed => {
                    drop(closing);
                    return reply.settle(Ok(()));
                }
                Closing::Pending(waiting) => return waiting.push(reply),
                Closing::Open => *closing = Closing::Pending(vec![reply]),
            }
        }
        self.stop_queue();
        self.stop_embedding();
        self.jobs.cancel();
        let memory = Arc::clone(self);
        // A write that waits for a lock may do so until its deadline.
        let bound = CLOSE_BOUND.max(self.settings.deadline + Duration::from_secs(1));
        let running = self.activity.thread();
        let spawned = std::thread::Builder::new().name("cm-close".into()).spawn(move || {
            memory.close(bound);
            drop(memory);
            drop(running);
        });
        if spawned.is_err() {
            // No thread to be had: better a short wait here than files left open.
            self.close(bound);
        }
    }

    /// As [`Memory::dispose`], on this thread and within about `bound`: for an environment that goes away, or a
    /// process that exits.
    pub fn dispose_here(&self, bound: Duration) {
        {
            let mut closing = self.closing.lock().unwrap_or_else(PoisonError::into_inner);
            if !matches!(*closing, Closing::Open) {
                return;
            }
            *closing = Closing::Pending(Vec::new());
        }
        self.stop_queue();
        self.stop_embedding();
        self.jobs.cancel();
        self.close(bound / 4);
    }

    /// Whoever waits for vectors of documents is told that there will be none.
    fn stop_embedding(&self) {
        if let Some(embedder) = &self.embedder {
            embedder.close();
        }
    }

    fn stop_queue(&self) {
        if let Some(queue) = &self.queue {
            queue.dispose();
        }
    }

    fn close(&self, bound: Duration) {
        let store = self.store.as_ref();
        let parts: [&dyn Fn(); 6] = [
            // Before the others: a job may wait for one of their threads.
            &|| self.jobs.close(bound),
            &|| {
                if let Some(index) = &self.index {
                    index.close(bound);
                }
            },
            &|| {
                if let Some(store) = store {
                    store.readers.close(bound);
                }
                fault::point("dispose");
            },
            &|| {
                if let Some(collections) = &self.collections {
                    collections.close(bound);
                }
            },
            // The main writer before the queue's: its last commits still clear their leases there.
            &|| {
                if let Some(store) = store {
                    store.writer.close(bound);
                }
            },
            &|| {
                if let Some(queue) = &self.queue {
                    queue.close(bound);
                }
            },
        ];
        let mut outcome = Ok(());
        for part in parts {
            // Caught: the other parts are closed all the same, and whoever waits for dispose is answered.
            if let Err(payload) = catch_unwind(AssertUnwindSafe(part)) {
                outcome = Err(Error::from_panic("dispose", &*payload));
            }
        }
        self.open.one_less();
        drop(self.owner.lock().unwrap_or_else(PoisonError::into_inner).take());
        let before = mem::replace(&mut *self.closing.lock().unwrap_or_else(PoisonError::into_inner), Closing::Closed);
        if let Closing::Pending(waiting) = before {
            for reply in waiting {
                reply.settle(outcome.clone());
            }
        }
    }

    /// Memories that are open in this process.
    #[must_use]
    pub fn open_count() -> usize {
        OPEN.load(Ordering::Relaxed)
    }

    /// Whether dispose has begun.
    #[must_use]
    pub fn is_disposed(&self) -> bool {
        !matches!(*self.closing.lock().unwrap_or_else(PoisonError::into_inner), Closing::Open)
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

/// What is told of a session that becomes active.
#[derive(Debug, Clone, Default)]
pub struct Initialize {
    /// The prompt that it works on now; by default the newest stored one.
    pub user_prompt: Option<String>,
    /// Its number; by default that of the newest stored one.
    pub prompt_number: Option<i64>,
    /// Whose session that is: refused where the number belongs to another.
    pub claude_session_id: Option<String>,
    /// Its project; with the store open the row says that.
    pub project: Option<String>,
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory").field("data_dir", &self.settings.data_dir).finish_non_exhaustive()
    }
}
