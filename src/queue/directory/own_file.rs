//! The queue on its own: `claude-mem.db` is not opened. A session is what its number says, and what the caller
//! tells of it; acknowledgements are kept in `queue.db` itself.

use std::{
    sync::Arc,
    time::{Instant, SystemTime},
};

use rusqlite::{Connection, OptionalExtension, params};

use super::{
    Acknowledged, Acknowledgement, Directory, Known, Sessions, Told, Watermark, Watermarks, all_own_watermarks,
    own_watermarks,
};
use crate::{
    db::Call,
    error::{Code, Error, Result},
    parts::Part,
    queue::{
        commit::{self, Answer},
        engine::Shared,
        release::lost,
    },
    reply::Reply,
    store::{opening::SessionRow, response::StoredResponse},
};

/// See the module.
#[derive(Debug)]
pub struct OwnFile;

impl OwnFile {
    fn known(db: &Connection, session_id: i64) -> Result<Known> {
        type Row = (Option<Box<str>>, Option<Box<str>>);
        let row: Option<Row> = db
            .prepare_cached("SELECT claude_session_id, project FROM sessions WHERE session_id = ?1")?
            .query_row([session_id], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let (name, project) = row.unwrap_or_default();
        let named = name.is_some();
        let row = SessionRow {
            claude_session_id: name.unwrap_or_default(),
            sdk_session_id: None,
            project: project.unwrap_or_default(),
        };
        Ok(Known { row: Arc::new(row), named })
    }
}

/// What is acknowledged here, and in `claude-mem.db` as far as the copy tells.
const fn watermark(own: i64, shared: i64) -> Watermark {
    Watermark { upto: if own > shared { own } else { shared }, fence: own, keep: shared }
}

impl Sessions for OwnFile {
    fn session(&self, db: &Connection, session_id: i64) -> Result<Option<Known>> {
        Self::known(db, session_id).map(Some)
    }

    fn enter(&self, db: &Connection, session_id: i64, told: Told<'_>, at: i64) -> Result<Known> {
        let mut known = Self::known(db, session_id)?;
        let renamed = told.claude_session_id.filter(|name| known.name() != Some(*name));
        let moved = told.project.filter(|project| **project != *known.row.project);
        if renamed.is_some() || moved.is_some() {
            // The newest name is the session's: under a number that was reused, what waits under the older name
            // becomes dead letters at the next claim.
            db.prepare_cached(
                "INSERT INTO sessions(session_id, claude_session_id, project, named_at) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT DO UPDATE SET claude_session_id = coalesce(excluded.claude_session_id, claude_session_id),
                   project = coalesce(excluded.project, project),
                   named_at = iif(excluded.claude_session_id IS NULL, named_at, excluded.named_at)",
            )?
            .execute(params![session_id, renamed, moved, at])?;
            known = Self::known(db, session_id)?;
        }
        Ok(known)
    }

    fn number_of(&self, db: &Connection, was: i64, claude_session_id: &str) -> Result<Option<i64>> {
        if Self::known(db, was)?.owns(claude_session_id) {
            return Ok(Some(was));
        }
        let mut statement = db.prepare_cached("SELECT max(session_id) FROM sessions WHERE claude_session_id = ?1")?;
        Ok(statement.query_row([claude_session_id], |row| row.get(0))?)
    }

    fn watermark(&self, db: &Connection, session_id: i64) -> Result<Watermark> {
        let (own, shared) = own_watermarks(db, session_id)?;
        Ok(watermark(own, shared))
    }

    fn watermarks(&self, db: &Connection) -> Result<Watermarks> {
        let all = all_own_watermarks(db)?.into_iter().map(|(id, own, shared)| (id, watermark(own, shared))).collect();
        // The watermarks and the floor in the other file are not to be seen. Where this file was deleted, or
        // restored from an older copy, they lie above everything that is known here, and messages with lower ids
        // would be swallowed when both are open again. Microseconds since 1970 lie above whatever was counted from
        // 1, and above what such an open has given before.
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Ok((all, i64::try_from(now.as_micros()).unwrap_or(0)))
    }

    fn close(&self) {}
}

impl Directory for OwnFile {
    fn accepts(&self, answer: &Answer) -> Result<()> {
        if answer.is_empty() {
            return Ok(());
        }
        Err(Error::new(
            Code::NotOpen,
            "this memory was opened without 'store', so there is nowhere to put observations, a summary or a session's end: \
             store them yourself and then commit({ external: true }), or open it with parts: ['store', 'queue']",
        )
        .with("part", Part::Store.name()))
    }

    fn recover(&self, db: &Connection) -> Result<Watermarks> {
        // Messages that came while `claude-mem.db` was open tell whose they are. Only those that came after the
        // name that is known: that may have been told since.
        db.execute_batch(
            "INSERT INTO sessions(session_id, claude_session_id, named_at)
             SELECT session_id, claude_session_id, id FROM messages
             WHERE id IN (SELECT max(id) FROM messages WHERE claude_session_id <> '' GROUP BY session_id)
             ON CONFLICT DO UPDATE SET claude_session_id = excluded.claude_session_id, named_at = excluded.named_at
             WHERE excluded.named_at > named_at",
        )?;
        self.watermarks(db)
    }

    fn raise_id_floor(&self, _: i64) {
        // There is no other file to keep it in.
    }

    fn commit(&self, shared: &Arc<Shared>, what: Acknowledgement, _: Answer, reply: Reply<Acknowledged>) {
        let deadline = what.deadline;
        let mut ran = false;
        let run = move |db: &Connection| {
            let Acknowledgement { session_id, token, upto, .. } = what;
            let (found, _) = own_watermarks(db, session_id)?;
            // A second run after an I/O error at COMMIT: the file says how the first one ended.
            if !(ran && found == upto) {
                if found != what.fence {
                    return Err(lost(session_id).with("upto", found));
                }
                db.prepare_cached(
                    "INSERT INTO sessions(session_id, upto) VALUES (?1, ?2)
                     ON CONFLICT DO UPDATE SET upto = excluded.upto",
                )?
                .execute([session_id, upto])?;
            }
            ran = true;
            let head = commit::clear(db, session_id, token, upto, &what.ids)?;
            Ok(Acknowledged { stored: StoredResponse::default(), cleared: Some(head) })
        };
        shared.queue_writer().submit(Call::new("commit", deadline, run, reply));
    }

    fn settle_commits(&self, _: Instant, reply: Reply<()>) {
        // They are commands of the queue's writer, which serves in order: what comes next finds them settled.
        reply.settle(Ok(()));
    }

    fn commits_in_flight(&self) -> bool {
        false
    }

    fn secure(&self, reply: Reply<()>) {
        // Acknowledgement and message lie in the same file and the same log: a power cut that drops the first
        // drops the deletion of the second, which was written after it.
        reply.settle(Ok(()));
    }
}
