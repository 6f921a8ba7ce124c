//! The queues, as the memory's role has them.

use std::time::{Duration, Instant};

use super::{
    ClientQueue, DeadLetter, DeadLetterFilter, EnqueueOptions, Enqueued, Figures, Identity, Peek, Peeked, Queue, Shape,
    Waiting, client::only_the_owner,
};
use crate::{
    db::Writer,
    error::{Code, Result},
    reply::Reply,
};

/// What the owner of a data directory has, or what a client of it has.
#[derive(Debug)]
pub enum Queues {
    /// Everything.
    Owner(Queue),
    /// Enqueueing, lists read from the file, pauses and dead letters.
    Client(Box<ClientQueue>),
}

impl Queues {
    /// The owner's; a client is told that `what` is not its.
    ///
    /// # Errors
    /// `ERR_NOT_OPEN` on a client.
    pub fn owner(&self, what: &str) -> Result<&Queue> {
        match self {
            Self::Owner(queue) => Ok(queue),
            Self::Client(_) => Err(only_the_owner(Code::NotOpen, what)),
        }
    }

    /// Enqueues the JSON text of one object. Resolved, it is durable.
    pub fn enqueue(&self, session_id: i64, payload: String, options: EnqueueOptions, reply: Reply<Enqueued>) {
        self.enqueue_raw(session_id, payload.into_bytes(), Shape::default(), options, reply);
    }

    /// Enqueues UTF-8 text as it came, brought into shape on the writer's thread. Resolved, it is durable.
    pub fn enqueue_raw(
        &self,
        session_id: i64,
        body: Vec<u8>,
        shape: Shape,
        options: EnqueueOptions,
        reply: Reply<Enqueued>,
    ) {
        match self {
            Self::Owner(queue) => queue.enqueue_raw(session_id, body, shape, options, reply),
            Self::Client(queue) => queue.enqueue_raw(session_id, body, shape, options, reply),
        }
    }

    /// Every session with waiting messages, the one with the oldest first.
    pub fn discover(&self, reply: Reply<Vec<Waiting>>) {
        match self {
            Self::Owner(queue) => reply.settle(Ok(queue.discover())),
            Self::Client(queue) => queue.discover(reply),
        }
    }

    /// Lists dead letters, the newest first, without their text.
    pub fn dead_letters(&self, session_id: Option<i64>, limit: i64, offset: i64, reply: Reply<Vec<DeadLetter>>) {
        match self {
            Self::Owner(queue) => queue.dead_letters(session_id, limit, offset, reply),
            Self::Client(queue) => queue.dead_letters(session_id, limit, offset, reply),
        }
    }

    /// One dead letter with its text, or `None`.
    pub fn dead_letter(&self, id: i64, reply: Reply<Option<DeadLetter>>) {
        match self {
            Self::Owner(queue) => queue.dead_letter(id, reply),
            Self::Client(queue) => queue.dead_letter(id, reply),
        }
    }

    /// Stops deliveries of a session, or of all.
    pub fn pause(&self, session_id: Option<i64>, until_epoch: Option<i64>, reason: Option<String>, reply: Reply<()>) {
        match self {
            Self::Owner(queue) => queue.pause(session_id, until_epoch, reason, reply),
            Self::Client(queue) => queue.pause(session_id, until_epoch, reason, reply),
        }
    }

    /// Resumes deliveries of a session, or of all.
    pub fn resume(&self, session_id: Option<i64>, reply: Reply<()>) {
        match self {
            Self::Owner(queue) => queue.resume(session_id, reply),
            Self::Client(queue) => queue.resume(session_id, reply),
        }
    }

    /// Enqueues a dead letter again, at the tail and under a new id.
    pub fn retry_dead_letter(&self, id: i64, reply: Reply<Enqueued>) {
        match self {
            Self::Owner(queue) => queue.retry_dead_letter(id, reply),
            Self::Client(queue) => queue.retry_dead_letter(id, reply),
        }
    }

    /// Throws dead letters away; answers how many.
    pub fn purge_dead_letters(&self, filter: DeadLetterFilter, reply: Reply<usize>) {
        match self {
            Self::Owner(queue) => queue.purge_dead_letters(filter, reply),
            Self::Client(queue) => queue.purge_dead_letters(filter, reply),
        }
    }

    /// Remembers what an export gave away: a session's number and an identity each.
    pub fn remember_identities(&self, list: Vec<(i64, Identity)>, deadline: Instant, reply: Reply<()>) {
        match self {
            Self::Owner(queue) => queue.remember_identities(list, deadline, reply),
            Self::Client(queue) => queue.remember_identities(list, deadline, reply),
        }
    }

    /// Messages that wait, without claiming them; see [`super::peek`].
    pub fn peek(&self, which: Peek, reply: Reply<Vec<Peeked>>) {
        match self {
            Self::Owner(queue) => queue.peek(which, reply),
            Self::Client(queue) => queue.peek(which, reply),
        }
    }

    /// Figures for health; a client's are those of the last look at the file.
    #[must_use]
    pub fn figures(&self) -> Figures {
        match self {
            Self::Owner(queue) => queue.figures(None),
            Self::Client(queue) => queue.figures(),
        }
    }

    /// Active sessions; a client has none.
    #[must_use]
    pub fn session_count(&self) -> usize {
        match self {
            Self::Owner(queue) => queue.session_count(),
            Self::Client(_) => 0,
        }
    }

    /// The writer of `queue.db`, for health.
    #[must_use]
    pub fn writer(&self) -> &Writer {
        match self {
            Self::Owner(queue) => queue.writer(),
            Self::Client(queue) => queue.writer(),
        }
    }

    /// Ends what waits, and refuses what comes later.
    pub fn dispose(&self) {
        match self {
            Self::Owner(queue) => queue.dispose(),
            Self::Client(queue) => queue.dispose(),
        }
    }

    /// Lets what is queued finish and closes the files.
    pub fn close(&self, bound: Duration) {
        match self {
            Self::Owner(queue) => queue.close(bound),
            Self::Client(queue) => queue.close(bound),
        }
    }
}
