//! What `vectors.status()` and `health()` tell of the index.

use std::sync::Arc;

use rusqlite::Connection;

use super::{
    Index, Progress,
    table::{self, Counts},
    vectors,
};
use crate::{
    embedder::{Availability, Identity},
    error::{Code, Result},
    reply::Reply,
    settings::Precision,
};

/// What the index is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The file has not been opened yet; a client's never is.
    Unopened,
    /// Every document has its vector.
    Current,
    /// Vectors are being made.
    Embedding,
    /// Vectors are owed and not made now; the reason says why.
    Waiting,
    /// The tables or the file cannot be read or written; it is tried again.
    Failing,
}

impl State {
    /// What answers call it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unopened => "unopened",
            Self::Current => "current",
            Self::Embedding => "embedding",
            Self::Waiting => "waiting",
            Self::Failing => "failing",
        }
    }
}

/// How the index does.
#[derive(Debug, Clone)]
pub struct Status {
    /// What it is at.
    pub state: State,
    /// Why it fails or waits.
    pub reason: Option<String>,
    /// Observations, summaries and prompts in it.
    pub rows: i64,
    /// Documents.
    pub documents: i64,
    /// Documents without a vector.
    pub pending: i64,
    /// The model in use.
    pub model: Identity,
    /// Whether it can embed.
    pub availability: Availability,
    /// The model that the stored vectors are of, where that is another.
    pub other_model: Option<Identity>,
    /// How searches are answered.
    pub answers: vectors::State,
    /// How vectors are kept in memory.
    pub precision: Precision,
    /// Vectors in memory.
    pub in_memory: usize,
    /// Bytes of them.
    pub memory: vectors::Memory,
    /// Bytes of the model and of remembered queries.
    pub model_bytes: usize,
    /// Bytes of `native/index.db` and its log.
    pub file_bytes: u64,
    /// When the tables were last looked at, epoch ms.
    pub last_feed_epoch: Option<i64>,
    /// How often the file was made anew since open, the first time included.
    pub remade: u64,
    /// Why it was last made anew, where something was wrong with it.
    pub last_doubt: Option<String>,
}

impl Index {
    /// As [`Index::status`], of the tables and the file as they are now. Where those cannot be read the status says so.
    pub fn fresh_status(self: &Arc<Self>, reply: Reply<Status>) {
        let index = Arc::clone(self);
        if self.writes() {
            return self.freshen(Reply::new(move |fresh: Result<()>| {
                reply.settle(match fresh {
                    Err(error) if error.code == Code::Disposed => Err(error),
                    _ => Ok(index.status()),
                });
            }));
        }
        let table = Arc::clone(&self.shared.table);
        let look = move |db: &Connection| Ok((table::counts(db)?, table.other_model(db)?));
        let answer = move |looked: Result<(Counts, Option<Identity>)>| {
            reply.settle(looked.map(|(counts, other_model)| {
                let (rows, documents, pending) = (counts.rows, counts.documents, counts.owed);
                let state = if pending == 0 && other_model.is_none() { State::Current } else { State::Waiting };
                let reason = (state == State::Waiting).then(|| "the owner of the data directory makes them".to_owned());
                Status { state, reason, rows, documents, pending, other_model, ..index.status() }
            }));
        };
        self.readers.call("vectors.status", look, Reply::new(answer));
    }

    /// How the index does, from what its thread last said. Waits for nothing; looks for a model file at most.
    #[must_use]
    pub fn status(&self) -> Status {
        let figures = self.figures();
        let (vectors, embedder) = (self.vectors(), self.embedder());
        let (state, reason) = match (&figures.error, &figures.progress) {
            (Some(error), _) => (State::Failing, Some(error.message.clone())),
            (None, _) if figures.last_feed_epoch.is_none() => (State::Unopened, None),
            (None, _) if figures.other_model.is_some() => {
                (State::Waiting, Some("the stored vectors are of another model than the one in use".to_owned()))
            }
            (None, _) if figures.counts.owed == 0 => (State::Current, None),
            (None, Progress::Stalled(reason)) => (State::Waiting, Some(reason.clone())),
            (None, Progress::Idle | Progress::Working) => (State::Embedding, None),
        };
        Status {
            state,
            reason,
            rows: figures.counts.rows,
            documents: figures.counts.documents,
            pending: figures.counts.owed,
            model: embedder.identity().clone(),
            availability: embedder.availability(),
            other_model: figures.other_model,
            answers: vectors.state(),
            precision: vectors.precision(),
            in_memory: vectors.len(),
            memory: vectors.memory(),
            model_bytes: embedder.memory_bytes(),
            file_bytes: figures.file_bytes,
            last_feed_epoch: figures.last_feed_epoch,
            remade: figures.remade,
            last_doubt: figures.last_doubt,
        }
    }
}
