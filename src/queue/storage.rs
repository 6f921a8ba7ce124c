//! The SQL of `native/queue.db`. Plain functions on its write connection, inside the writer's transaction.

use std::time::Duration;

use rusqlite::{Connection, OptionalExtension, params};

use crate::error::Result;

/// A message as it is stored.
pub struct NewMessage<'a> {
    pub id: i64,
    pub session_id: i64,
    pub claude_session_id: &'a str,
    pub kind: Option<&'a str>,
    pub prompt_number: Option<i64>,
    pub ends_batch: bool,
    pub enqueued_at_epoch: i64,
    pub payload: &'a str,
}

pub fn insert(db: &Connection, message: &NewMessage<'_>) -> Result<()> {
    db.prepare_cached(
        "INSERT INTO messages(id, session_id, claude_session_id, type, prompt_number, ends_batch, enqueued_at_epoch, bytes, payload)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?
    .execute(params![
        message.id,
        message.session_id,
        message.claude_session_id,
        message.kind,
        message.prompt_number,
        message.ends_batch,
        message.enqueued_at_epoch,
        i64::try_from(message.payload.len()).unwrap_or(i64::MAX),
        message.payload
    ])?;
    Ok(())
}

/// Whether this very message waits under its id, and not another one that was given the same id.
pub fn is_stored(db: &Connection, message: &NewMessage<'_>) -> Result<bool> {
    Ok(db
        .prepare_cached(
            "SELECT 1 FROM messages WHERE id = ?1 AND session_id = ?2 AND enqueued_at_epoch = ?3 AND payload = ?4",
        )?
        .exists(params![message.id, message.session_id, message.enqueued_at_epoch, message.payload])?)
}

/// Raises a figure of `meta`: a floor.
pub fn set_meta(db: &Connection, key: &str, value: i64) -> Result<()> {
    db.prepare_cached(
        "INSERT INTO meta(key, value) VALUES (?1, ?2) ON CONFLICT(key) DO UPDATE SET value = max(value, excluded.value)",
    )?
    .execute(params![key, value])?;
    Ok(())
}

/// A key as it is kept: with the session that it was used in, whose number may be another session's one day.
fn owned_key(claude_session_id: &str, key: &str) -> String {
    format!("{claude_session_id}\u{1f}{key}")
}

/// Notes how far a session is done in `claude-mem.db`, and whose it was.
pub fn copy_watermark(db: &Connection, session_id: i64, claude_session_id: &str, upto: i64) -> Result<()> {
    db.prepare_cached(
        "INSERT INTO sessions(session_id, claude_session_id, named_at, shared_upto) VALUES (?1, ?2, ?3, ?3)
         ON CONFLICT DO UPDATE SET claude_session_id = excluded.claude_session_id, named_at = excluded.named_at,
           shared_upto = excluded.shared_upto",
    )?
    .execute(params![session_id, claude_session_id, upto])?;
    Ok(())
}

/// The message that a dedupe key stands for, where it is remembered since `not_before` or later.
pub fn find_dedupe_key(
    db: &Connection,
    session_id: i64,
    claude_session_id: &str,
    key: &str,
    not_before: i64,
) -> Result<Option<i64>> {
    let found = db
        .prepare_cached(
            "SELECT message_id FROM dedupe_keys WHERE session_id = ?1 AND key IN (?2, ?3) AND created_at_epoch >= ?4
             ORDER BY message_id DESC LIMIT 1",
        )?
        // One that was used before the session had a name goes by its number alone.
        .query_row(params![session_id, owned_key(claude_session_id, key), owned_key("", key), not_before], |row| {
            row.get(0)
        })
        .optional()?;
    if found.is_some() || !claude_session_id.is_empty() {
        return Ok(found);
    }
    // Who knows no name goes by the number alone, too: the key may have been used by somebody who knew it. Names sort
    // behind keys without one, so nothing is looked through where there are none.
    Ok(db
        .prepare_cached(
            "SELECT message_id FROM dedupe_keys WHERE session_id = ?1 AND key >= ' '
               AND substr(key, instr(key, char(31)) + 1) = ?2 AND created_at_epoch >= ?3
             ORDER BY message_id DESC LIMIT 1",
        )?
        .query_row(params![session_id, key, not_before], |row| row.get(0))
        .optional()?)
}

pub fn remember_dedupe_key(
    db: &Connection,
    session_id: i64,
    claude_session_id: &str,
    key: &str,
    message_id: i64,
    now: i64,
) -> Result<()> {
    db.prepare_cached(
        "INSERT INTO dedupe_keys(session_id, key, message_id, created_at_epoch) VALUES (?1, ?2, ?3, ?4)
         ON CONFLICT DO UPDATE SET message_id = excluded.message_id, created_at_epoch = excluded.created_at_epoch",
    )?
    .execute(params![session_id, owned_key(claude_session_id, key), message_id, now])?;
    Ok(())
}

/// Times that lie ahead were written before the wall clock was set back. They count from now, or what they stand for
/// would be kept that much longer than its age.
pub fn forget_the_future(db: &Connection, now: i64) -> Result<()> {
    for (table, column) in [("dedupe_keys", "created_at_epoch"), ("dead_letters", "dead_at_epoch")] {
        db.execute(&format!("UPDATE {table} SET {column} = ?1 WHERE {column} > ?1"), [now])?;
    }
    Ok(())
}

/// Forgets what is too old, then what is too much; answers how many went before their age.
pub fn evict_dedupe_keys(db: &Connection, older_than: i64, keep: usize) -> Result<usize> {
    db.prepare_cached("DELETE FROM dedupe_keys WHERE created_at_epoch < ?1")?.execute([older_than])?;
    let count: i64 = db.prepare_cached("SELECT count(*) FROM dedupe_keys")?.query_row([], |row| row.get(0))?;
    let excess = count - i64::try_from(keep).unwrap_or(i64::MAX);
    if excess <= 0 {
        return Ok(0);
    }
    Ok(db
        .prepare_cached(
            "DELETE FROM dedupe_keys WHERE (session_id, key) IN
               (SELECT session_id, key FROM dedupe_keys ORDER BY created_at_epoch LIMIT ?1)",
        )?
        .execute([excess])?)
}

/// Whether a message lies among the dead letters.
pub fn is_dead(db: &Connection, id: i64) -> Result<bool> {
    Ok(db.prepare_cached("SELECT 1 FROM dead_letters WHERE id = ?1")?.exists([id])?)
}

/// Whether a message waits (it may be acknowledged and not yet purged).
pub fn exists(db: &Connection, id: i64) -> Result<bool> {
    Ok(db.prepare_cached("SELECT 1 FROM messages WHERE id = ?1")?.exists([id])?)
}

pub fn put_lease(db: &Connection, session_id: i64, first: i64, last: i64, token: i64) -> Result<()> {
    db.prepare_cached("INSERT OR REPLACE INTO leases(session_id, first_id, last_id, token) VALUES (?1, ?2, ?3, ?4)")?
        .execute(params![session_id, first, last, token])?;
    Ok(())
}

/// Clears all lease rows.
pub fn clear_leases(db: &Connection) -> Result<()> {
    // Without a WHERE SQLite empties the table by writing its page, also where there is nothing in it.
    db.prepare_cached("DELETE FROM leases WHERE true")?.execute([])?;
    Ok(())
}

/// Clears the lease row, unless a later claim has written its own.
pub fn clear_lease(db: &Connection, session_id: i64, token: i64) -> Result<()> {
    db.prepare_cached("DELETE FROM leases WHERE session_id = ?1 AND token = ?2")?
        .execute(params![session_id, token])?;
    Ok(())
}

/// Counts one more attempt for each message; answers the count of the first.
pub fn count_attempt(db: &Connection, session_id: i64, ids: &[i64], error: Option<&str>) -> Result<u32> {
    let mut statement = db.prepare_cached(
        "INSERT INTO attempts(message_id, session_id, count, error)
         SELECT ?1, ?2, 1, ?3 WHERE EXISTS (SELECT 1 FROM messages WHERE id = ?1)
         ON CONFLICT DO UPDATE SET count = count + 1, error = excluded.error",
    )?;
    for id in ids {
        statement.execute(params![id, session_id, error])?;
    }
    ids.first().map_or(Ok(0), |first| attempts(db, *first))
}

/// Counted attempts of a message.
pub fn attempts(db: &Connection, id: i64) -> Result<u32> {
    Ok(db
        .prepare_cached("SELECT count FROM attempts WHERE message_id = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()?
        .unwrap_or(0))
}

/// The oldest message that is not acknowledged: id, when it came, counted attempts.
pub fn head(db: &Connection, session_id: i64, upto: i64) -> Result<Option<(i64, i64, u32)>> {
    Ok(db
        .prepare_cached(
            "SELECT m.id, m.enqueued_at_epoch, coalesce(a.count, 0)
             FROM messages m LEFT JOIN attempts a ON a.message_id = m.id
             WHERE m.session_id = ?1 AND m.id > ?2 ORDER BY m.id LIMIT 1",
        )?
        .query_row(params![session_id, upto], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?)
}

/// Whose the oldest message is that is not acknowledged, as a `claude_session_id`.
pub fn head_owner(db: &Connection, session_id: i64, upto: i64) -> Result<Option<Box<str>>> {
    Ok(db
        .prepare_cached("SELECT claude_session_id FROM messages WHERE session_id = ?1 AND id > ?2 ORDER BY id LIMIT 1")?
        .query_row(params![session_id, upto], |row| row.get(0))
        .optional()?)
}

/// Forgets the attempts of what is acknowledged.
pub fn forget_attempts(db: &Connection, session_id: i64, ids: &[i64]) -> Result<()> {
    let mut statement = db.prepare_cached("DELETE FROM attempts WHERE message_id = ?1 AND session_id = ?2")?;
    for id in ids {
        statement.execute(params![id, session_id])?;
    }
    Ok(())
}

/// Sets until when a session waits, and for how long that is: a wall clock that is set back must not make it longer.
pub fn set_backoff(db: &Connection, session_id: i64, wait: Option<(i64, Duration)>) -> Result<()> {
    match wait {
        Some((ready_at_epoch, delay)) => db
            .prepare_cached(
                "INSERT OR REPLACE INTO backoffs(session_id, ready_at_epoch, delay_ms) VALUES (?1, ?2, ?3)",
            )?
            .execute(params![session_id, ready_at_epoch, i64::try_from(delay.as_millis()).unwrap_or(i64::MAX)])?,
        None => db.prepare_cached("DELETE FROM backoffs WHERE session_id = ?1")?.execute([session_id])?,
    };
    Ok(())
}

/// Moves messages to the dead letters; answers count and bytes. The caller commits with
/// `synchronous=FULL` before any watermark may pass them.
pub fn move_to_dead_letters(
    db: &Connection,
    ids: &[i64],
    reason: &str,
    error: Option<&str>,
    now: i64,
) -> Result<(usize, usize)> {
    let mut copy = db.prepare_cached(
        "INSERT OR REPLACE INTO dead_letters(id, session_id, claude_session_id, type, prompt_number, ends_batch,
           enqueued_at_epoch, dead_at_epoch, attempts, reason, error, bytes, payload)
         SELECT m.id, m.session_id, m.claude_session_id, m.type, m.prompt_number, m.ends_batch, m.enqueued_at_epoch, ?2,
           coalesce(a.count, 0), ?3, coalesce(?4, a.error), m.bytes, m.payload
         FROM messages m LEFT JOIN attempts a ON a.message_id = m.id WHERE m.id = ?1 RETURNING bytes",
    )?;
    let mut remove = db.prepare_cached("DELETE FROM messages WHERE id = ?1")?;
    let mut forget = db.prepare_cached("DELETE FROM attempts WHERE message_id = ?1")?;
    let (mut count, mut bytes) = (0, 0);
    for id in ids {
        let moved: Option<i64> = copy.query_row(params![id, now, reason, error], |row| row.get(0)).optional()?;
        let Some(size) = moved else { continue };
        remove.execute([id])?;
        forget.execute([id])?;
        count += 1;
        bytes += usize::try_from(size).unwrap_or(0);
    }
    Ok((count, bytes))
}

/// Removes dead letters that are too old or too many; answers how many went.
pub fn evict_dead_letters(db: &Connection, older_than: i64, keep: usize) -> Result<usize> {
    let old = db.prepare_cached("DELETE FROM dead_letters WHERE dead_at_epoch < ?1")?.execute([older_than])?;
    let count: i64 = db.prepare_cached("SELECT count(*) FROM dead_letters")?.query_row([], |row| row.get(0))?;
    let excess = count - i64::try_from(keep).unwrap_or(i64::MAX);
    if excess <= 0 {
        return Ok(old);
    }
    Ok(old
        + db.prepare_cached(
            "DELETE FROM dead_letters WHERE id IN (SELECT id FROM dead_letters ORDER BY dead_at_epoch, id LIMIT ?1)",
        )?
        .execute([excess])?)
}

/// What one step of a purge deleted in a session.
pub struct Purged {
    pub session_id: i64,
    pub upto: i64,
    pub count: usize,
    pub bytes: usize,
    /// Nothing of it is left up to `upto`.
    pub finished: bool,
}

/// Deletes acknowledged messages of sessions, each up to its id and above what `keep` says of it: at most `limit` in
/// all, and of about `limit_bytes` (one message at least). Sessions that this step did not come to are not in the answer.
pub fn purge_acknowledged(
    db: &Connection,
    sessions: &[(i64, i64)],
    keep: impl Fn(i64) -> Result<i64>,
    limit: usize,
    limit_bytes: usize,
) -> Result<Vec<Purged>> {
    let mut find = db.prepare_cached(
        "SELECT id, bytes FROM messages WHERE session_id = ?1 AND id > ?2 AND id <= ?3 ORDER BY id LIMIT ?4",
    )?;
    let mut remove = db.prepare_cached("DELETE FROM messages WHERE session_id = ?1 AND id > ?2 AND id <= ?3")?;
    let (mut left, mut left_bytes, mut all) = (limit, limit_bytes, Vec::new());
    for &(session_id, upto) in sessions {
        if left == 0 || left_bytes == 0 {
            break;
        }
        let keep = keep(session_id)?;
        let mut gone = Purged { session_id, upto, count: 0, bytes: 0, finished: true };
        let (mut last, mut rows) =
            (None, find.query(params![session_id, keep, upto, i64::try_from(left + 1).unwrap_or(i64::MAX)])?);
        while let Some(row) = rows.next()? {
            if left == 0 || left_bytes == 0 {
                gone.finished = false;
                break;
            }
            let size = usize::try_from(row.get::<_, i64>(1)?).unwrap_or(0);
            last = Some(row.get::<_, i64>(0)?);
            (left, left_bytes) = (left - 1, left_bytes.saturating_sub(size));
            (gone.count, gone.bytes) = (gone.count + 1, gone.bytes + size);
        }
        drop(rows);
        if let Some(last) = last {
            remove.execute([session_id, keep, last])?;
        }
        all.push(gone);
    }
    Ok(all)
}
