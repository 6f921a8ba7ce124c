//! The vector side: documents made of the tables, their vectors and text indexes, all derived and kept in
//! `native/index.db`; the caller's own documents ([`collections`]); and the reader of a Chroma directory, from which
//! existing vectors are taken over.
//!
//! # The parts
//! - [`document`]: names; `row`: what is read of a table's row, and the documents it is made into; `table`: the SQL of
//!   `rows` and `documents`; [`schema`] and `storage`: the file; [`text`]: its text indexes.
//! - `feed`: what the tables have that the index has not.
//! - `shared`: what the threads have in common; `figures`: how the index does.
//! - `indexer`: the thread that writes the file. `embedding`: the thread that makes vectors of texts; `model`: whose
//!   vectors they are.
//! - `queries`: vectors of queries; `external`: vectors that the caller makes.
//! - [`vectors`]: vectors in memory; `reading`: the table that they are made of, and connections to search it.
//! - [`status`]: what is told of it; [`sync`]: the job that brings everything up to date.
//!
//! # Searching
//! [`Index::read`] runs a function with a connection to `native/index.db` in which rows, documents and text indexes are
//! as the tables were when it was called; [`Index::vectors`] ranks; [`Index::query_vector`] embeds, on a reader only where
//! nothing has to be waited for ([`Index::query_vector_now`]), else on the [`Index::waiting_line`].

pub mod chroma;
pub mod collections;
pub mod document;
mod embedding;
mod external;
mod feed;
mod figures;
#[cfg(test)]
mod golden;
mod indexer;
mod model;
mod queries;
mod reading;
mod row;
pub mod schema;
mod shared;
pub mod status;
mod storage;
pub mod sync;
mod table;
pub mod takeover;
#[cfg(test)]
mod tests;
pub mod text;
pub mod vectors;

use std::{
    any::Any,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender};
use rusqlite::Connection;

use self::{
    document::DocumentId,
    indexer::Command,
    reading::Table,
    shared::Shared,
    vectors::{VectorIndex, vector},
};
pub use self::{
    external::Pending,
    feed::Depth,
    figures::Figures,
    indexer::{Progress, Put},
    row::SourceRow,
};
use crate::{
    db::{Readers, activity::Activity, layout::Layout},
    embedder::{Embedder, WaitingLine},
    error::{Code, Error, Result},
    reply::Reply,
    settings::{Role, Settings},
};

/// What an index is made of.
pub struct Parts {
    /// The memory's.
    pub settings: Arc<Settings>,
    /// What makes vectors of texts.
    pub embedder: Arc<dyn Embedder>,
    /// How often the memory's own writer has committed to `claude-mem.db`.
    pub own_commits: Box<dyn Fn() -> i64 + Send + Sync>,
    /// The memory's.
    pub activity: Arc<Activity>,
    /// Lives until nothing is written any more.
    pub guard: Option<Arc<dyn Any + Send + Sync>>,
}

/// What is read of the file; it may be read twice.
type Read<T> = Arc<dyn Fn(&Connection) -> Result<T> + Send + Sync>;

/// The documents and vectors of one memory's tables.
pub struct Index {
    shared: Arc<Shared>,
    /// A client has none: it reads what the owner has written.
    line: Mutex<Option<Sender<Command>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    ended: Receiver<()>,
    readers: Readers,
    waiting_line: WaitingLine,
}

