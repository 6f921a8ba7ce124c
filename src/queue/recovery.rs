//! What a predecessor left: leases are void (the owner lock proves that no holder lives), an unfinished one
//! counts an attempt, counters are read from the rows, waits are taken over from the wall clock.

use std::{
    collections::HashMap,
    time::{Duration, Instant},
};

use rusqlite::{Connection, TransactionBehavior, params};

use super::{
    directory::{Directory, Watermark},
    effects::Effects,
    message_ids,
    pause::{forget, pause},
    state::{ALL, State},
    storage,
};
use crate::{clock, error::Result, fault, settings::Settings};

/// The reason of a message that was alone in the hands of a worker that died, too often.
const MAX_ATTEMPTS: &str = "max-attempts";

/// Fills `state` from the files; answers the next message id.
pub fn recover(
    db: &mut Connection,
    directory: &dyn Directory,
    settings: &Settings,
    state: &mut State,
    effects: &mut Effects,
) -> Result<i64> {
    let now = clock::now_epoch();
    fault::watch(db);
    // Attempts must be on the disk before any watermark passes them.
    db.execute_batch("PRAGMA synchronous=FULL")?;
    let transaction = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let (watermarks, highest) = directory.recover(&transaction)?;
    let watermarks: HashMap<i64, Watermark> = watermarks.into_iter().collect();
    void_leases(&transaction, settings, &watermarks, now)?;
    storage::forget_the_future(&transaction, now)?;
    let age = |age: Duration| now.saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX));
    storage::evict_dead_letters(&transaction, age(settings.bounds.dead_letter_age), settings.bounds.dead_letters)?;
    storage::evict_dedupe_keys(&transaction, age(settings.bounds.dedupe_age), settings.bounds.dedupe_keys)?;
    transaction.prepare("DELETE FROM pauses WHERE until_epoch <= ?1")?.execute([now])?;
    transaction.prepare("DELETE FROM backoffs WHERE ready_at_epoch <= ?1")?.execute([now])?;
    // Said in the file as well: a client goes on above what stands there, and what it gives is known by lying above
    // every id of the owner.
    if highest > given(&transaction)? {
        storage::set_meta(&transaction, "id_floor", highest)?;
    }
    fault::point("before-commit:recover");
    transaction.commit()?;
    fault::committed(db, || std::iter::once("recover"));
    fault::point("after-commit:recover");
    // One snapshot: what a client commits meanwhile lies above every id that is seen here, and is noticed later.
    let snapshot = db.transaction()?;
    let db = &*snapshot;
    count_messages(db, &watermarks, state)?;
    take_over_backoffs(db, directory, settings, &watermarks, state)?;
    take_over_pauses(db, directory, settings, state, effects)?;
    let dead: i64 = db.query_row("SELECT count(*) FROM dead_letters", [], |row| row.get(0))?;
    state.metrics.dead = usize::try_from(dead).unwrap_or(0);
    let ids: Vec<i64> = state.sessions.keys().copied().collect();
    for id in ids {
        state.follow_up(id, effects);
    }
    // Above the highest id and watermark of both files: either of them may have been restored alone.
    Ok(given(db)?.max(highest) + 1)
}

/// Up to where the queue's file knows that ids were given.
fn given(db: &Connection) -> Result<i64> {
    Ok(message_ids::highest_stored(db)?.max(message_ids::floor(db)?).max(message_ids::highest_noted(db)?))
}

