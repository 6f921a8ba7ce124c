//! The thread that owns the write connection of `native/index.db`: it feeds, hands texts to whoever embeds them, stores
//! the vectors, and makes the file anew where it is not what it should be.
//!
//! It runs at normal priority and never waits for a model, so that a search is not kept waiting for either: embedding
//! is done by [`Embedding`]'s own thread.

use std::{
    collections::{HashSet, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, select};
use rusqlite::Connection;

use super::{
    Pending, Shared,
    document::{DocumentId, RowKey},
    embedding::{Batch, Embedding, Made},
    feed::{Depth, Failure, Fed, Feed, Sink},
    model,
    row::SourceRow,
    storage,
    table::{self, Changes},
    takeover::Taken,
    vectors::{
        State,
        snapshot::{self, SnapshotInfo},
        vector,
    },
};
use crate::db::Database;
use crate::{
    clock,
    db::{
        connection::{self, Identity},
        layout::beside,
    },
    embedder::probes::same_model,
    error::{Code, Error, Result},
    fault,
    reply::Reply,
};

/// Between two looks at what others have committed.
const TICK: Duration = Duration::from_secs(1);
/// The first wait after a failure, and the longest.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// How long without a model before it is looked for again.
const MODEL_RETRY: Duration = Duration::from_secs(30);
/// Files made anew in a row before it waits: the disk itself may be at fault.
const REMADE_AT_ONCE: u32 = 3;
/// Documents whose texts are read at once, to be sorted by length.
const WINDOW: usize = 128;
/// Documents of one batch.
const BATCH: usize = 16;
/// Bytes of text of one batch, about: a model looks at some thousand bytes of a text only, but reads all.
const BATCH_BYTES: usize = 256 << 10;

/// The least time between two snapshots.
const SAVE: Duration = Duration::from_secs(10);
/// Where the last snapshot is noted, and what its files are called.
const SNAPSHOT: &str = "snapshot";
const VECTORS: &str = "vectors";

/// What the thread is asked for.
pub enum Command {
    /// Bring rows, documents and text indexes up to date.
    Freshen(Depth, Reply<()>),
    /// Do this with the thread's own things.
    Run(Box<dyn FnOnce(&mut Indexer) + Send>),
    /// Somebody met a file that is not what it should be, at this generation.
    Doubt(u64, Error),
}

/// The file, open.
struct File {
    db: Database,
    identity: Option<Identity>,
}

/// The thread's own things.
pub struct Indexer {
    shared: Arc<Shared>,
    file: Option<File>,
    feed: Feed,
    embedding: Option<Embedding>,
    /// Batches that are ready to be embedded.
    ready: VecDeque<Batch>,
    /// Documents in them, in the hands of the embedder, or left alone for now.
    busy: HashSet<i64>,
    /// Of those: whose text has changed, or cannot be embedded. Tried again after the next change.
    skipped: HashSet<i64>,
    /// Whether vectors were found to be those of the model in use.
    verified: bool,
    /// Whether the file's vectors are of another model, which nobody replaces yet.
    other_model: bool,
    next_tick: Instant,
    /// After a failure: not before.
    retry: Option<(Instant, Duration)>,
    model_retry: Option<Instant>,
    remade: u32,
    /// When something was written that still lies in the log.
    logged: Option<Instant>,
    /// Changes of the vectors that the last snapshot has, and when it was made or tried.
    saved: u64,
    saved_at: Instant,
}

/// The thread's life.
pub fn run(shared: &Arc<Shared>, commands: &Receiver<Command>) {
    let mut indexer = Indexer::new(Arc::clone(shared));
    // A panic is a fault of one round. What waited for it is told so, the file is opened again, and it goes on.
    while catch_unwind(AssertUnwindSafe(|| indexer.serve(commands))).is_err() {
        indexer.file = None;
        indexer.feed.close();
        indexer.embedding = None;
        indexer.forget_batches();
        indexer.fail(Error::internal("the indexer panicked and begins again; please report this"));
    }
}

impl Indexer {
    fn new(shared: Arc<Shared>) -> Self {
        let feed = Feed::new(&shared.database);
        Self {
            shared,
            file: None,
            feed,
            embedding: None,
            ready: VecDeque::new(),
            busy: HashSet::new(),
            skipped: HashSet::new(),
            verified: false,
            other_model: false,
            next_tick: Instant::now(),
            retry: None,
            model_retry: None,
            remade: 0,
            logged: None,
            saved: 0,
            saved_at: Instant::now(),
        }
    }

    /// Serves until the handle has gone.
    fn serve(&mut self, commands: &Receiver<Command>) {
        loop {
            if self.shared.is_closing() {
                return;
            }
            let wait = self.wait();
            let made =
                self.embedding.as_ref().map_or_else(crossbeam_channel::never, |embedding| embedding.made.clone());
            select! {
                recv(commands) -> command => match command {
                    Ok(command) => self.serve_one(command),
                    Err(_) => return,
                },
                recv(made) -> made => match made {
                    Ok(made) => self.take(made),
                    // Its thread has died; whoever is next starts another.
                    Err(_) => {
                        self.embedding = None;
                        self.forget_batches();
                    }
                },
                default(wait) => {}
            }
            if self.shared.is_closing() {
                return;
            }
            let due = self.next_tick <= Instant::now();
            if due && self.may_try() && self.acts_alone() {
                let done = self.freshen(Depth::Tick);
                self.note(done);
            }
            if due {
                self.next_tick = Instant::now() + TICK;
                if self.logged.is_some_and(|at| at.elapsed() > TICK) {
                    self.move_log();
                }
                // A snapshot saves the next open some time; one that cannot be written costs nothing else.
                if self.save_vectors().is_err() {
                    self.saved_at = Instant::now();
                }
            }
            self.embed_more();
        }
    }

    /// Whether it looks for changes without being asked.
    fn acts_alone(&self) -> bool {
        self.shared.settings.index.automatic || self.shared.is_syncing()
    }

    fn may_try(&self) -> bool {
        self.retry.is_none_or(|(at, _)| at <= Instant::now())
    }

    fn wait(&self) -> Duration {
        if self.acts_alone() || self.logged.is_some() {
            self.next_tick.saturating_duration_since(Instant::now())
        } else {
            Duration::from_secs(24 * 60 * 60)
        }
    }

    fn serve_one(&mut self, command: Command) {
        match command {
            Command::Freshen(depth, reply) => {
                let done = self.freshen(depth);
                self.note(done.clone());
                reply.settle(done);
            }
            Command::Run(run) => run(self),
            Command::Doubt(generation, error) => {
                if generation == self.shared.generation() {
                    self.discard(&error);
                }
            }
        }
    }

    /// Has rows, documents and text indexes be as the tables are. Tried a second time with a new file where this one
    /// is not what it should be.
    fn freshen(&mut self, depth: Depth) -> Result<()> {
        fault::point("index-feed");
        match self.feed_once(depth) {
            Err(Failure::Index(error)) if storage::is_doubt(&error) => {
                self.discard(&error);
                self.feed_once(depth).map_err(Failure::into_error)
            }
            done => done.map_err(Failure::into_error),
        }
    }

    fn feed_once(&mut self, depth: Depth) -> std::result::Result<(), Failure> {
        self.open()?;
        let own_commits = (self.shared.own_commits)();
        let Some(file) = &self.file else { return Ok(()) };
        let mut filling = Filling { db: &file.db, shared: &self.shared, changed: false };
        let fed: Fed = self.feed.run(depth, own_commits, &mut filling)?;
        if filling.changed {
            self.logged = Some(Instant::now());
        }
        if fed != Fed::default() {
            self.forget_skipped();
        }
        let size = |path: &std::path::Path| std::fs::metadata(path).map_or(0, |file| file.len());
        let bytes = size(&self.shared.path) + size(&beside(&self.shared.path, "-wal"));
        self.shared.update(|figures| {
            figures.last_feed_epoch = Some(clock::now_epoch());
            figures.file_bytes = bytes;
        });
        Ok(())
    }

    /// Remembers how it went.
    fn note(&mut self, done: Result<()>) {
        match done {
            Ok(()) => {
                (self.retry, self.remade) = (None, 0);
                self.shared.update(|figures| figures.error = None);
            }
            Err(error) => self.fail(error),
        }
    }

    fn fail(&mut self, error: Error) {
        let wait = self.retry.map_or(RETRY, |(_, wait)| (wait * 2).min(RETRY_MAX));
        self.retry = Some((Instant::now() + wait, wait));
        if !self.shared.is_closing() {
            self.shared.update(|figures| figures.error = Some(error));
        }
    }

    /// Opens the file, where it is not open or no longer the one that its path names.
    fn open(&mut self) -> Result<()> {
        if let Some(File { db, identity: Some(identity) }) = &self.file
            && identity.check(db).is_err()
        {
            self.close_file();
        }
        if self.file.is_some() {
            return Ok(());
        }
        fault::point("index-open");
        let (db, made) = storage::open(&self.shared.path, self.shared.settings.secure_delete)?;
        self.shared.watch(&db);
        let begun = self.begin(&db, made);
        match begun {
            Ok(()) => {
                let identity = Identity::of(&db);
                self.file = Some(File { db, identity });
                Ok(())
            }
            Err(error) => {
                self.shared.watch_nothing();
                Err(error)
            }
        }
    }

    fn begin(&mut self, db: &Connection, made: bool) -> Result<()> {
        self.feed.begin(db)?;
        self.forget_batches();
        self.skipped.clear();
        self.verified = false;
        let counts = table::counts(db)?;
        self.shared.update(|figures| {
            figures.counts = counts;
            figures.remade += u64::from(made);
        });
        self.logged = made.then(Instant::now);
        self.meet_model(db)?;
        self.shared.next_generation();
        if !self.other_model {
            self.load_vectors(db)?;
        }
        Ok(())
    }

    /// Brings the vectors into memory, with the graph of the last snapshot where that is as it was written.
    fn load_vectors(&mut self, db: &Connection) -> Result<()> {
        (self.saved, self.saved_at) = (self.shared.vector_changes(), Instant::now());
        if let (Some(note), Some(native)) = (table::note(db, SNAPSHOT)?, self.shared.path.parent()) {
            let loaded = SnapshotInfo::from_json(&note)
                .and_then(|info| self.shared.vectors.load(native, &info, &self.shared.embedder.identity().name));
            if loaded.is_ok() {
                return Ok(());
            }
            // On any doubt the graph is built anew, from the table.
            table::set_note(db, SNAPSHOT, None)?;
            snapshot::keep_only(native, VECTORS, None)?;
        }
        self.shared.vectors.fill()?;
        Ok(())
    }

    /// Keeps the graph, where there is one, in a file for the next open: once nothing has changed for a while.
    fn save_vectors(&mut self) -> Result<()> {
        let (changes, rest) = (self.shared.vector_changes(), self.saved_at.elapsed() > SAVE);
        let (Some(file), Some(native)) = (&self.file, self.shared.path.parent()) else { return Ok(()) };
        let graph = self.shared.vectors.state() == State::Graph && self.embedding.is_none();
        let noted = || table::note(&file.db, SNAPSHOT).map(|note| note.is_some());
        if !graph || !rest || (changes == self.saved && noted()?) {
            return Ok(());
        }
        let saved = self.shared.vectors.save(native, VECTORS, &self.shared.embedder.identity().name)?;
        if let Some(info) = saved {
            table::set_note(&file.db, SNAPSHOT, Some(&info.to_json()))?;
            snapshot::keep_only(native, VECTORS, Some(&info))?;
        }
        (self.saved, self.saved_at) = (changes, Instant::now());
        self.logged = Some(Instant::now());
        Ok(())
    }

    /// Compares the model in use with that of the vectors.
    fn meet_model(&mut self, db: &Connection) -> Result<()> {
        let (mine, stored) = (self.shared.embedder.identity(), model::stored(db)?);
        let counts = self.shared.figures().counts;
        self.other_model = false;
        if stored.as_ref() == Some(mine) {
            // As before.
        } else if counts.owed == counts.documents {
            model::store(db, mine)?;
        } else if self.shared.embedder.availability().can_embed() {
            self.change_model(db)?;
        } else {
            // They may be dear to whoever made them. They are not used, and stay until others can be made.
            self.other_model = true;
        }
        self.shared.set_other_model(self.other_model.then_some(stored).flatten());
        Ok(())
    }

    /// Has all vectors be made again, by the model in use.
    fn change_model(&mut self, db: &Connection) -> Result<()> {
        let transaction = db.unchecked_transaction()?;
        let mut changes = Changes::default();
        table::disown_vectors(&transaction, &mut changes)?;
        model::store(&transaction, self.shared.embedder.identity())?;
        transaction.commit()?;
        self.shared.vectors.clear();
        self.shared.update(|figures| figures.counts.add(&changes));
        (self.other_model, self.logged) = (false, Some(Instant::now()));
        self.shared.set_other_model(None);
        self.forget_batches();
        Ok(())
    }

    fn close_file(&mut self) {
        self.shared.watch_nothing();
        self.file = None;
    }

    /// Throws the file away: the next look makes it anew.
    fn discard(&mut self, error: &Error) {
        self.close_file();
        self.remade += 1;
        if self.remade > REMADE_AT_ONCE {
            return self.fail(error.clone());
        }
        self.shared.vectors.clear();
        if let Err(error) = storage::throw_away(&self.shared.path) {
            self.fail(error);
        }
        self.shared.update(|figures| figures.last_doubt = Some(error.message.clone()));
        // Whoever reads must not go on with the old one.
        self.shared.next_generation();
    }

    /// Makes everything anew.
    ///
    /// # Errors
    /// What SQLite and the disk answer.
    pub fn rebuild(&mut self) -> Result<()> {
        self.close_file();
        self.shared.vectors.clear();
        storage::throw_away(&self.shared.path)?;
        self.shared.next_generation();
        self.retry = None;
        self.freshen(Depth::Everything)
    }

    /// The write connection, with everything up to date.
    ///
    /// # Errors
    /// As [`Indexer::freshen`].
    pub fn fresh(&mut self) -> Result<&Connection> {
        let done = self.freshen(Depth::Fresh);
        self.note(done.clone());
        done?;
        self.file.as_ref().map(|file| &*file.db).ok_or_else(|| Error::disposed("memory"))
    }

    /// Changes documents in one transaction, and then what is in memory.
    ///
    /// # Errors
    /// As [`Indexer::freshen`], and those of `write`.
    pub fn write<T>(&mut self, write: impl FnOnce(&Connection, &mut Changes) -> Result<T>) -> Result<T> {
        let db = self.fresh()?;
        let transaction = db.unchecked_transaction()?;
        let mut changes = Changes::default();
        let answer = write(&transaction, &mut changes)?;
        fault::point("index-write-commit");
        transaction.commit()?;
        self.logged = Some(Instant::now());
        self.shared.take(&changes)?;
        Ok(answer)
    }

    /// Stores vectors that the caller has made.
    ///
    /// # Errors
    /// As [`Indexer::write`].
    pub fn put(&mut self, given: Vec<Given>) -> Result<Put> {
        self.fresh()?;
        if self.other_model {
            // The first vector of the new model is here: those of the old one go.
            self.with_file(|indexer, db| indexer.change_model(db))?;
        }
        self.write(|db, changes| {
            let mut put = Put::default();
            for Given { document, revision, blob } in given {
                match table::find(db, document)? {
                    None => put.unknown.push(document),
                    Some((id, ..)) if revision.is_some_and(|revision| revision != id) => put.stale.push(document),
                    Some((id, owed, _)) => {
                        if owed {
                            table::set_vector(db, id, blob, changes)?;
                        } else {
                            table::replace_vector(db, id, blob, changes)?;
                        }
                        put.stored += 1;
                    }
                }
            }
            Ok(put)
        })
    }

    /// Stores vectors that somebody else has made with the model in use; how many were still owed.
    ///
    /// # Errors
    /// As [`Indexer::write`].
    pub fn adopt(&mut self, vectors: Vec<Taken>) -> Result<u64> {
        let dimensions = self.shared.vectors.dimensions();
        self.write(|db, changes| {
            let mut adopted = 0;
            for Taken { document, text_hash, vector: values } in vectors {
                let blob = vector::to_blob(&vector::unit(&values, dimensions)?);
                adopted += u64::from(table::set_vector_of(db, document, &text_hash, blob, changes)?);
            }
            Ok(adopted)
        })
    }

    /// Runs `work` with the file taken out, so that both can be worked with.
    fn with_file<T>(&mut self, work: impl FnOnce(&mut Self, &Connection) -> Result<T>) -> Result<T> {
        let file = self.file.take().ok_or_else(|| Error::disposed("memory"))?;
        let done = work(self, &file.db);
        self.file = Some(file);
        done
    }

    /// Takes what was deleted out of the file's free pages and of the text indexes' segments.
    ///
    /// # Errors
    /// As [`Indexer::freshen`].
    pub fn scrub(&mut self) -> Result<()> {
        let db = self.fresh()?;
        table::merge_texts(db)?;
        self.logged = Some(Instant::now());
        self.move_log();
        Ok(())
    }

    /// Moves the log into the file. Whoever reads is not waited for; then the next tick tries again.
    fn move_log(&mut self) {
        let Some(file) = self.file.as_ref().filter(|_| self.logged.is_some()) else { return };
        let moved = file
            .db
            .busy_timeout(Duration::ZERO)
            .and_then(|()| file.db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, bool>(0)));
        // Fails for a closed connection only.
        drop(file.db.busy_timeout(storage::WAIT));
        if matches!(moved, Ok(false)) {
            self.logged = None;
        }
    }

    /// Keeps the embedder busy while anything is owed, and says how that goes.
    fn embed_more(&mut self) {
        let progress = match self.next_batches() {
            Ok(progress) => progress,
            Err(error) => {
                if storage::is_doubt(&error) {
                    self.discard(&error);
                } else {
                    self.fail(error);
                }
                return;
            }
        };
        self.shared.update(|figures| figures.progress = progress);
    }

    fn next_batches(&mut self) -> Result<Progress> {
        if self.file.is_none() || !self.may_try() {
            return Ok(Progress::Idle);
        }
        let owed = self.shared.figures().counts.owed;
        let in_hands = self.embedding.as_ref().map_or(0, |embedding| embedding.waiting);
        if owed == 0 && in_hands == 0 {
            // The thread has nothing to do for long, and costs a stack.
            self.embedding = None;
            self.forget_batches();
            return Ok(Progress::Idle);
        }
        if !self.acts_alone() {
            return Ok(Progress::Stalled("indexing is 'manual': call vectors.sync()".to_owned()));
        }
        if let Some(reason) = model::why_not(&*self.shared.embedder) {
            self.embedding = self.embedding.take().filter(|_| in_hands > 0);
            return Ok(Progress::Stalled(reason));
        }
        if let Some(at) = self.model_retry {
            if at > Instant::now() {
                return Ok(self.shared.figures().progress.clone());
            }
            self.model_retry = None;
        }
        if self.other_model {
            self.with_file(|indexer, db| indexer.change_model(db))?;
        }
        while self.embedding.as_ref().is_none_or(|embedding| embedding.waiting < Embedding::AHEAD) {
            if self.ready.is_empty() && !self.read_owed()? {
                break;
            }
            let Some(batch) = self.ready.pop_front() else { continue };
            if self.embedding.is_none() {
                self.embedding = Some(Embedding::start(&self.shared.embedder, self.verified)?);
            }
            if let Some(embedding) = &mut self.embedding {
                embedding.give(batch);
            }
        }
        let working = self.embedding.as_ref().is_some_and(|embedding| embedding.waiting > 0);
        Ok(if working {
            Progress::Working
        } else {
            let left = self.skipped.len();
            Progress::Stalled(format!(
                "{left} documents could not be embedded; they are tried again after the next change"
            ))
        })
    }

    /// Reads the texts of documents that owe their vectors, newest first, in batches of like length; false where there
    /// is none.
    fn read_owed(&mut self) -> Result<bool> {
        let Some(file) = &self.file else { return Ok(false) };
        let mut owed = table::owed(&file.db, WINDOW + self.busy.len())?;
        owed.retain(|document| !self.busy.contains(&document.id));
        owed.truncate(WINDOW);
        // Documents of a row are read one after the other.
        owed.sort_unstable_by_key(|owed| (owed.document.row(), owed.id));
        let texts = self.feed.texts(&owed).map_err(Failure::into_error)?;
        let mut found: Vec<(i64, String)> = Vec::with_capacity(owed.len());
        for (owed, text) in owed.iter().zip(texts) {
            self.busy.insert(owed.id);
            match text {
                Some(text) => found.push((owed.id, text)),
                // The row has changed since it was read; the next look at the tables finds that.
                None => drop(self.skipped.insert(owed.id)),
            }
        }
        found.sort_by_key(|(_, text)| text.len());
        let (mut batch, mut bytes) = (Vec::new(), 0);
        for (id, text) in found {
            if batch.len() == BATCH || (bytes + text.len() > BATCH_BYTES && !batch.is_empty()) {
                self.ready.push_back(Batch(std::mem::take(&mut batch)));
                bytes = 0;
            }
            bytes += text.len();
            batch.push((id, text));
        }
        if !batch.is_empty() {
            self.ready.push_back(Batch(batch));
        }
        Ok(!owed.is_empty())
    }

    fn forget_batches(&mut self) {
        self.ready.clear();
        self.busy.clear();
        self.skipped.clear();
    }

    fn forget_skipped(&mut self) {
        for id in self.skipped.drain() {
            self.busy.remove(&id);
        }
    }

    /// Takes what was embedded.
    fn take(&mut self, made: Made) {
        if let Some(embedding) = &mut self.embedding {
            embedding.took(&made);
        }
        let stored = match made {
            Made::Probes(probes) => self.verify(&probes),
            Made::Vectors(batch, Ok(vectors)) => self.store(&batch, &vectors),
            Made::Vectors(batch, Err(error)) => {
                self.embedding_failed(batch, &error);
                Ok(())
            }
        };
        if let Err(error) = stored {
            // What is not stored stays owed, and is made again.
            self.forget_batches();
            if storage::is_doubt(&error) {
                self.discard(&error);
            } else {
                self.fail(error);
            }
        }
    }

    fn store(&mut self, batch: &Batch, vectors: &[Vec<f32>]) -> Result<()> {
        fault::point("index-store");
        for (id, _) in &batch.0 {
            self.busy.remove(id);
        }
        let Some(file) = &self.file else { return Ok(()) };
        let dimensions = self.shared.vectors.dimensions();
        let transaction = file.db.unchecked_transaction()?;
        let mut changes = Changes::default();
        for ((id, _), values) in batch.0.iter().zip(vectors) {
            match vector::unit(values, dimensions) {
                Ok(unit) => drop(table::set_vector(&transaction, *id, vector::to_blob(&unit), &mut changes)?),
                // A model that makes such vectors is asked once only.
                Err(_) => {
                    self.busy.insert(*id);
                    self.skipped.insert(*id);
                }
            }
        }
        fault::point("index-store-commit");
        transaction.commit()?;
        self.logged = Some(Instant::now());
        self.shared.update(|figures| figures.embedded += changes.placed.len() as u64);
        self.shared.take(&changes)
    }

    fn embedding_failed(&mut self, batch: Batch, error: &Error) {
        if matches!(error.code, Code::NoModel | Code::ModelMismatch | Code::Disposed) {
            self.forget_batches();
            self.model_retry = Some(Instant::now() + MODEL_RETRY);
            self.shared.update(|figures| figures.progress = Progress::Stalled(error.message.clone()));
        } else if batch.0.len() > 1 {
            // One of these texts may be at fault: it is found, and the others get their vectors.
            let mut batch = batch.0;
            let half = batch.split_off(batch.len() / 2);
            self.ready.push_front(Batch(half));
            self.ready.push_front(Batch(batch));
        } else {
            self.skipped.extend(batch.0.iter().map(|(id, _)| *id));
            self.shared
                .update(|figures| figures.last_doubt = Some(format!("a text was not embedded: {}", error.message)));
        }
    }

    /// Looks for a model again, where there was none.
    ///
    /// # Errors
    /// None.
    pub fn look_for_model(&mut self) -> Result<()> {
        self.model_retry = None;
        self.forget_skipped();
        Ok(())
    }

    /// Documents that owe their vectors, newest first, with their texts.
    ///
    /// # Errors
    /// As [`Indexer::freshen`].
    pub fn pending(&mut self, limit: usize) -> Result<Vec<Pending>> {
        let owed = table::owed(self.fresh()?, limit)?;
        let texts = self.feed.texts(&owed).map_err(Failure::into_error)?;
        let pending = owed.into_iter().zip(texts);
        // A text that changed just now comes with the next call.
        Ok(pending
            .filter_map(|(owed, text)| Some(Pending { document: owed.document, revision: owed.id, text: text? }))
            .collect())
    }

    /// Compares what the model in use makes of the probes with what is stored of them; vectors of another model are
    /// made again.
    ///
    /// # Errors
    /// What SQLite answers.
    pub fn verify(&mut self, probes: &[Vec<f32>]) -> Result<()> {
        if self.verified || self.file.is_none() {
            return Ok(());
        }
        self.with_file(|indexer, db| {
            match model::stored_probes(db)? {
                Some(stored) if same_model(&stored, probes) => {}
                Some(_) => {
                    indexer.change_model(db)?;
                    model::store_probes(db, probes)?;
                }
                None => model::store_probes(db, probes)?,
            }
            indexer.verified = true;
            indexer.shared.set_verified();
            Ok(())
        })
    }
}

