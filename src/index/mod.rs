//! The vector side: documents made of the tables, their vectors and text indexes, all derived and kept in
//! `native/index.db`; the caller's own documents ([`collections`]); and the reader of a Chroma directory, from which
//! existing vectors are taken over.
//!
//! # The parts
//! - [`document`]: names; `row`: what is read of a table's row, and the documents it is made into; `table`: the SQL of
//!   `rows` and `documents`; [`schema`] and `storage`: the file; [`text`]: its text indexes.
//! - `feed`: what the tables have that the index has not.
//! - `indexer`: the thread that writes the file. `embedding`: the thread that makes vectors of texts; `model`: whose
//!   vectors they are.
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
mod feed;
#[cfg(test)]
mod golden;
mod indexer;
mod model;
mod reading;
mod row;
pub mod schema;
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
    path::PathBuf,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender};
use rusqlite::{Connection, InterruptHandle};

use self::{
    document::DocumentId,
    indexer::{Command, Given},
    reading::Table,
    table::{Changes, Counts},
    vectors::{Entry, VectorIndex, vector},
};
pub use self::{
    feed::Depth,
    indexer::{Progress, Put},
    row::SourceRow,
};
use crate::{
    db::{Readers, activity::Activity, layout::Layout},
    embedder::{Embedder, Identity, WaitingLine},
    error::{Code, Error, Result},
    reply::{Reply, wait},
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

/// What the threads have in common.
struct Shared {
    settings: Arc<Settings>,
    /// `native/index.db`.
    path: PathBuf,
    /// `claude-mem.db`.
    database: PathBuf,
    embedder: Arc<dyn Embedder>,
    own_commits: Box<dyn Fn() -> i64 + Send + Sync>,
    vectors: Arc<VectorIndex>,
    table: Arc<Table>,
    figures: Mutex<Figures>,
    /// Counts the files there have been: whoever has an older one open opens it again.
    generation: AtomicU64,
    closing: AtomicBool,
    verified: AtomicBool,
    /// Transactions that changed vectors.
    vector_changes: AtomicU64,
    /// Jobs that want everything embedded.
    syncs: AtomicUsize,
    interrupt: Mutex<Option<InterruptHandle>>,
}

/// How the index does, as its thread last said.
#[derive(Debug, Clone)]
pub struct Figures {
    /// How much there is.
    pub counts: Counts,
    /// How embedding goes.
    pub progress: Progress,
    /// Vectors made since open.
    pub embedded: u64,
    /// Documents that went since open.
    pub removed: u64,
    /// How often the file was made anew since open, the first time included.
    pub remade: u64,
    /// Bytes of the file and its log.
    pub file_bytes: u64,
    /// When the tables were last looked at, epoch ms.
    pub last_feed_epoch: Option<i64>,
    /// Why the last attempt failed; `None` where it did not.
    pub error: Option<Error>,
    /// What was last wrong with the file, so that it was made anew.
    pub last_doubt: Option<String>,
    /// The model that the stored vectors are of, where that is not the one in use.
    pub other_model: Option<Identity>,
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            counts: Counts::default(),
            progress: Progress::Idle,
            embedded: 0,
            removed: 0,
            remade: 0,
            file_bytes: 0,
            last_feed_epoch: None,
            error: None,
            last_doubt: None,
            other_model: None,
        }
    }
}