fn void_leases(db: &Connection, settings: &Settings, watermarks: &HashMap<i64, Watermark>, now: i64) -> Result<()> {
    let leases: Vec<(i64, i64, i64)> = db
        .prepare("SELECT session_id, first_id, last_id FROM leases")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?
        .collect::<rusqlite::Result<_>>()?;
    for (session_id, first, last) in leases {
        let upto = upto_of(watermarks, session_id);
        // A lease below the watermark was committed; only its row was left behind.
        let ids: Vec<i64> = db
            .prepare_cached(
                "SELECT id FROM messages WHERE session_id = ?1 AND id BETWEEN ?2 AND ?3 AND id > ?4 ORDER BY id",
            )?
            .query_map(params![session_id, first, last, upto], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        if ids.is_empty() {
            continue;
        }
        let error = "the process ended while this batch was leased";
        let attempts = storage::count_attempt(db, session_id, &ids, Some(error))?;
        if ids.len() == 1 && attempts >= settings.retry.max_attempts {
            storage::move_to_dead_letters(db, &ids, MAX_ATTEMPTS, Some(error), now)?;
        } else {
            // One step more patient than after a failed attempt: a worker that is restarted fifty times in a
            // minute must not use its messages up.
            let delay = settings.retry.backoff(attempts + 1);
            // A first crash is more often the worker's fault than the message's: it comes again at once.
            let wait = (attempts > 1).then(|| (clock::epoch_after(delay), delay));
            storage::set_backoff(db, session_id, wait)?;
        }
    }
    storage::clear_leases(db)?;
    forget_attempts(db, watermarks)
}

/// Attempts of messages that were acknowledged by a process that died before it could forget them.
fn forget_attempts(db: &Connection, watermarks: &HashMap<i64, Watermark>) -> Result<()> {
    let sessions: Vec<i64> = db
        .prepare("SELECT DISTINCT session_id FROM attempts")?
        .query_map([], |row| row.get(0))?
        .collect::<rusqlite::Result<_>>()?;
    for session_id in sessions {
        if let Some(&Watermark { upto, .. }) = watermarks.get(&session_id) {
            db.prepare_cached("DELETE FROM attempts WHERE session_id = ?1 AND message_id <= ?2")?
                .execute([session_id, upto])?;
        }
    }
    Ok(())
}

fn upto_of(watermarks: &HashMap<i64, Watermark>, session_id: i64) -> i64 {
    watermarks.get(&session_id).map_or(0, |watermark| watermark.upto)
}

fn count_messages(db: &Connection, watermarks: &HashMap<i64, Watermark>, state: &mut State) -> Result<()> {
    let mut statement = db.prepare("SELECT id, session_id, bytes, enqueued_at_epoch FROM messages ORDER BY id")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (id, session_id): (i64, i64) = (row.get(0)?, row.get(1)?);
        let bytes = usize::try_from(row.get::<_, i64>(2)?).unwrap_or(0);
        let Watermark { upto, keep, .. } = watermarks.get(&session_id).copied().unwrap_or_default();
        if id <= upto && id <= keep {
            // Done, and not to be purged from here.
        } else if id <= upto {
            let unpurged = state.unpurged.entry(session_id).or_default();
            unpurged.upto = upto;
            unpurged.count += 1;
            unpurged.bytes += bytes;
        } else {
            state.count_in(session_id, bytes, row.get(3)?);
            state.session(session_id).durable += 1;
        }
    }
    drop(rows);
    for (id, session) in &mut state.sessions {
        let upto = upto_of(watermarks, *id);
        session.attempts = storage::head(db, *id, upto)?.map_or(0, |(_, _, attempts)| attempts);
    }
    Ok(())
}

fn take_over_backoffs(
    db: &Connection,
    directory: &dyn Directory,
    settings: &Settings,
    watermarks: &HashMap<i64, Watermark>,
    state: &mut State,
) -> Result<()> {
    let mut backoffs = db.prepare("SELECT session_id, ready_at_epoch, delay_ms FROM backoffs")?;
    let mut rows = backoffs.query([])?;
    while let Some(row) = rows.next()? {
        let (id, epoch, delay): (i64, i64, Option<i64>) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let Some(session) = state.sessions.get_mut(&id) else { continue };
        // The wait is the oldest message's. Where that is another session's, it goes to the dead letters, and what is
        // behind it has never failed.
        let Some(head) = storage::head_owner(db, id, upto_of(watermarks, id))? else { continue };
        if !directory.session(db, id)?.is_some_and(|known| known.owns(&head)) {
            continue;
        }
        // A wall clock that was set back makes no wait longer than it was, and none lasts for years.
        let longest = delay.map_or(settings.max_pause, |ms| Duration::from_millis(u64::try_from(ms).unwrap_or(0)));
        let left = clock::until_epoch(epoch).min(longest).min(settings.max_pause);
        session.not_before = Some((Instant::now() + left, clock::epoch_after(left)));
    }
    Ok(())
}

fn take_over_pauses(
    db: &Connection,
    directory: &dyn Directory,
    settings: &Settings,
    state: &mut State,
    effects: &mut Effects,
) -> Result<()> {
    let mut pauses = db.prepare("SELECT session_id, until_epoch, reason, claude_session_id FROM pauses")?;
    let mut rows = pauses.query([])?;
    while let Some(row) = rows.next()? {
        let id: i64 = row.get(0)?;
        let pause = pause(row.get(1)?, row.get(2)?, row.get(3)?, settings.max_pause);
        if let Some(known) = directory.session(db, id)?
            && pause.is_of_another(&known.row.claude_session_id)
        {
            forget(id, known.row.claude_session_id.clone(), effects);
            continue;
        }
        if let Some((until, _)) = pause.until {
            state.push_timer(until, id, effects);
        }
        if id == ALL {
            state.pause_all = Some(pause);
        } else {
            state.session(id).pause = Some(pause);
        }
    }
    Ok(())
}
