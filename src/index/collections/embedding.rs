//! Makes the vectors that are owed, on a thread of its own: first those that somebody waits for, then the others.
//!
//! A document is stored before its vector is made, so whatever happens to this thread, or to the process, costs a
//! vector and never a text. A vector that is made of a text which was replaced meanwhile is not taken.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError};
use rusqlite::Connection;

use super::{
    Shared,
    closing::join_within,
    identity::{self, Verdict},
    identity_text,
    reading::{self, Info, Owed},
    storage::{self, Made},
};
use crate::{
    db::Source,
    embedder::{Availability, Priority},
    error::{Code, Error, Result},
    index::vectors::vector,
    reply::{self, Reply},
};

/// Texts that are embedded at once.
const BATCH: usize = 256;
/// After this long it is tried again where it has failed.
const RETRY: Duration = Duration::from_secs(60);
/// How long a write of vectors waits for a lock.
const PATIENCE: Duration = Duration::from_secs(60);

/// Somebody who waits for the vectors of what they have stored.
pub struct Waiting {
    /// The documents.
    pub keys: Vec<i64>,
    /// Told how many vectors are still owed, and why.
    pub reply: Reply<(usize, Option<String>)>,
}

/// The thread, and the way to it.
#[derive(Default)]
pub struct Embedding {
    line: Mutex<Line>,
    thread: Mutex<Option<JoinHandle<()>>>,
    closing: Arc<AtomicBool>,
}

/// What the thread is told; `None` is to look for what is owed.
type Task = Option<Waiting>;

#[derive(Default)]
enum Line {
    #[default]
    Idle,
    Running(Sender<Task>),
    Closed,
}

impl Embedding {
    /// Has the thread work, which is started where it is not.
    pub fn ask(&self, shared: &Arc<Shared>, task: Task) {
        let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
        if let Line::Idle = &*line {
            let (sender, tasks) = crossbeam_channel::unbounded();
            let (shared, closing) = (Arc::clone(shared), Arc::clone(&self.closing));
            let spawned = std::thread::Builder::new()
                .name("cm-collect-embed".into())
                .spawn(move || Worker::new(shared, closing).serve(&tasks));
            // Without a thread the vectors stay owed, as whoever waits is told; the next one tries again.
            if let Ok(thread) = spawned {
                *self.thread.lock().unwrap_or_else(PoisonError::into_inner) = Some(thread);
                *line = Line::Running(sender);
            }
        }
        let refused = match &*line {
            Line::Running(sender) => sender.send(task).err().map(|error| error.0),
            Line::Idle | Line::Closed => Some(task),
        };
        drop(line);
        if let Some(Some(waiting)) = refused {
            let owed = waiting.keys.len();
            waiting
                .reply
                .settle(Ok((owed, Some("this memory is being disposed, or has no thread to embed on".into()))));
        }
    }

    /// Ends the thread after the batch that it is at; waits at most `bound`.
    pub fn close(&self, bound: Duration) {
        self.closing.store(true, Ordering::SeqCst);
        *self.line.lock().unwrap_or_else(PoisonError::into_inner) = Line::Closed;
        let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() else { return };
        // A panic in it has answered whoever waited, by dropping their replies.
        join_within(thread, bound);
    }
}

struct Worker {
    shared: Arc<Shared>,
    closing: Arc<AtomicBool>,
    reader: Source,
    identity: String,
    /// Whether a collection has come to owe its vectors anew.
    changed: bool,
}

impl Worker {
    fn new(shared: Arc<Shared>, closing: Arc<AtomicBool>) -> Self {
        let reader = super::files::reader(&shared.settings);
        let identity = identity_text(shared.embedder.identity());
        Self { shared, closing, reader, identity, changed: false }
    }

