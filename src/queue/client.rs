//! The queue of a client: it enqueues, and lists what waits, straight from `queue.db`; [`super::control`] is what else it
//! may change. Whoever consumes, and the counters in memory, are the owner's.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI64, Ordering},
    },
    time::{Duration, Instant},
};

use rusqlite::{Connection, params};

use super::{
    dead_letters::{self, DeadLetter},
    directory::Sessions,
    enqueue::{EVICT_EVERY, EnqueueOptions, Enqueued, check_bounds},
    figures::Figures,
    import::{self, Identity},
    incoming::{Destination, Incoming},
    message_ids,
    peek::{Peek, Peeked, peek},
    shape::Shape,
    state::{ALL, Waiting},
};
use crate::{
    clock,
    db::{Call, Readers, Writer},
    error::{Code, Error, Result},
    reply::Reply,
    settings::Settings,
};

/// The queues of one memory that does not own its data directory.
pub struct ClientQueue {
    shared: Arc<Shared>,
    writer: Writer,
    readers: Readers,
}

/// What its threads work on.
pub struct Shared {
    /// Options.
    pub settings: Arc<Settings>,
    /// What is known of sessions.
    pub directory: Box<dyn Sessions>,
    /// The highest id that was seen in `queue.db`; 0 before the first.
    known: AtomicI64,
    /// From the last look at the file.
    figures: Mutex<Figures>,
    closed: AtomicBool,
}

impl ClientQueue {
    /// `writer` writes `queue.db` and `readers` read it; `directory` knows the sessions.
    pub fn new(settings: Arc<Settings>, writer: Writer, readers: Readers, directory: Box<dyn Sessions>) -> Self {
        let shared = Shared {
            settings,
            directory,
            known: AtomicI64::new(0),
            figures: Mutex::default(),
            closed: AtomicBool::new(false),
        };
        Self { shared: Arc::new(shared), writer, readers }
    }

    pub(super) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// As [`super::Queue::enqueue_raw`]; bounds are looked up in the tables.
    pub fn enqueue_raw(
        &self,
        session_id: i64,
        body: Vec<u8>,
        shape: Shape,
        options: EnqueueOptions,
        reply: Reply<Enqueued>,
    ) {
        if self.shared.closed.load(Ordering::Relaxed) {
            return reply.settle(Err(Error::disposed("memory")));
        }
        let shared = Arc::clone(&self.shared);
        let deadline = options.deadline.unwrap_or_else(|| Instant::now() + shared.settings.deadline);
        let mut message = Incoming::new(session_id, body, shape, options);
        let bytes = message.bytes;
        // What no queue would take needs no look at one.
        if let Err(refusal) = check_bounds(&shared.settings.bounds, session_id, bytes, (0, 0), 0) {
            return reply.settle(Err(refusal));
        }
        let run = move |db: &Connection| shared.store(db, &mut message);
        self.writer.submit(Call::new("enqueue", deadline, run, reply).bytes(bytes));
    }

    /// As [`super::Queue::discover`], read from the file; what is leased counts as waiting.
    pub fn discover(&self, reply: Reply<Vec<Waiting>>) {
        let shared = Arc::clone(&self.shared);
        self.readers.call("discover", move |db| shared.waiting(db), reply);
    }

    /// As [`super::Queue::dead_letters`].
    pub fn dead_letters(&self, session_id: Option<i64>, limit: i64, offset: i64, reply: Reply<Vec<DeadLetter>>) {
        self.readers.call("deadLetters", move |db| dead_letters::list(db, session_id, limit, offset), reply);
    }

    /// As [`super::Queue::dead_letter`].
    pub fn dead_letter(&self, id: i64, reply: Reply<Option<DeadLetter>>) {
        self.readers.call("getDeadLetter", move |db| dead_letters::find(db, id), reply);
    }

    /// As [`super::Queue::remember_identities`].
    pub fn remember_identities(&self, list: Vec<(i64, Identity)>, deadline: Instant, reply: Reply<()>) {
        let run = move |db: &Connection| import::remember_all(db, &list);
        self.writer.submit(Call::new("remember-messages", deadline, run, reply));
    }

    /// As [`super::Queue::peek`].
    pub fn peek(&self, which: Peek, reply: Reply<Vec<Peeked>>) {
        let shared = Arc::clone(&self.shared);
        self.readers.call("peek", move |db| peek(db, &*shared.directory, &which), reply);
    }