impl Index {
    /// The index of a memory. Nothing is opened here: the owner's thread does that once it runs, a client's reader when
    /// it is first asked.
    ///
    /// # Errors
    /// `ERR_IO` where no thread can be started.
    pub fn open(parts: Parts) -> Result<Self> {
        let Parts { settings, embedder, own_commits, activity, guard } = parts;
        let layout = Layout::new(settings.data_dir.clone());
        let table = Arc::new(Table::new(layout.index(), &settings, embedder.identity().clone()));
        let dimensions = embedder.identity().dimensions;
        let vectors = Arc::new(VectorIndex::of(Arc::clone(&table) as _, dimensions, &settings.index));
        let sources = (0..settings.readers.max(1)).map(|_| table.source()).collect();
        let owner = settings.role == Role::Owner;
        let counted = owner.then(|| activity.thread());
        let waiting_line = WaitingLine::new("cm-index-wait", settings.readers, Arc::clone(&activity));
        let readers = Readers::on_demand("cm-index-read", sources, activity);
        let shared = Arc::new(Shared {
            path: layout.index(),
            database: layout.database(),
            settings,
            embedder,
            own_commits,
            vectors,
            table,
            figures: Mutex::default(),
            generation: AtomicU64::new(0),
            closing: AtomicBool::new(false),
            verified: AtomicBool::new(false),
            vector_changes: AtomicU64::new(0),
            syncs: AtomicUsize::new(0),
            interrupt: Mutex::default(),
        });
        let (end, ended) = crossbeam_channel::bounded(1);
        let (line, thread) = if owner {
            let (sender, commands) = crossbeam_channel::unbounded();
            let (mine, running) = (Arc::clone(&shared), counted);
            let thread = std::thread::Builder::new().name("cm-index".into()).spawn(move || {
                indexer::run(&mine, &commands);
                mine.table.close();
                drop((mine, commands, guard));
                drop(running);
                // Nobody listens where the handle was dropped.
                let _ = end.send(());
            })?;
            (Some(sender), Some(thread))
        } else {
            (None, None)
        };
        Ok(Self { shared, line: Mutex::new(line), thread: Mutex::new(thread), ended, readers, waiting_line })
    }

    /// Sends a command to the thread. On a client, and once the memory is disposed, it comes back with the reason.
    fn send(&self, command: Command) -> std::result::Result<(), (Command, Error)> {
        let line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        match &*line {
            Some(sender) => sender.send(command).map_err(|error| (error.0, Error::disposed("memory"))),
            None => Err((command, Error::disposed("memory"))),
        }
    }

    /// Whether this memory writes the index; a client reads what the owner has committed.
    fn writes(&self) -> bool {
        self.shared.settings.role == Role::Owner
    }

    /// Answers once everything that was committed to the tables before the call, by whomever, is in rows, documents and
    /// text indexes; vectors may still be owed. On a client at once.
    pub fn freshen(&self, reply: Reply<()>) {
        self.feed(Depth::Fresh, reply);
    }

    /// As [`Index::freshen`], to a given depth.
    fn feed(&self, depth: Depth, reply: Reply<()>) {
        if !self.writes() {
            return reply.settle(Ok(()));
        }
        if let Err((Command::Freshen(_, reply), error)) = self.send(Command::Freshen(depth, reply)) {
            reply.settle(Err(error));
        }
    }

