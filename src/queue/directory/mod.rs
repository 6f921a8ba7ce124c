//! What the queue knows of sessions, and where what is done is written down.
//!
//! There are two of them. Where `claude-mem.db` is open, the session rows lie there, and a commit stores rows and
//! watermark in one transaction of it ([`shared_file`]). Without it the queue is on its own ([`own_file`]): the
//! caller's session numbers are taken as they are, and the watermark is kept in `queue.db`.
//!
//! One data directory may be opened the one way today and the other way tomorrow, so `queue.db` has a row a
//! session (table `sessions`):
//! - `upto`: acknowledged while the queue was on its own. Counts always: neither way of opening delivers it again.
//! - `shared_upto`: a copy of the watermark in `claude-mem.db`, which is the truth where that file is open; the
//!   copy only counts where it is not.
//! - `claude_session_id` and `project`, as they were last heard, and `named_at`: the id of the message up to which
//!   that is known.

mod own_file;
mod shared_file;
mod shared_sessions;

use std::{sync::Arc, time::Instant};

use rusqlite::{Connection, OptionalExtension};

use super::{commit::Answer, engine::Shared};
use crate::{
    error::{Code, Error, Result},
    reply::Reply,
    store::{opening::SessionRow, response::StoredResponse},
};

pub use own_file::OwnFile;
pub use shared_file::SharedFile;
pub use shared_sessions::SharedSessions;

/// A session.
#[derive(Debug, Clone)]
pub struct Known {
    /// Its row; what nobody has told is empty.
    pub row: Arc<SessionRow>,
    /// Whether `row.claude_session_id` is known.
    pub named: bool,
}

impl Known {
    /// Whether a message that was meant for `owner` belongs to it. A message that names nobody goes by its
    /// session's number alone.
    pub fn owns(&self, owner: &str) -> bool {
        owner.is_empty() || !self.named || *owner == *self.row.claude_session_id
    }

    /// Its `claude_session_id`, where that is known.
    pub fn name(&self) -> Option<&str> {
        self.named.then_some(&*self.row.claude_session_id)
    }
}

/// How far a session is done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Watermark {
    /// Messages up to this id are acknowledged, in whichever file.
    pub upto: i64,
    /// What the file that takes the next acknowledgement says: a commit advances it only from there.
    pub fence: i64,
    /// Messages up to this id stay although they are acknowledged: whether their acknowledgement is on the disk
    /// is not to be seen from here.
    pub keep: i64,
}

/// What the caller says of a session.
#[derive(Debug, Clone, Copy, Default)]
pub struct Told<'a> {
    pub claude_session_id: Option<&'a str>,
    pub project: Option<&'a str>,
}

/// A commit on its way.
pub struct Acknowledgement {
    pub session_id: i64,
    pub claude_session_id: Box<str>,
    /// The lease's token.
    pub token: i64,
    /// [`Watermark::fence`] at the claim.
    pub fence: i64,
    /// The last message of the batch.
    pub upto: i64,
    pub ids: Vec<i64>,
    pub deadline: Instant,
}

/// The session's oldest message: when it came (epoch ms), counted attempts.
pub type Head = Option<(i64, u32)>;

/// What a commit did.
pub struct Acknowledged {
    pub stored: StoredResponse,
    /// Where the same transaction has cleared what the batch leaves in `queue.db`: the session's head now.
    pub cleared: Option<Head>,
}

/// Every session's watermark, and the id above which the next message's must lie.
pub type Watermarks = (Vec<(i64, Watermark)>, i64);

/// Look-ups, the owner's and a client's. `db` is always a connection of `queue.db`.
pub trait Sessions: Send + Sync {
    /// A session; `None` where there is no such row.
    fn session(&self, db: &Connection, session_id: i64) -> Result<Option<Known>>;

    /// The session that a message is for, or that becomes active, checked against what the caller says of it.
    /// `at` is the newest message id.
    ///
    /// # Errors
    /// `ERR_NOT_FOUND` where it does not exist or is another.
    fn enter(&self, db: &Connection, session_id: i64, told: Told<'_>, at: i64) -> Result<Known>;

    /// The number that a session has now, which had the number `was`; `None` where it is gone. One without a name
    /// goes by its number.
    fn number_of(&self, db: &Connection, was: i64, claude_session_id: &str) -> Result<Option<i64>>;

    /// A session's watermark, whether or not its row is still there.
    fn watermark(&self, db: &Connection, session_id: i64) -> Result<Watermark>;

    /// Every watermark, and the id above which the next message's must lie, as far as `queue.db` does not say that.
    fn watermarks(&self, db: &Connection) -> Result<Watermarks>;

    /// Closes its connection; later look-ups answer `ERR_DISPOSED`.
    fn close(&self);
}

/// See the module: what the owner has. `db` is always the connection of `queue.db`, on its writer's thread.
pub trait Directory: Sessions {
    /// A transaction of `queue.db` has begun on its writer's thread: what was remembered is looked at again.
    fn look_again(&self) {}

    /// Whether a commit with this answer can be stored here.
    ///
    /// # Errors
    /// `ERR_NOT_OPEN` with the remedy.
    fn accepts(&self, answer: &Answer) -> Result<()>;

    /// At open: brings what `queue.db` knows by itself up to date, then answers as [`Sessions::watermarks`].
    fn recover(&self, db: &Connection) -> Result<Watermarks>;

    /// Notes that ids below `floor` may have been given; nobody waits for it.
    fn raise_id_floor(&self, floor: i64);

    /// Stores the answer and advances the watermark, both or neither.
    fn commit(&self, shared: &Arc<Shared>, what: Acknowledgement, answer: Answer, reply: Reply<Acknowledged>);

    /// Settles once every commit that has begun is settled. Blocks nobody.
    fn settle_commits(&self, deadline: Instant, reply: Reply<()>);

    /// Whether a commit is on its way elsewhere than in the writer of `queue.db`.
    fn commits_in_flight(&self) -> bool;

    /// Settles once every acknowledgement made so far would survive a power cut, or cannot be lost without the
    /// purge that is to follow.
    fn secure(&self, reply: Reply<()>);
}

/// `(upto, shared_upto)` of a session's row in `queue.db`.
fn own_watermarks(db: &Connection, session_id: i64) -> Result<(i64, i64)> {
    Ok(db
        .prepare_cached("SELECT upto, shared_upto FROM sessions WHERE session_id = ?1")?
        .query_row([session_id], |row| Ok((row.get(0)?, row.get(1)?)))
        .optional()?
        .unwrap_or((0, 0)))
}

/// `(session_id, upto, shared_upto)` of every row.
fn all_own_watermarks(db: &Connection) -> Result<Vec<(i64, i64, i64)>> {
    Ok(db
        .prepare("SELECT session_id, upto, shared_upto FROM sessions")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?)
}

/// The error of a session that does not exist.
pub fn unknown(session_id: i64) -> Error {
    Error::new(Code::NotFound, format!("there is no session {session_id}; create it with createSDKSession first"))
        .with("sessionDbId", session_id)
}
