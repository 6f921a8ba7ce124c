//! A look at what waits, without claiming it: for people who want to know what a queue is stuck on.

use std::{
    collections::{HashMap, hash_map::Entry},
    io::Read,
    sync::Arc,
};

use rusqlite::{Connection, params};

use super::{
    directory::Sessions,
    engine::{Queue, Shared, on_queue},
};
use crate::{
    db::Durability,
    error::{Error, Result},
    reply::Reply,
};

/// Which messages.
#[derive(Debug, Clone, Default)]
pub struct Peek {
    /// Only those of this session.
    pub session_id: Option<i64>,
    /// Only those of sessions of this project.
    pub project: Option<String>,
    /// Only those with a higher id than this one.
    pub after: i64,
    /// At most so many.
    pub limit: usize,
    /// Bytes of each message's text that are shown.
    pub preview_bytes: usize,
}

/// A message that waits, or is leased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peeked {
    /// Its id.
    pub id: i64,
    /// `sdk_sessions.id`.
    pub session_db_id: i64,
    /// The session it is meant for.
    pub claude_session_id: Option<String>,
    /// That session's project.
    pub project: Option<String>,
    /// The message's `type`.
    pub kind: Option<String>,
    /// Its prompt's number.
    pub prompt_number: Option<i64>,
    /// Whether a batch ends with it.
    pub ends_batch: bool,
    /// Counted attempts.
    pub attempts: u32,
    /// What the last attempt said.
    pub error: Option<String>,
    /// Whether somebody works on it.
    pub leased: bool,
    /// When it came, epoch ms.
    pub enqueued_at_epoch: i64,
    /// Bytes of its JSON text.
    pub bytes: i64,
    /// Where its JSON text begins.
    pub preview: String,
}

/// Rows that are looked at in one go on the thread that enqueues, which somebody may wait for: some milliseconds.
const ROWS: usize = 2_048;

/// What is asked of a session once a look.
struct Whose {
    name: Option<String>,
    project: Option<String>,
    upto: i64,
}

/// Messages that are not acknowledged, in the order in which they came. Of each text only the beginning is read.
pub fn peek<S: Sessions + ?Sized>(db: &Connection, sessions: &S, which: &Peek) -> Result<Vec<Peeked>> {
    Ok(look(db, sessions, which, usize::MAX)?.0)
}

/// The same among the next `rows` rows, and the id behind which to go on, where there may be more.
fn look<S: Sessions + ?Sized>(
    db: &Connection,
    sessions: &S,
    which: &Peek,
    rows: usize,
) -> Result<(Vec<Peeked>, Option<i64>)> {
    let (mut left, mut last) = (rows, which.after);
    let mut known: HashMap<i64, Whose> = HashMap::new();
    let mut found = Vec::new();
    let only = if which.session_id.is_some() { "m.session_id = ?2" } else { "?2 IS NULL" };
    // The lease's row may be of a batch that is done: those messages are acknowledged and left out.
    let mut statement = db.prepare_cached(&format!(
        "SELECT m.id, m.session_id, m.claude_session_id, m.type, m.prompt_number, m.ends_batch, m.enqueued_at_epoch, m.bytes,
           coalesce(a.count, 0), a.error, l.session_id IS NOT NULL
         FROM messages AS m LEFT JOIN attempts AS a ON a.message_id = m.id
           LEFT JOIN leases AS l ON l.session_id = m.session_id AND m.id BETWEEN l.first_id AND l.last_id
         WHERE m.id > ?1 AND {only} ORDER BY m.id"
    ))?;
    let mut rows = statement.query(params![which.after, which.session_id])?;
    while found.len() < which.limit {
        if left == 0 {
            return Ok((found, Some(last)));
        }
        let Some(row) = rows.next()? else { break };
        let (id, session_db_id): (i64, i64) = (row.get(0)?, row.get(1)?);
        (left, last) = (left - 1, id);
        let whose = match known.entry(session_db_id) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(whose(db, sessions, session_db_id)?),
        };
        if id <= whose.upto || (which.project.is_some() && which.project != whose.project) {
            continue;
        }
        let own: String = row.get(2)?;
        found.push(Peeked {
            id,
            session_db_id,
            claude_session_id: Some(own).filter(|name| !name.is_empty()).or_else(|| whose.name.clone()),
            project: whose.project.clone(),
            kind: row.get(3)?,
            prompt_number: row.get(4)?,
            ends_batch: row.get(5)?,
            enqueued_at_epoch: row.get(6)?,
            bytes: row.get(7)?,
            attempts: row.get(8)?,
            error: row.get(9)?,
            leased: row.get(10)?,
            preview: preview(db, id, which.preview_bytes)?,
        });
    }
    Ok((found, None))
}

fn whose<S: Sessions + ?Sized>(db: &Connection, sessions: &S, session_id: i64) -> Result<Whose> {
    let upto = sessions.watermark(db, session_id)?.upto;
    let known = sessions.session(db, session_id)?;
    let project = known.as_ref().map(|known| known.row.project.to_string()).filter(|project| !project.is_empty());
    let name = known.as_ref().and_then(|known| known.name()).map(str::to_owned);
    Ok(Whose { name, project, upto })
}

/// The first bytes of a text, up to a whole character. A plain SELECT would read all of its 50 MB for them.
fn preview(db: &Connection, id: i64, bytes: usize) -> Result<String> {
    if bytes == 0 {
        return Ok(String::new());
    }
    let text = db.blob_open("main", "messages", "payload", id, true)?;
    let mut start = Vec::with_capacity(bytes.min(text.len()));
    text.take(bytes as u64).read_to_end(&mut start).map_err(|error| Error::from(error).with("messageId", id))?;
    // What is stored is UTF-8: only the last character can be torn.
    let whole = std::str::from_utf8(&start).map_or_else(|torn| torn.valid_up_to(), str::len);
    start.truncate(whole);
    Ok(String::from_utf8(start).unwrap_or_default())
}

impl Queue {
    /// See [`peek`]. Step by step, between which others enqueue: what is deleted or comes meanwhile may be missing or there.
    pub fn peek(&self, which: Peek, reply: Reply<Vec<Peeked>>) {
        go_on(Arc::clone(self.shared()), which, Vec::new(), reply);
    }
}

/// Looks at the next rows, and so on until enough are found or there are no more.
fn go_on(shared: Arc<Shared>, which: Peek, mut found: Vec<Peeked>, reply: Reply<Vec<Peeked>>) {
    let (mine, next) = (Arc::clone(&shared), which.clone());
    let step = move |db: &Connection| look(db, &*mine.directory, &which, ROWS);
    let queue = Arc::clone(&shared);
    let answered = move |answer: Result<(Vec<Peeked>, Option<i64>)>| match answer {
        Ok((more, behind)) => {
            let limit = next.limit - more.len();
            found.extend(more);
            match behind {
                Some(after) => go_on(shared, Peek { after, limit, ..next }, found, reply),
                None => reply.settle(Ok(found)),
            }
        }
        Err(error) => reply.settle(Err(error)),
    };
    on_queue(&queue, "peek", Durability::Normal, step, Reply::new(answered));
}
