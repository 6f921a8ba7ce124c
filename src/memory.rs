//! Opens, wires and closes the parts, in order.

use std::{
    any::Any,
    mem,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use crate::{
    db::{Budget, Readers, Writer, activity::Activity, connection, layout::Layout, owner::OwnerLock, schema},
    error::{Error, Result},
    fault,
    health::{Health, Sampler},
    job::Jobs,
    queue::{Queue, engine::Parts, open_storage},
    reply::Reply,
    sessions::SessionSnapshot,
    settings::Settings,
    store::opening::{self, Opening},
};

/// How long dispose waits for what is being written; then SQLite is interrupted.
const CLOSE_BOUND: Duration = Duration::from_secs(6);

/// One open data directory.
pub struct Memory {
    settings: Arc<Settings>,
    readers: Arc<Readers>,
    writer: Arc<Writer>,
    queue: Queue,
    budget: Arc<Budget>,
    activity: Arc<Activity>,
    sampler: Arc<Sampler>,
    jobs: Jobs,
    owner: Mutex<Option<Arc<OwnerLock>>>,
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
    /// Opens a data directory on a thread of its own.
    pub fn open(settings: Settings, reply: Reply<Arc<Self>>) {
        let shared = Arc::new(Mutex::new(Some(reply)));
        let mine = Arc::clone(&shared);
        let take = |slot: &Mutex<Option<Reply<Arc<Self>>>>| slot.lock().unwrap_or_else(PoisonError::into_inner).take();
        let spawned = std::thread::Builder::new().name("cm-open".into()).spawn(move || {
            let opened = catch_unwind(|| Self::open_here(settings))
                .unwrap_or_else(|payload| Err(Error::from_panic("openMemory", &*payload)));
            if let Some(reply) = take(&mine) {
                reply.settle(opened);
            }
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
        let settings = Arc::new(settings);
        let layout = Layout::new(settings.data_dir.clone());
        let owner = Arc::new(own(&layout, &settings)?);
        let db = schema::prepare(&layout.database(), settings.deadline)?;
        if settings.secure_delete {
            db.execute_batch("PRAGMA secure_delete=ON")?;
        }
        let budget = Arc::new(Budget::new(settings.max_in_flight_bytes));
        let activity = Arc::new(Activity::default());
        let connections = (0..settings.readers.max(1))
            .map(|_| connection::open_reader(&layout.database()))
            .collect::<Result<Vec<_>>>()?;
        let readers = Arc::new(Readers::start("cm-reader", connections, Arc::clone(&activity))?);
        let writer =
            Writer::start("cm-writer", db, settings.durability, Arc::clone(&budget), Arc::clone(&activity), None)?;
        let writer = Arc::new(writer);
        // The lock ends with the last of the threads that write, also where the handle is only
        // garbage-collected.
        let guard: Arc<dyn Any + Send + Sync> = Arc::clone(&owner) as _;
        fault::point("openMemory");
        let queue = Queue::open(Parts {
            settings: Arc::clone(&settings),
            queue_db: open_storage(&layout.queue(), settings.secure_delete)?,
            directory: connection::open_reader(&layout.database())?,
            main_writer: Arc::clone(&writer),
            budget: Arc::clone(&budget),
            activity: Arc::clone(&activity),
            guard,
        })?;
        let sampler = Arc::new(Sampler::new(&layout));
        let memory = Arc::new(Self {
            settings,
            readers,
            writer,
            queue,
            budget,
            activity,
            sampler,
            jobs: Jobs::default(),
            owner: Mutex::new(Some(owner)),
            closing: Mutex::new(Closing::Open),
            open: OpenCount::one_more(),
            opened: Instant::now(),
        });
        memory.sampler.refresh(&memory.readers, &memory.queue);
        Ok(memory)
    }

    /// What this memory was opened with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// The reader threads of `claude-mem.db`.
    #[must_use]
    pub fn readers(&self) -> &Readers {
        &self.readers
    }

    /// The writer thread of `claude-mem.db`.
    #[must_use]
    pub fn writer(&self) -> &Writer {
        &self.writer
    }

    /// The queues and the session registry.
    #[must_use]
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// Long work on this memory: it ends with it.
    #[must_use]
    pub fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    /// Until when a write waits for a lock, where the call says nothing else.
    #[must_use]
    pub fn deadline(&self, of_call: Option<Duration>) -> Instant {
        Instant::now() + of_call.unwrap_or(self.settings.deadline)
    }

    /// Makes a session active: its row, its newest prompt number and prompt.
    pub fn initialize_session(
        self: &Arc<Self>,
        session_id: i64,
        user_prompt: Option<String>,
        prompt_number: Option<i64>,
        reply: Reply<SessionSnapshot>,
    ) {
        let memory = Arc::clone(self);
        let reply = Reply::new(move |found: Result<Opening>| {
            reply.settle(found.and_then(|opening| {
                let number = prompt_number.or(opening.last_prompt_number);
                let info = memory.queue.activate_session(session_id, &opening.row, number)?;
                Ok(SessionSnapshot { info, user_prompt: user_prompt.or(opening.user_prompt) })
            }));
        });
        self.readers.call("initializeSession", move |db| opening::read(db, session_id), reply);
    }

    /// How this memory does. Waits for no disk: figures from there are sampled and carry their age.
    #[must_use]
    pub fn health(&self) -> Health {
        self.sampler.refresh(&self.readers, &self.queue);
        Health::collect(
            &self.settings,
            self.opened,
            &self.queue,
            &self.writer,
            &self.readers,
            &self.budget,
            &self.activity,
            &self.sampler,
        )
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
        self.queue.dispose();
        self.jobs.cancel();
        let memory = Arc::clone(self);
        // A write that waits for a lock may do so until its deadline.
        let bound = CLOSE_BOUND.max(self.settings.deadline + Duration::from_secs(1));
        let spawned = std::thread::Builder::new().name("cm-close".into()).spawn(move || memory.close(bound));
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
        self.queue.dispose();
        self.jobs.cancel();
        self.close(bound / 4);
    }

    fn close(&self, bound: Duration) {
        let parts: [&dyn Fn(); 4] = [
            // Before the others: a job may wait for one of their threads.
            &|| self.jobs.close(bound),
            &|| {
                self.readers.close(bound);
                fault::point("dispose");
            },
            // The main writer before the queue's: its last commits still clear their leases there.
            &|| self.writer.close(bound),
            &|| self.queue.close(bound),
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

/// Takes the data directory. A database that we do not know must be left as it was, with nothing beside it,
/// so it is looked at before `native/` is made.
///
/// Where `native/` exists the lock comes first instead: looking opens and closes the file, and on POSIX
/// systems that would drop the locks of a memory that this very process has open on it.
fn own(layout: &Layout, settings: &Settings) -> Result<OwnerLock> {
    static FIRST_OPEN: Mutex<()> = Mutex::new(());
    if !layout.owner_lock().exists() {
        // One first open at a time: between the look and the lock nobody else of this process may open.
        let _one = FIRST_OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        if !layout.owner_lock().exists() {
            schema::check(&layout.database())?;
            return OwnerLock::acquire(layout, Duration::ZERO.max(settings.lock_wait));
        }
    }
    let owner = OwnerLock::acquire(layout, settings.lock_wait)?;
    schema::check(&layout.database())?;
    Ok(owner)
}

impl std::fmt::Debug for Memory {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Memory").field("data_dir", &self.settings.data_dir).finish_non_exhaustive()
    }
}
