//! Messages and dead letters that come from another memory, each once: what this one has ever taken or given away
//! under the same identity is known to it, also after it was delivered.

use std::{sync::Arc, time::Instant};

use rusqlite::{Connection, params};

use super::{
    engine::{Queue, Shared},
    enqueue::check_bounds,
    envelope::Envelope,
    erase,
    storage::{self, NewMessage},
};
use crate::{
    clock,
    db::{Call, Durability},
    error::{Code, Error, Result},
    reply::Reply,
};

/// What a message is recognised by: a fingerprint of its session, its time, its text and its number among equals.
pub type Identity = [u8; 16];

/// A message on its way in.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// `sdk_sessions.id` in this memory; 0 for a dead letter whose session is not here.
    pub session_db_id: i64,
    /// The session it is meant for.
    pub claude_session_id: String,
    /// Its JSON text.
    pub payload: String,
    /// Whether a batch ends with it.
    pub ends_batch: bool,
    /// When it came, epoch ms.
    pub enqueued_at_epoch: i64,
    /// Counted attempts.
    pub attempts: u32,
    /// What the last attempt said.
    pub error: Option<String>,
    /// Set where it is a dead letter: why and when it died, epoch ms.
    pub dead: Option<(String, i64)>,
    /// By which it is known if it comes again.
    pub identity: Identity,
    /// It waits here already: it is only remembered.
    pub waits: bool,
}

/// What became of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arrived {
    /// It waits, or lies among the dead letters.
    Imported,
    /// It waits here already, or did once.
    Duplicate,
    /// A dead letter that the bounds on number or age would send away at once.
    Skipped,
}

impl Queue {
    /// Takes a message in at the tail of its session, or a dead letter. Resolved, it is durable.
    pub fn import(&self, arrival: Arrival, deadline: Instant, reply: Reply<Arrived>) {
        let shared = Arc::clone(self.shared());
        let (session_id, bytes) = (arrival.session_db_id, arrival.payload.len());
        let counts = arrival.dead.is_none() && !arrival.waits;
        let accepted = shared.with(|state, _| {
            if state.closed {
                return Err(Error::disposed("memory"));
            }
            if counts {
                erase::check(state, session_id)?;
                let session = state.sessions.get(&session_id);
                let waiting = session.map_or((0, 0), |session| (session.depth, session.bytes));
                check_bounds(&shared.settings.bounds, session_id, bytes, waiting, state.bytes)?;
                state.count_in(session_id, bytes, arrival.enqueued_at_epoch);
            }
            Ok(())
        });
        if let Err(refusal) = accepted {
            return reply.settle(Err(refusal));
        }
        let is_dead = arrival.dead.is_some();
        let settle = {
            let shared = Arc::clone(&shared);
            Reply::new(move |outcome: Result<(Arrived, i64)>| {
                if let Ok((Arrived::Imported, id)) = outcome {
                    shared.confirm_id(id);
                }
                shared.with(|state, effects| {
                    let imported = matches!(outcome, Ok((Arrived::Imported, _)));
                    if is_dead {
                        state.metrics.dead += usize::from(imported);
                    } else if counts && imported {
                        state.session(session_id).durable += 1;
                        state.metrics.enqueued.record(1);
                    } else if counts {
                        state.count_out(session_id, 1, bytes, false);
                    }
                    state.follow_up(session_id, effects);
                    effects.then(move || reply.settle(outcome.map(|(arrived, _)| arrived)));
                });
            })
        };
        let core = Arc::clone(&shared);
        let run = move |db: &Connection| take_in(&core, db, &arrival);
        shared
            .queue_writer()
            .submit(Call::new("import-message", deadline, run, settle).bytes(bytes).durability(Durability::Normal));
    }

    /// Remembers what was given away, so that it is known if it comes back: a session's number and an identity each.
    pub fn remember_identities(&self, list: Vec<(i64, Identity)>, deadline: Instant, reply: Reply<()>) {
        let run = move |db: &Connection| remember_all(db, &list);
        self.shared().queue_writer().submit(Call::new("remember-messages", deadline, run, reply));
    }
}

