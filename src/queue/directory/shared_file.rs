//! Sessions and acknowledgements in `claude-mem.db`: a commit stores rows and watermark in one transaction of it.

use std::{
    collections::HashMap,
    sync::{Arc, atomic::Ordering},
    time::Instant,
};

use rusqlite::{Connection, params};

use super::{
    Acknowledged, Acknowledgement, Directory, Known, Sessions, SharedSessions, Told, Watermark, Watermarks,
    shared_sessions,
};
use crate::{
    clock,
    db::{Call, Database, Durability, Writer},
    error::Result,
    queue::{commit::Answer, engine::Shared, release::lost},
    reply::Reply,
    store::response::{self, StoredResponse},
};

/// See the module.
pub struct SharedFile {
    sessions: SharedSessions,
    writer: Arc<Writer>,
}

impl SharedFile {
    /// Reads on `db`, a read-only connection; writes through `writer`.
    pub fn new(db: Database, writer: Arc<Writer>) -> Self {
        Self { sessions: SharedSessions::new(db), writer }
    }
}

impl Sessions for SharedFile {
    fn session(&self, db: &Connection, session_id: i64) -> Result<Option<Known>> {
        self.sessions.session(db, session_id)
    }

    fn enter(&self, db: &Connection, session_id: i64, told: Told<'_>, at: i64) -> Result<Known> {
        self.sessions.enter(db, session_id, told, at)
    }

    fn number_of(&self, db: &Connection, was: i64, claude_session_id: &str) -> Result<Option<i64>> {
        self.sessions.number_of(db, was, claude_session_id)
    }

    fn watermark(&self, db: &Connection, session_id: i64) -> Result<Watermark> {
        self.sessions.watermark(db, session_id)
    }

    fn watermarks(&self, db: &Connection) -> Result<Watermarks> {
        self.sessions.watermarks(db)
    }

    fn close(&self) {
        self.sessions.close();
    }
}

impl Directory for SharedFile {
    fn look_again(&self) {
        self.sessions.look_again();
    }

    fn accepts(&self, _: &Answer) -> Result<()> {
        Ok(())
    }

    fn recover(&self, db: &Connection) -> Result<Watermarks> {
        copy_watermarks(db, &self.sessions.acknowledged_there()?.0)?;
        self.watermarks(db)
    }

    fn raise_id_floor(&self, floor: i64) {
        // An enqueue never waits for this lock. Should it be missed, the watermarks there still bound what could be
        // swallowed.
        self.writer.call(
            "raise-id-floor",
            Shared::bookkeeping_deadline(),
            move |db| {
                db.prepare_cached(
                    "INSERT INTO native_ledger(key, value) VALUES ('id_floor', ?1)
                     ON CONFLICT(key) DO UPDATE SET value = max(CAST(value AS INTEGER), excluded.value)",
                )?
                .execute([floor])?;
                Ok(())
            },
            Reply::ignore(),
        );
    }

    fn commit(&self, _: &Arc<Shared>, what: Acknowledgement, answer: Answer, reply: Reply<Acknowledged>) {
        let (bytes, deadline) = (answer.response.bytes(), what.deadline);
        let mut before: Option<StoredResponse> = None;
        let run = move |db: &Connection| {
            let found = shared_sessions::acknowledged(db, what.session_id)?;
            // A second run after an I/O error at COMMIT: the file says how the first one ended.
            if let Some(stored) = &before
                && found == what.upto
            {
                return Ok(stored.clone());
            }
            if found != what.fence {
                return Err(lost(what.session_id).with("upto", found));
            }
            db.prepare_cached(
                "INSERT INTO native_ack(session_id, claude_session_id, upto) VALUES (?1, ?2, ?3)
                 ON CONFLICT(session_id) DO UPDATE SET claude_session_id = excluded.claude_session_id, upto = excluded.upto",
            )?
            .execute(params![what.session_id, &*what.claude_session_id, what.upto])?;
            let stored = response::store(db, &answer.response)?;
            before = Some(stored.clone());
            Ok(stored)
        };
        let reply = Reply::new(move |stored: Result<StoredResponse>| {
            reply.settle(stored.map(|stored| Acknowledged { stored, cleared: None }));
        });
        self.writer.submit(Call::new("commit", deadline, run, reply).bytes(bytes));
    }

    fn settle_commits(&self, deadline: Instant, reply: Reply<()>) {
        // This writer serves in order: when it comes to this, commits that had begun are settled.
        self.writer.call("settle-commits", deadline, |_| Ok(()), reply);
    }

    fn commits_in_flight(&self) -> bool {
        self.writer.figures().waiting.load(Ordering::Relaxed) > 0
    }

    fn secure(&self, reply: Reply<()>) {
        let mark = |db: &Connection| {
            db.prepare_cached(
                "INSERT INTO native_ledger(key, value) VALUES ('synced_at_epoch', ?1)
                 ON CONFLICT(key) DO UPDATE SET value = excluded.value",
            )?
            .execute([clock::now_epoch()])?;
            Ok(())
        };
        let call = Call::new("sync-acknowledgements", Shared::bookkeeping_deadline(), mark, reply);
        self.writer.submit(call.durability(Durability::Full));
    }
}

/// Copies the watermarks of sessions that still have messages here: whoever died between a commit and its
/// `finish-batch` has not, and a file that was restored says something else now.
fn copy_watermarks(db: &Connection, there: &HashMap<i64, i64>) -> Result<()> {
    let sessions: Vec<i64> = db
        .prepare("SELECT DISTINCT session_id FROM messages")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    let mut copy = db.prepare(
        "INSERT INTO sessions(session_id, shared_upto) VALUES (?1, ?2)
         ON CONFLICT DO UPDATE SET shared_upto = excluded.shared_upto WHERE shared_upto <> excluded.shared_upto",
    )?;
    for session_id in sessions {
        copy.execute([session_id, there.get(&session_id).copied().unwrap_or(0)])?;
    }
    Ok(())
}
