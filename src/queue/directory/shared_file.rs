//! Sessions and acknowledgements in `claude-mem.db`. Look-ups are reads on a connection of their own, so they
//! never wait for a lock that a hook holds.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    Acknowledged, Acknowledgement, Directory, Known, Told, Watermark, all_own_watermarks, own_watermarks, unknown,
};
use crate::{
    clock,
    db::{Call, Durability, Writer},
    error::{Error, Result},
    queue::{commit::Answer, engine::Shared, release::lost},
    reply::Reply,
    store::{
        opening::SessionRow,
        response::{self, StoredResponse},
    },
};

/// See the module.
pub struct SharedFile {
    db: Mutex<Option<Connection>>,
    writer: Arc<Writer>,
}

impl SharedFile {
    /// Reads on `db`, a read-only connection; writes through `writer`.
    pub fn new(db: Connection, writer: Arc<Writer>) -> Self {
        Self { db: Mutex::new(Some(db)), writer }
    }

    fn read<T>(&self, read: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
        let guard = self.db.lock().unwrap_or_else(PoisonError::into_inner);
        read(guard.as_ref().ok_or_else(|| Error::disposed("memory"))?)
    }
}

const WATERMARK: &str = "SELECT upto FROM native_ack WHERE session_id = ?1";

fn acknowledged(db: &Connection, session_id: i64) -> Result<i64> {
    Ok(db.prepare_cached(WATERMARK)?.query_row([session_id], |row| row.get(0)).optional()?.unwrap_or(0))
}

/// What is acknowledged there, and what the queue acknowledged on its own.
const fn watermark(shared: i64, own: i64) -> Watermark {
    Watermark { upto: if shared > own { shared } else { own }, fence: shared, keep: 0 }
}

impl Directory for SharedFile {
    fn accepts(&self, _: &Answer) -> Result<()> {
        Ok(())
    }

    fn session(&self, _: &Connection, session_id: i64) -> Result<Option<Known>> {
        self.read(|db| {
            let mut statement =
                db.prepare_cached("SELECT claude_session_id, sdk_session_id, project FROM sdk_sessions WHERE id = ?1")?;
            let row = statement.query_row([session_id], |row| {
                Ok(SessionRow { claude_session_id: row.get(0)?, sdk_session_id: row.get(1)?, project: row.get(2)? })
            });
            Ok(row.optional()?.map(|row| Known { row, named: true }))
        })
    }

    fn enter(&self, db: &Connection, session_id: i64, told: Told<'_>, _: i64) -> Result<Known> {
        let known = self.session(db, session_id)?.ok_or_else(|| unknown(session_id))?;
        known.row.must_be(session_id, told.claude_session_id)?;
        Ok(known)
    }

    fn watermark(&self, db: &Connection, session_id: i64) -> Result<Watermark> {
        let shared = self.read(|db| acknowledged(db, session_id))?;
        Ok(watermark(shared, own_watermarks(db, session_id)?.0))
    }

    fn recover(&self, db: &Connection) -> Result<(Vec<(i64, Watermark)>, i64)> {
        let (there, floor) = self.read(|db| {
            let there: HashMap<i64, i64> = db
                .prepare("SELECT session_id, upto FROM native_ack")?
                .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect::<rusqlite::Result<_>>()?;
            let floor: i64 = db
                .query_row("SELECT CAST(value AS INTEGER) FROM native_ledger WHERE key = 'id_floor'", [], |row| {
                    row.get(0)
                })
                .optional()?
                .unwrap_or(0);
            Ok((there, floor))
        })?;
        copy_watermarks(db, &there)?;
        let floor = there.values().copied().max().unwrap_or(0).max(floor);
        let mut all: HashMap<i64, Watermark> =
            there.into_iter().map(|(session_id, shared)| (session_id, watermark(shared, 0))).collect();
        for (session_id, own, _) in all_own_watermarks(db)? {
            let entry = all.entry(session_id).or_default();
            *entry = watermark(entry.fence, own);
        }
        Ok((all.into_iter().collect(), floor))
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
            let found = acknowledged(db, what.session_id)?;
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

    fn close(&self) {
        drop(self.db.lock().unwrap_or_else(PoisonError::into_inner).take());
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
