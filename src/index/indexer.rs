//! The thread that owns the write connection of `native/index.db`: it feeds, hands texts to whoever embeds them, stores
//! the vectors, and makes the file anew where it is not what it should be.
//!
//! It runs at normal priority and never waits for a model, so that a search is not kept waiting for either: embedding
//! is done by [`Embedding`]'s own thread.

mod backlog;
mod commands;
mod graph_file;
mod merging;

use std::{
    collections::{HashSet, VecDeque},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::Arc,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, select};
use rusqlite::Connection;

use self::merging::Segments;
pub use self::{
    backlog::Progress,
    commands::{Given, Put},
};
use super::{
    Shared,
    document::RowKey,
    embedding::{Batch, Embedding},
    feed::{Depth, Failure, Fed, Feed, Sink},
    model,
    row::SourceRow,
    storage,
    table::{self, Changes},
};
use crate::{
    clock,
    db::{
        Database,
        connection::{self, Identity},
        layout::beside,
    },
    error::{Error, Result},
    fault,
    reply::Reply,
};

/// Between two looks at what others have committed.
const TICK: Duration = Duration::from_secs(1);
/// The first wait after a failure, and the longest.
const RETRY: Duration = Duration::from_secs(1);
const RETRY_MAX: Duration = Duration::from_secs(60);
/// Files made anew in a row before it waits: the disk itself may be at fault.
const REMADE_AT_ONCE: u32 = 3;

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
    saved_at: Option<Instant>,
    /// How it stands with the segments of the text indexes.
    segments: Segments,
}

/// The thread's life.
pub fn run(shared: &Arc<Shared>, commands: &Receiver<Command>) {
    let mut indexer = Indexer::new(Arc::clone(shared));
    // A panic is a fault of one round. What waited for it is told so, the file is opened again, and it goes on.
    while catch_unwind(AssertUnwindSafe(|| indexer.serve(commands))).is_err() {
        indexer.close_file();
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
            saved_at: None,
            segments: Segments::Unknown,
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
            let mut asked = true;
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
                default(wait) => asked = false,
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
                    self.saved_at = Some(Instant::now());
                }
            }
            self.embed_more();
            if !asked && self.may_merge() {
                self.merge_segments();
            }
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
        if self.may_merge() {
            merging::REST
        } else if self.acts_alone() || self.logged.is_some() {
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
            if self.segments == Segments::Few {
                self.segments = Segments::Unknown;
            }
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
        self.segments = Segments::Unknown;
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
}

impl Drop for Indexer {
    fn drop(&mut self) {
        // `Index::close` interrupts what runs. From here on it must not: it would end the checkpoint of closing.
        self.close_file();
    }
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