fn take_in(shared: &Shared, db: &Connection, arrival: &Arrival) -> Result<(Arrived, i64)> {
    if is_known(db, arrival)? {
        return Ok((Arrived::Duplicate, 0));
    }
    if arrival.waits {
        remember(db, arrival.session_db_id, &arrival.identity)?;
        return Ok((Arrived::Duplicate, 0));
    }
    let envelope = Envelope::parse(&arrival.payload)?;
    match &arrival.dead {
        None => {
            let known = shared.directory.session(db, arrival.session_db_id)?;
            if !known.is_some_and(|known| known.owns(&arrival.claude_session_id)) {
                return Err(Error::new(
                    Code::NotFound,
                    format!("session {} is gone or another session's by now; import once more", arrival.session_db_id),
                ));
            }
            let id = shared.ids.take(db)?;
            storage::insert(
                db,
                &NewMessage {
                    id,
                    session_id: arrival.session_db_id,
                    claude_session_id: &arrival.claude_session_id,
                    kind: envelope.kind.as_deref(),
                    prompt_number: envelope.prompt_number,
                    ends_batch: arrival.ends_batch,
                    enqueued_at_epoch: arrival.enqueued_at_epoch,
                    payload: &arrival.payload,
                },
            )?;
            if arrival.attempts > 0 {
                db.prepare_cached(
                    "INSERT INTO attempts(message_id, session_id, count, error) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute(params![id, arrival.session_db_id, arrival.attempts, arrival.error])?;
            }
            remember(db, arrival.session_db_id, &arrival.identity)?;
            shared.touch(arrival.session_db_id);
            Ok((Arrived::Imported, id))
        }
        Some((reason, dead_at_epoch)) => {
            let bounds = &shared.settings.bounds;
            let age = i64::try_from(bounds.dead_letter_age.as_millis()).unwrap_or(i64::MAX);
            let kept: i64 = db.prepare_cached("SELECT count(*) FROM dead_letters")?.query_row([], |row| row.get(0))?;
            let full = usize::try_from(kept).is_ok_and(|kept| kept >= bounds.dead_letters);
            if full || *dead_at_epoch < clock::now_epoch().saturating_sub(age) {
                return Ok((Arrived::Skipped, 0));
            }
            let id = shared.ids.take(db)?;
            db.prepare_cached(
                "INSERT INTO dead_letters(id, session_id, claude_session_id, type, prompt_number, ends_batch,
                   enqueued_at_epoch, dead_at_epoch, attempts, reason, error, bytes, payload)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
            )?
            .execute(params![
                id,
                arrival.session_db_id,
                arrival.claude_session_id,
                envelope.kind,
                envelope.prompt_number,
                arrival.ends_batch,
                arrival.enqueued_at_epoch,
                dead_at_epoch,
                arrival.attempts,
                reason,
                arrival.error,
                i64::try_from(arrival.payload.len()).unwrap_or(i64::MAX),
                arrival.payload
            ])?;
            remember(db, arrival.session_db_id, &arrival.identity)?;
            Ok((Arrived::Imported, id))
        }
    }
}

fn is_known(db: &Connection, arrival: &Arrival) -> Result<bool> {
    Ok(db
        .prepare_cached("SELECT 1 FROM known_messages WHERE session_id = ?1 AND identity = ?2")?
        .exists(params![arrival.session_db_id, arrival.identity])?)
}

/// Remembers a session's number and an identity each.
pub fn remember_all(db: &Connection, list: &[(i64, Identity)]) -> Result<()> {
    list.iter().try_for_each(|(session_id, identity)| remember(db, *session_id, identity))
}

fn remember(db: &Connection, session_id: i64, identity: &Identity) -> Result<()> {
    db.prepare_cached("INSERT OR IGNORE INTO known_messages(session_id, identity) VALUES (?1, ?2)")?
        .execute(params![session_id, identity])?;
    Ok(())
}

/// Forgets what is known of a session's messages: what was thrown away may come back.
pub fn forget(db: &Connection, session_id: i64) -> Result<()> {
    db.prepare_cached("DELETE FROM known_messages WHERE session_id = ?1")?.execute([session_id])?;
    Ok(())
}