    /// Does something on the indexer's thread.
    fn run<T: Send + 'static>(
        &self,
        what: &'static str,
        work: impl FnOnce(&mut indexer::Indexer) -> Result<T> + Send + 'static,
        reply: Reply<T>,
    ) {
        if !self.writes() {
            return reply.settle(Err(only_the_owner(what)));
        }
        let reply = Arc::new(Mutex::new(Some(reply)));
        let mine = Arc::clone(&reply);
        let settle = |reply: &Mutex<Option<Reply<T>>>, answer| {
            if let Some(reply) = reply.lock().unwrap_or_else(PoisonError::into_inner).take() {
                reply.settle(answer);
            }
        };
        let run = Command::Run(Box::new(move |indexer| settle(&mine, work(indexer))));
        if let Err((_, error)) = self.send(run) {
            settle(&reply, Err(error));
        }
    }

    /// Runs `read` with a connection to `native/index.db` that is as fresh as [`Index::freshen`] makes it. Where the file
    /// turns out not to be what it should be it is made anew, and `read` runs again. With an index that cannot be
    /// brought up to date (the disk is full) it reads what there is: [`Index::figures`] says why.
    pub fn read<T: Send + 'static>(
        self: &Arc<Self>,
        name: &'static str,
        read: impl Fn(&Connection) -> Result<T> + Send + Sync + 'static,
        reply: Reply<T>,
    ) {
        self.read_again(name, Arc::new(read), reply, 2);
    }

    fn read_again<T: Send + 'static>(self: &Arc<Self>, name: &'static str, read: Read<T>, reply: Reply<T>, tries: u32) {
        let index = Arc::clone(self);
        self.freshen(Reply::new(move |fresh: Result<()>| {
            if let Err(error) = fresh
                && matches!(error.code, Code::Disposed | Code::Internal)
            {
                return reply.settle(Err(error));
            }
            let (again, run, generation) = (Arc::clone(&index), Arc::clone(&read), index.shared.generation());
            index.readers.call(
                name,
                move |db| run(db),
                Reply::new(move |answer: Result<T>| match answer {
                    Err(error) if tries > 0 && storage::is_doubt(&error) && again.writes() => {
                        again.doubt(generation, error);
                        again.read_again(name, read, reply, tries - 1);
                    }
                    answer => reply.settle(answer),
                }),
            );
        }));
    }

    /// Has the file be made anew: somebody who read it in this generation met what must not be.
    fn doubt(&self, generation: u64, error: Error) {
        // A memory that is disposed needs no new file.
        drop(self.send(Command::Doubt(generation, error)));
    }

    /// Threads that read `native/index.db`, as it is.
    #[must_use]
    pub fn readers(&self) -> &Readers {
        &self.readers
    }

    /// The vectors: in memory once they are loaded, before that (and on a client) read from the file for each search.
    #[must_use]
    pub fn vectors(&self) -> &Arc<VectorIndex> {
        &self.shared.vectors
    }

    /// Documents that owe their vectors.
    #[must_use]
    pub fn pending_documents(&self) -> u64 {
        u64::try_from(self.figures().counts.owed).unwrap_or(0)
    }

    /// How the index does.
    #[must_use]
    pub fn figures(&self) -> Figures {
        self.shared.figures()
    }

    /// Takes documents out: nothing finds them by their vectors until their text changes, or [`Index::sync`] rebuilds
    /// everything. Answers how many there were.
    pub fn remove(&self, documents: Vec<DocumentId>, reply: Reply<usize>) {
        let work = move |indexer: &mut indexer::Indexer| {
            indexer.write(|db, changes| {
                let mut removed = 0;
                for document in documents {
                    removed += usize::from(table::remove_document(db, document, changes)?);
                }
                Ok(removed)
            })
        };
        self.run("vectors.remove()", work, reply);
    }

    /// The vector of a document as it is stored, at unit length; `None` where it has none.
    pub fn get(self: &Arc<Self>, document: DocumentId, reply: Reply<Option<Vec<f32>>>) {
        let (dimensions, table) = (self.shared.vectors.dimensions(), Arc::clone(&self.shared.table));
        let read = move |db: &Connection| {
            if !table.is_of_this_model(db)? {
                return Ok(None);
            }
            table::vector(db, document)?.map(|blob| vector::from_blob(&blob, dimensions)).transpose()
        };
        self.read("vectors.get", read, reply);
    }

    /// After rows were deleted for good: what the index has of them is gone when it answers, with `secureDelete` also
    /// from the segments of its text indexes and from free pages.
    pub fn forget(&self, reply: Reply<()>) {
        if self.shared.settings.secure_delete {
            self.run("deleting", indexer::Indexer::scrub, reply);
        } else {
            self.freshen(reply);
        }
    }

    /// Ends the threads and closes the file; what is owed stays owed. Waits at most about `bound`. Twice without harm.
    pub fn close(&self, bound: Duration) {
        self.shared.closing.store(true, Ordering::Release);
        drop(self.line.lock().unwrap_or_else(PoisonError::into_inner).take());
        self.shared.vectors.stop();
        // Whoever comes to the line from a reader after this is told the same.
        self.waiting_line.shut();
        self.readers.close(bound);
        self.waiting_line.join(bound);
        let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() else {
            return self.shared.table.close();
        };
        // A statement that takes long ends now: what it was to do is done at the next open.
        self.shared.interrupt();
        if self.ended.recv_timeout(bound).is_ok() {
            // It has sent its last word; joining takes no time. Its panics were caught inside.
            drop(thread.join());
        }
    }
}

/// Throws the file of an index that is not open away: it is made again when it next is.
///
/// # Errors
/// `ERR_IO`.
pub fn throw_away(layout: &Layout) -> Result<()> {
    storage::throw_away(&layout.index())
}

/// A command that only the owner of the directory may give.
fn only_the_owner(what: &str) -> Error {
    Error::new(
        Code::NotOpen,
        format!("{what} is for the owner of the data directory; this memory was opened with role: 'client'"),
    )
}

impl Drop for Index {
    fn drop(&mut self) {
        // Where the handle is only garbage-collected: the threads end by themselves, as soon as they can.
        self.shared.closing.store(true, Ordering::Release);
        self.shared.interrupt();
    }
}

impl std::fmt::Debug for Index {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Index").field("path", &self.shared.path).finish_non_exhaustive()
    }
}