    /// The writer of `queue.db`, for health.
    #[must_use]
    pub fn writer(&self) -> &Writer {
        &self.writer
    }

    /// The reader of `queue.db`, for health.
    #[must_use]
    pub fn readers(&self) -> &Readers {
        &self.readers
    }

    /// Figures as they were at the last look, which [`ClientQueue::look`] takes.
    #[must_use]
    pub fn figures(&self) -> Figures {
        self.shared.figures.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What takes a look at the file for [`ClientQueue::figures`].
    pub fn look(&self) -> impl FnOnce(&Connection) -> Result<()> + Send + use<> {
        let shared = Arc::clone(&self.shared);
        move |db| {
            let figures = shared.figures(db)?;
            *shared.figures.lock().unwrap_or_else(PoisonError::into_inner) = figures;
            Ok(())
        }
    }

    /// Refuses what comes later.
    pub fn dispose(&self) {
        self.shared.closed.store(true, Ordering::Relaxed);
    }

    /// Lets what is queued finish and closes the files.
    pub fn close(&self, bound: Duration) {
        self.readers.close(bound);
        self.writer.close(bound);
        self.shared.directory.close();
    }
}

impl std::fmt::Debug for ClientQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClientQueue").finish_non_exhaustive()
    }
}

impl Shared {
    /// Whether it is disposed.
    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// Notes an id that was given.
    pub fn note_id(&self, id: i64) {
        self.known.fetch_max(id, Ordering::Relaxed);
    }

    /// Messages of a session that are not acknowledged.
    pub fn depth(&self, db: &Connection, session_id: i64) -> Result<usize> {
        count(db, session_id, self.directory.watermark(db, session_id)?.upto)
    }

    /// Whether one more message of so many bytes is within the bounds.
    pub fn check_room(&self, db: &Connection, session_id: i64, bytes: usize) -> Result<()> {
        self.check_bounds(db, session_id, self.directory.watermark(db, session_id)?.upto, bytes)
    }

    /// Inside the writer's transaction.
    fn store(&self, db: &Connection, message: &mut Incoming) -> Result<Enqueued> {
        let session_id = message.session_id;
        let upto = self.directory.watermark(db, session_id)?.upto;
        let newest = message_ids::highest_stored(db)?.max(message_ids::floor(db)?);
        let mut highest = 0;
        let to = Destination { db, sessions: &*self.directory, bounds: &self.settings.bounds, newest };
        let outcome = message.store(
            &to,
            |bytes| {
                self.check_bounds(db, session_id, upto, bytes)?;
                highest = message_ids::take_as_client(db, self.given_elsewhere(db, newest)?)?;
                Ok(highest)
            },
            |id| id.unsigned_abs().is_multiple_of(EVICT_EVERY),
        )?;
        self.known.fetch_max(highest, Ordering::Relaxed);
        let depth = count(db, session_id, upto)?;
        Ok(Enqueued { id: outcome.id, depth, duplicate: outcome.duplicate })
    }

    /// What the other file says that may have been given. `queue.db` knows it as well, unless it is new or was
    /// restored.
    pub fn given_elsewhere(&self, db: &Connection, newest: i64) -> Result<i64> {
        let known = self.known.load(Ordering::Relaxed);
        if known > 0 && newest >= known {
            return Ok(0);
        }
        Ok(self.directory.watermarks(db)?.1.max(message_ids::highest_noted(db)?).max(known))
    }

    fn check_bounds(&self, db: &Connection, session_id: i64, upto: i64, size: usize) -> Result<()> {
        let bounds = &self.settings.bounds;
        let depth = count(db, session_id, upto)?;
        // No more bytes can wait than lie in the file: mostly nothing has to be summed up.
        if depth < bounds.session_messages
            && bytes_in(db)?.saturating_add(size) <= bounds.session_bytes.min(bounds.total_bytes)
        {
            return Ok(());
        }
        let mut own = (0, 0);
        let mut total = 0;
        self.each_waiting(db, |id, _, bytes, _| {
            total += bytes;
            if id == session_id {
                own = (own.0 + 1, own.1 + bytes);
            }
        })?;
        check_bounds(bounds, session_id, size, own, total)
    }

