//! The parts of one open data directory: opened, wired and closed in order.

mod close;
mod open;
mod ownership;
mod shared_database;

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use self::{
    close::{Closing, OpenCount},
    ownership::Ownership,
    shared_database::SharedDatabase,
};
use crate::{
    db::{Budget, Readers, Writer, activity::Activity},
    embedder::Embedder,
    error::{Code, Error, Result},
    health::{self, Health, Sampler},
    index::{
        self, Index,
        collections::{self, Collections},
    },
    job::{Job, Jobs},
    parts::Part,
    queue::{Queue, Queues, client::only_the_owner},
    reply::Reply,
    search::service::Search,
    sessions::{SessionInfo, SessionSnapshot},
    settings::{Role, Settings},
    store::opening::{self, Opening},
};

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

impl Memory {
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
