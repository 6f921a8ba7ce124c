//! Pause and resume, of one session or of all; they survive a restart.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use rusqlite::{Connection, params};

use super::{
    consumer::EndReason,
    effects::Effects,
    engine::{Queue, Shared, on_queue},
    state::{ALL, Pause, State},
};
use crate::{
    clock,
    db::{Call, Durability},
    error::Result,
    reply::Reply,
};

impl Queue {
    /// Stops deliveries of a session, or of all. Live consumers end with `paused`; an open batch may still be
    /// committed.
    pub fn pause(&self, session_id: Option<i64>, until_epoch: Option<i64>, reason: Option<String>, reply: Reply<()>) {
        let (shared, key) = (Arc::clone(self.shared()), session_id.unwrap_or(ALL));
        let lookup = Arc::clone(self.shared());
        let text = reason.clone();
        let max = shared.settings.max_pause;
        on_queue(
            self.shared(),
            "pause",
            Durability::Normal,
            move |db| {
                let owner = lookup
                    .directory
                    .session(db, key)?
                    .and_then(|known| known.named.then(|| known.row.claude_session_id.clone()));
                store(db, key, until_epoch, text.as_deref(), owner.as_deref())?;
                Ok(owner)
            },
            Reply::new(move |outcome: Result<Option<Box<str>>>| {
                reply.settle(outcome.map(|owner| {
                    let pause = pause(until_epoch, reason, owner, max);
                    shared.with(|state, effects| apply(state, key, pause, effects));
                }));
            }),
        );
    }

    /// Resumes deliveries of a session, or of all. What was paused for itself stays paused when all resume.
    pub fn resume(&self, session_id: Option<i64>, reply: Reply<()>) {
        let (shared, key) = (Arc::clone(self.shared()), session_id.unwrap_or(ALL));
        on_queue(
            self.shared(),
            "resume",
            Durability::Normal,
            move |db| remove(db, key),
            Reply::new(move |outcome: Result<()>| {
                if outcome.is_ok() {
                    shared.with(|state, effects| lift(state, key, effects));
                }
                reply.settle(outcome);
            }),
        );
    }
}

/// Writes a pause down; `owner` is the `claude_session_id` of the session, where that is known.
pub fn store(
    db: &Connection,
    key: i64,
    until_epoch: Option<i64>,
    reason: Option<&str>,
    owner: Option<&str>,
) -> Result<()> {
    db.prepare_cached(
        "INSERT OR REPLACE INTO pauses(session_id, until_epoch, reason, claude_session_id) VALUES (?1, ?2, ?3, ?4)",
    )?
    .execute(params![key, until_epoch, reason, owner])?;
    Ok(())
}

/// Forgets a pause.
pub fn remove(db: &Connection, key: i64) -> Result<()> {
    db.prepare_cached("DELETE FROM pauses WHERE session_id = ?1")?.execute([key])?;
    Ok(())
}

/// A pause whose end on the wall clock is clamped to the longest that is allowed.
pub fn pause(until_epoch: Option<i64>, reason: Option<String>, owner: Option<Box<str>>, max: Duration) -> Pause {
    let until = until_epoch.map(|epoch| {
        let left = clock::until_epoch(epoch).min(max);
        (Instant::now() + left, clock::epoch_after(left))
    });
    Pause { until, reason: reason.map(Into::into), owner }
}

/// Forgets the pause of a session whose number is another session's now.
pub fn forget(key: i64, claude_session_id: Box<str>, effects: &mut Effects) {
    effects.queue(Call::new(
        "forget-pause",
        Shared::bookkeeping_deadline(),
        move |db| {
            db.prepare_cached("DELETE FROM pauses WHERE session_id = ?1 AND claude_session_id <> ?2")?
                .execute(params![key, claude_session_id])?;
            Ok(())
        },
        Reply::ignore(),
    ));
}

/// Begins a pause.
pub fn apply(state: &mut State, key: i64, pause: Pause, effects: &mut Effects) {
    if let Some((until, _)) = pause.until {
        state.push_timer(until, key, effects);
    }
    if key == ALL {
        state.pause_all = Some(pause);
        let ids: Vec<i64> = state.sessions.keys().copied().collect();
        for id in ids {
            state.end_consumer(id, EndReason::Paused, effects);
            state.follow_up(id, effects);
        }
    } else {
        state.session(key).pause = Some(pause);
        state.end_consumer(key, EndReason::Paused, effects);
        state.follow_up(key, effects);
    }
}

/// Ends a pause: asked for, or by its own time.
pub fn lift(state: &mut State, key: i64, effects: &mut Effects) {
    if key == ALL {
        state.pause_all = None;
        let ids: Vec<i64> = state.sessions.keys().copied().collect();
        for id in ids {
            state.follow_up(id, effects);
        }
    } else {
        if let Some(session) = state.sessions.get_mut(&key) {
            session.pause = None;
        }
        state.follow_up(key, effects);
    }
}