/// A document whose vector the caller owes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Its name.
    pub document: DocumentId,
    /// Of its text: another text of the same document has another.
    pub revision: i64,
    /// What to embed.
    pub text: String,
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

    /// What makes vectors of texts.
    #[must_use]
    pub fn embedder(&self) -> &Arc<dyn Embedder> {
        &self.shared.embedder
    }

    /// Where searches wait for vectors that cannot be had at once.
    #[must_use]
    pub const fn waiting_line(&self) -> &WaitingLine {
        &self.waiting_line
    }

    /// The vector of a query, for a reader; `None` where others would wait for it too long: see [`WaitingLine::here`].
    ///
    /// # Errors
    /// As [`Index::query_vector`].
    pub fn query_vector_now(&self, text: &str) -> Result<Option<Arc<[f32]>>> {
        if !self.knows_whose_vectors() {
            return Ok(None);
        }
        let embedder = &self.shared.embedder;
        match embedder.remembered(text) {
            Some(known) => Ok(Some(known)),
            None => self.waiting_line.here(|| embedder.query_now(text)),
        }
    }

    /// The vectors of some texts, for a reader; `None` where others would wait for them too long.
    ///
    /// # Errors
    /// `ERR_NO_MODEL` with the reason.
    pub fn embed_now(&self, texts: &[&str]) -> Result<Option<Vec<Vec<f32>>>> {
        self.waiting_line.here(|| self.shared.embedder.embed_now(texts))
    }

    /// Whether the model in use was compared with that of the stored vectors; a client leaves that to the owner.
    fn knows_whose_vectors(&self) -> bool {
        !self.writes() || self.shared.verified.load(Ordering::Acquire)
    }

    /// The vector of a query. Waits for the model: not for the JS thread, and not for a reader. Before the first one the
    /// model is compared with that of the stored vectors; if it is another they are owed again from then on.
    ///
    /// # Errors
    /// `ERR_NO_MODEL` with the reason.
    pub fn query_vector(&self, text: &str) -> Result<Arc<[f32]>> {
        if !self.knows_whose_vectors() {
            let probes = self.shared.embedder.probes()?;
            wait(|reply| self.run("a search", move |indexer| indexer.verify(&probes), reply))?;
        }
        self.shared.embedder.query(text)
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

    /// Documents that wait for vectors of the caller, newest first, with their texts.
    pub fn pending(&self, limit: usize, reply: Reply<Vec<Pending>>) {
        self.run("vectors.pending()", move |indexer| indexer.pending(limit), reply);
    }

    /// Whether the caller may hand vectors over.
    ///
    /// # Errors
    /// `ERR_MODEL_MISMATCH` where vectors are made here.
    pub fn must_be_external(&self) -> Result<()> {
        if self.shared.settings.model.external {
            return Ok(());
        }
        let message = "vectors are made by the engine itself (embedder: 'local'); open the memory with embedder: 'external' to \
                       hand over those of a model of your own";
        Err(Error::new(Code::ModelMismatch, message))
    }

    /// Stores vectors that the caller has made.
    ///
    /// # Errors
    /// In the reply `ERR_INVALID_ARG` for a vector that is none of this model, naming the document: nothing is stored
    /// then.
    pub fn put(&self, given: Vec<(DocumentId, Option<i64>, Vec<f32>)>, reply: Reply<Put>) {
        let dimensions = self.shared.vectors.dimensions();
        let given = given
            .into_iter()
            .map(|(document, revision, values)| {
                let unit = vector::unit(&values, dimensions)
                    .map_err(|error| Error { message: format!("{document}: {}", error.message), ..error })?;
                Ok(Given { document, revision, blob: vector::to_blob(&unit) })
            })
            .collect::<Result<Vec<_>>>();
        match given {
            Ok(given) => self.run("vectors.put()", move |indexer| indexer.put(given), reply),
            Err(error) => reply.settle(Err(error)),
        }
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

impl Shared {
    fn figures(&self) -> Figures {
        self.figures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn update(&self, change: impl FnOnce(&mut Figures)) {
        change(&mut self.figures.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Takes changes that were committed into figures and memory.
    fn take(&self, changes: &Changes) -> Result<()> {
        self.update(|figures| {
            figures.counts.add(changes);
            figures.removed += changes.gone.len() as u64;
        });
        self.vectors.remove(&changes.gone);
        if !(changes.gone.is_empty() && changes.placed.is_empty()) {
            self.vector_changes.fetch_add(1, Ordering::AcqRel);
        }
        if changes.placed.is_empty() || self.figures().other_model.is_some() {
            return Ok(());
        }
        let dimensions = self.vectors.dimensions();
        let placed = changes.placed.iter();
        let vectors: Vec<Vec<f32>> =
            placed.clone().map(|(_, _, blob)| vector::from_blob(blob, dimensions)).collect::<Result<_>>()?;
        let entries: Vec<Entry<'_>> =
            placed.zip(&vectors).map(|((id, key, _), vector)| Entry { id: *id, group: key.0, vector }).collect();
        self.vectors.put(&entries)
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::Acquire)
    }

    fn vector_changes(&self) -> u64 {
        self.vector_changes.load(Ordering::Acquire)
    }

    fn is_syncing(&self) -> bool {
        self.syncs.load(Ordering::Acquire) > 0
    }

    fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    fn next_generation(&self) {
        self.generation.fetch_add(1, Ordering::AcqRel);
        self.table.forget();
    }

    fn set_other_model(&self, model: Option<Identity>) {
        self.update(|figures| figures.other_model = model);
        self.verified.store(false, Ordering::Release);
    }

    fn set_verified(&self) {
        self.verified.store(true, Ordering::Release);
    }

    fn watch(&self, db: &Connection) {
        *self.interrupt.lock().unwrap_or_else(PoisonError::into_inner) = Some(db.get_interrupt_handle());
    }

    fn watch_nothing(&self) {
        *self.interrupt.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn interrupt(&self) {
        // Held for moments only, while the file is opened or closed; then there is no statement to interrupt.
        if let Ok(interrupt) = self.interrupt.try_lock()
            && let Some(handle) = &*interrupt
        {
            handle.interrupt();
        }
    }
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