    /// Every message that is not acknowledged: session, id, bytes, when it came.
    fn each_waiting(&self, db: &Connection, mut visit: impl FnMut(i64, i64, usize, i64)) -> Result<()> {
        let watermarks: std::collections::HashMap<i64, i64> =
            self.directory.watermarks(db)?.0.into_iter().map(|(id, watermark)| (id, watermark.upto)).collect();
        let mut statement =
            db.prepare_cached("SELECT session_id, id, bytes, enqueued_at_epoch FROM messages ORDER BY id")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let (session_id, id): (i64, i64) = (row.get(0)?, row.get(1)?);
            if id > watermarks.get(&session_id).copied().unwrap_or(0) {
                visit(session_id, id, usize::try_from(row.get::<_, i64>(2)?).unwrap_or(0), row.get(3)?);
            }
        }
        Ok(())
    }

    fn waiting(&self, db: &Connection) -> Result<Vec<Waiting>> {
        let mut sessions: std::collections::BTreeMap<i64, (Waiting, i64)> = std::collections::BTreeMap::new();
        self.each_waiting(db, |session_id, id, bytes, epoch| {
            let (entry, _) = sessions.entry(session_id).or_insert_with(|| {
                let entry = Waiting {
                    session_db_id: session_id,
                    depth: 0,
                    bytes: 0,
                    oldest_epoch: Some(epoch),
                    ready_at_epoch: None,
                    attempts: 0,
                    paused: false,
                };
                (entry, id)
            });
            entry.depth += 1;
            entry.bytes += bytes;
        })?;
        let now = clock::now_epoch();
        let mut paused = db.prepare_cached(
            "SELECT 1 FROM pauses WHERE session_id IN (?1, ?2) AND (until_epoch IS NULL OR until_epoch > ?3)",
        )?;
        let mut ready = db.prepare_cached(
            "SELECT (SELECT ready_at_epoch FROM backoffs WHERE session_id = ?1 AND ready_at_epoch > ?2),
               coalesce((SELECT count FROM attempts WHERE message_id = ?3), 0)",
        )?;
        let mut list = Vec::with_capacity(sessions.len());
        for (id, (mut entry, head)) in sessions {
            (entry.ready_at_epoch, entry.attempts) =
                ready.query_row(params![id, now, head], |row| Ok((row.get(0)?, row.get(1)?)))?;
            entry.paused = paused.exists(params![id, ALL, now])?;
            list.push(entry);
        }
        list.sort_by_key(|entry| (entry.oldest_epoch, entry.session_db_id));
        Ok(list)
    }

    fn figures(&self, db: &Connection) -> Result<Figures> {
        let waiting = self.waiting(db)?;
        let dead: i64 = db.query_row("SELECT count(*) FROM dead_letters", [], |row| row.get(0))?;
        Ok(Figures {
            depth: waiting.iter().map(|entry| entry.depth).sum(),
            bytes: waiting.iter().map(|entry| entry.bytes).sum(),
            oldest_epoch: waiting.first().and_then(|entry| entry.oldest_epoch),
            attempts: waiting.iter().map(|entry| u64::from(entry.attempts)).sum(),
            dead: usize::try_from(dead).unwrap_or(0),
            sessions: waiting.len(),
            paused: waiting.iter().filter(|entry| entry.paused).count(),
            ..Figures::default()
        })
    }
}

/// Messages of a session that are not acknowledged.
fn count(db: &Connection, session_id: i64, upto: i64) -> Result<usize> {
    let count: i64 = db
        .prepare_cached("SELECT count(*) FROM messages WHERE session_id = ?1 AND id > ?2")?
        .query_row([session_id, upto], |row| row.get(0))?;
    Ok(usize::try_from(count).unwrap_or(0))
}

/// Bytes of the pages that are in use.
fn bytes_in(db: &Connection) -> Result<usize> {
    let pragma = |name: &str| -> Result<i64> {
        Ok(db.prepare_cached(&format!("PRAGMA {name}"))?.query_row([], |row| row.get(0))?)
    };
    let pages = pragma("page_count")? - pragma("freelist_count")?;
    Ok(usize::try_from(pages.saturating_mul(pragma("page_size")?)).unwrap_or(usize::MAX))
}

/// What a client answers where only the owner can.
#[must_use]
pub fn only_the_owner(code: Code, what: &str) -> Error {
    Error::new(
        code,
        format!(
            "{what} is the owner's alone, and this memory was opened with role: 'client'; let the owner of the data \
             directory (the worker) do it, or open it without role while nobody owns it"
        ),
    )
    .with("role", "client")
}
