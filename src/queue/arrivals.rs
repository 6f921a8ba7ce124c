//! What other processes enqueue: the clients of this data directory write `queue.db` themselves, and the owner
//! learns of it here.
//!
//! # The race for ids
//! The owner gives ids from memory, from blocks whose end (the floor) stands in the file. A client takes the next id
//! above that floor and makes it the floor, inside its own `BEGIN IMMEDIATE`. Were the owner to go on with its block,
//! it would give lower ids to later messages; a client's message that was claimed and committed first would then move
//! the watermark past them, and they would count as done without anybody having seen them. So the owner asks first in
//! each transaction ([`Arrivals::notice`]) whether another connection has committed, and goes on above what that one
//! has given. Under the write lock nobody can commit in between: ids rise in the order of the commits, whoever makes
//! them.
//!
//! For the same reason a message that the owner has not counted yet is known by its id: all its own lie below the
//! next one that it would give.

use std::{
    sync::{Arc, Weak},
    thread::JoinHandle,
    time::Duration,
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender};
use rusqlite::Connection;

use super::{
    control,
    engine::{Queue, Shared, on_queue},
    message_ids,
};
use crate::{
    db::{Call, Database, Durability, activity::Running},
    error::Result,
    reply::Reply,
};

/// How often the file is looked at where nobody pokes.
const LOOK: Duration = Duration::from_millis(500);

/// What the queue's writer knows of the other connections.
#[derive(Debug, Default)]
pub struct Arrivals {
    /// `PRAGMA data_version` at the last look; it changes with every commit of another connection.
    seen: Option<i64>,
    /// What clients have changed beside messages, up to there.
    control: Option<i64>,
}

impl Arrivals {
    /// Counts in what others have enqueued, and has the next id lie above theirs. First in each transaction of
    /// the queue's writer.
    pub fn notice(&mut self, shared: &Shared, db: &Connection) -> Result<()> {
        let version = data_version(db)?;
        if self.seen == Some(version) {
            return Ok(());
        }
        let arrived: Vec<(i64, usize, i64)> = db
            .prepare_cached("SELECT session_id, bytes, enqueued_at_epoch FROM messages WHERE id >= ?1 ORDER BY id")?
            .query_map([shared.ids.next()], |row| {
                Ok((row.get(0)?, usize::try_from(row.get::<_, i64>(1)?).unwrap_or(0), row.get(2)?))
            })?
            .collect::<rusqlite::Result<_>>()?;
        shared.ids.follow(message_ids::highest_stored(db)?, message_ids::floor(db)?);
        control::notice(shared, db, &mut self.control)?;
        self.seen = Some(version);
        if arrived.is_empty() {
            return Ok(());
        }
        shared.with(|state, effects| {
            let mut sessions: Vec<i64> = Vec::new();
            state.metrics.enqueued.record(arrived.len());
            for (session_id, bytes, epoch) in arrived {
                state.count_in(session_id, bytes, epoch);
                state.session(session_id).durable += 1;
                if !sessions.contains(&session_id) {
                    sessions.push(session_id);
                }
            }
            for session_id in sessions {
                state.follow_up(session_id, effects);
            }
        });
        Ok(())
    }
}

fn data_version(db: &Connection) -> Result<i64> {
    Ok(db.prepare_cached("PRAGMA data_version")?.query_row([], |row| row.get(0))?)
}

impl Queue {
    /// Takes over at once what clients have enqueued. Answers the depth of the session, or of all.
    pub fn poke(&self, session_id: Option<i64>, reply: Reply<usize>) {
        let queue = self.clone();
        on_queue(
            self.shared(),
            "poke",
            Durability::Normal,
            // The transaction itself is what notices.
            |_| Ok(()),
            Reply::new(move |outcome: Result<()>| reply.settle(outcome.map(|()| queue.depth(session_id)))),
        );
    }
}

/// The thread that looks at the file for a queue that has nothing to do; ends with it.
#[derive(Debug)]
pub struct Watch {
    stop: Sender<()>,
    thread: JoinHandle<()>,
    ended: Receiver<()>,
}

impl Watch {
    /// Starts it, on a connection of its own that only reads. `changes` is what [`control::changes`] was before the
    /// queue was read.
    pub fn start(shared: &Arc<Shared>, db: Database, mut changes: i64, running: Running) -> Result<Self> {
        let (stop, stopped) = crossbeam_channel::bounded(1);
        let (end, ended) = crossbeam_channel::bounded(1);
        let weak = Arc::downgrade(shared);
        let thread = std::thread::Builder::new().name("cm-watch".into()).spawn(move || {
            let mut seen = None;
            while stopped.recv_timeout(LOOK) == Err(RecvTimeoutError::Timeout) {
                // What fails now is asked again at the next look.
                if look(&weak, &db, &mut seen, &mut changes).is_ok_and(|open| !open) {
                    break;
                }
            }
            drop(db);
            drop(running);
            // Nobody listens where the queue was only garbage-collected.
            let _ = end.send(());
        })?;
        Ok(Self { stop, thread, ended })
    }

    /// Ends the thread and closes its connection; waits at most `bound`.
    pub fn close(self, bound: Duration) {
        let _ = self.stop.try_send(());
        if self.ended.recv_timeout(bound).is_ok() {
            drop(self.thread.join());
        }
    }
}

/// Looks whether somebody has committed a message that the owner has not counted, or changed something else; false where
/// the queue is gone.
fn look(weak: &Weak<Shared>, db: &Connection, seen: &mut Option<i64>, changes: &mut i64) -> Result<bool> {
    // A word of shared memory, most of the time.
    let version = data_version(db)?;
    let Some(shared) = weak.upgrade() else { return Ok(false) };
    if *seen != Some(version) {
        // The owner's own commits change it as well.
        let (highest, changed) = (message_ids::highest_stored(db)?, control::changes(db)?);
        *seen = Some(version);
        if highest >= shared.ids.next() || std::mem::replace(changes, changed) != changed {
            shared.queue_writer().submit(Call::new("arrivals", shared.deadline(), |_| Ok(()), Reply::ignore()));
        }
    }
    Ok(true)
}