    fn serve(&mut self, tasks: &Receiver<Task>) {
        // Whether something may be owed that nobody waits for; and whether it is to be tried only after a while.
        let (mut behind, mut failed) = (false, false);
        loop {
            let next = if behind && !failed {
                tasks.try_recv().map_err(|error| match error {
                    TryRecvError::Empty => RecvTimeoutError::Timeout,
                    TryRecvError::Disconnected => RecvTimeoutError::Disconnected,
                })
            } else if behind {
                tasks.recv_timeout(RETRY)
            } else {
                tasks.recv().map_err(|_| RecvTimeoutError::Disconnected)
            };
            if self.is_closing() && next.is_err() {
                return;
            }
            match next {
                Ok(Some(waiting)) => {
                    let owes = self.serve_waiting(waiting);
                    (behind, failed) = (behind || owes || std::mem::take(&mut self.changed), failed || owes);
                }
                Ok(None) => (behind, failed) = (true, false),
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => match self.some_owed() {
                    Ok(more) => (behind, failed) = (more, false),
                    Err(_) => failed = true,
                },
            }
        }
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// Makes the vectors that somebody waits for; answers whether some are still owed.
    fn serve_waiting(&mut self, waiting: Waiting) -> bool {
        let mut outcome = Ok(());
        for keys in waiting.keys.chunks(BATCH) {
            outcome = if self.is_closing() { Err(Error::disposed("memory")) } else { self.of_keys(keys) };
            if outcome.is_err() {
                break;
            }
        }
        let left = self.reader.get().and_then(|db| reading::count_owed(db, &waiting.keys));
        // Where even that cannot be told, all may be owed.
        let left = left.unwrap_or(waiting.keys.len());
        waiting.reply.settle(Ok((left, outcome.err().map(|error| error.message).filter(|_| left > 0))));
        left > 0
    }

    fn of_keys(&mut self, keys: &[i64]) -> Result<()> {
        let db = self.reader.get()?;
        let owed = reading::owed_of(db, keys)?;
        let Some(collection) = keys.first().map(|key| reading::collection_of(db, *key)).transpose()?.flatten() else {
            return Ok(());
        };
        // Of a model that has just changed the revisions are others.
        let changed = self.prepare(&collection)?;
        let owed = if changed { reading::owed_of(self.reader.get()?, keys)? } else { owed };
        self.make(collection.id, &owed)
    }

    /// Makes some of those that nobody waits for; answers whether there may be more.
    fn some_owed(&mut self) -> Result<bool> {
        for collection in reading::all(self.reader.get()?)? {
            if collection.space.model().is_none() {
                continue;
            }
            self.prepare(&collection)?;
            let owed = reading::first_owed(self.reader.get()?, collection.id, BATCH)?;
            if !owed.is_empty() {
                self.make(collection.id, &owed)?;
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Has a collection of another model owe its vectors to this one, and answers whether it did. Only once there is this
    /// one: until then those of the other can be searched by vector.
    fn prepare(&mut self, collection: &Info) -> Result<bool> {
        self.shared.can_embed()?;
        let (id, embedder) = (collection.id, Arc::clone(&self.shared.embedder));
        if collection.space.model() == Some(&self.identity) {
            match self.shared.probed.compare(self.reader.get()?, id, &*embedder)? {
                Verdict::Same => return Ok(false),
                Verdict::Unknown => {
                    let probes = self.shared.probed.made(&*embedder)?.to_vec();
                    self.write(move |db| identity::store(db, id, &probes))?;
                    return Ok(false);
                }
                Verdict::Other => {}
            }
        }
        let (identity, probes) = (self.identity.clone(), self.shared.probed.made(&*embedder)?.to_vec());
        let dimensions = embedder.identity().dimensions;
        self.write(move |db| storage::change_model(db, id, &identity, dimensions, &probes))?;
        self.changed = true;
        Ok(true)
    }

    fn make(&self, collection: i64, owed: &[Owed]) -> Result<()> {
        if owed.is_empty() {
            return Ok(());
        }
        self.shared.can_embed()?;
        let texts: Vec<&str> = owed.iter().map(|owed| owed.text.as_str()).collect();
        let vectors = self.shared.embedder.embed(&texts, Priority::Document)?;
        let made = owed
            .iter()
            .zip(vectors)
            .map(|(owed, values)| {
                let unit = vector::unit(&values, self.shared.embedder.identity().dimensions)?;
                Ok(Made { key: owed.key, revision: owed.revision, vector: vector::to_blob(&unit) })
            })
            .collect::<Result<Vec<_>>>()?;
        let identity = self.identity.clone();
        self.write(move |db| storage::pay(db, collection, &identity, &made).map(drop))
    }

    fn write(&self, run: impl FnMut(&Connection) -> Result<()> + Send + 'static) -> Result<()> {
        reply::wait(|reply| {
            self.shared.files.writer.call("collection.embed", Instant::now() + PATIENCE, run, reply);
        })
    }
}

impl Shared {
    /// # Errors
    /// `ERR_NO_MODEL` with the reason.
    pub(super) fn can_embed(&self) -> Result<()> {
        match self.embedder.availability() {
            Availability::Loaded | Availability::Unloaded => Ok(()),
            Availability::Missing { reason } => Err(Error::new(Code::NoModel, reason)),
            Availability::External => Err(Error::new(
                Code::NoModel,
                "this memory was opened with embedder: 'external': texts are not embedded here, hand vectors over",
            )),
        }
    }
}