/// A vector that the caller has made.
#[derive(Debug)]
pub struct Given {
    /// Of which document.
    pub document: DocumentId,
    /// As `pending()` told it; the vector is of that text only.
    pub revision: Option<i64>,
    /// As it is stored.
    pub blob: Vec<u8>,
}

/// What became of vectors that the caller has made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Put {
    /// Stored.
    pub stored: usize,
    /// Of a text that has changed since: not stored.
    pub stale: Vec<DocumentId>,
    /// There is no such document: not stored.
    pub unknown: Vec<DocumentId>,
}

/// How embedding goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Progress {
    /// There is nothing to do, or nothing is known yet.
    Idle,
    /// Texts are being embedded.
    Working,
    /// Vectors are owed, and are not made now: why.
    Stalled(String),
}

/// Takes rows to the file.
struct Filling<'a> {
    db: &'a Connection,
    shared: &'a Shared,
    changed: bool,
}

impl Sink for Filling<'_> {
    fn db(&self) -> &Connection {
        self.db
    }

    fn apply(&mut self, rows: &[SourceRow], deleted: &[RowKey]) -> Result<Changes> {
        fault::point("index-apply");
        let transaction = self.db.unchecked_transaction()?;
        let mut changes = Changes::default();
        for row in rows {
            table::put(&transaction, row, &mut changes)?;
        }
        for key in deleted {
            table::delete(&transaction, *key, &mut changes)?;
        }
        fault::point("index-commit");
        transaction.commit().map_err(|error| connection::about_file(self.db, error.into()))?;
        self.changed = true;
        self.shared.take(&changes)?;
        Ok(changes)
    }

    fn is_over(&self) -> bool {
        self.shared.is_closing()
    }
}
