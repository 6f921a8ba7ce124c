//! Removing rows of observations, summaries and prompts, with their entries in the full-text tables.

use std::time::{Duration, Instant};

use rusqlite::{Connection, ToSql, params};

use crate::{
    db::schema::tables::{OBSERVATIONS, SESSION_SUMMARIES, Table, USER_PROMPTS},
    error::{Error, Result},
    store::date_range::{Bound, Limit},
};

/// A kind of row that can be removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `observations`.
    Observations,
    /// `session_summaries`.
    Summaries,
    /// `user_prompts`.
    Prompts,
}

impl Kind {
    fn table(self) -> &'static Table {
        match self {
            Self::Observations => &OBSERVATIONS,
            Self::Summaries => &SESSION_SUMMARIES,
            Self::Prompts => &USER_PROMPTS,
        }
    }
}

/// How far a step of a removal came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removed {
    /// Ids that were dealt with.
    pub done: usize,
    /// Those that had a row.
    pub deleted: usize,
    /// How many the next statement should delete.
    pub batch: usize,
}

/// Rows that the first statement of a deletion deletes.
pub const FIRST_BATCH: usize = 64;
/// Rows of one statement at most, and at least.
const BATCH: (usize, usize) = (256, 4);
/// A statement that took longer is followed by one of half as many rows, one that took a third of it by a larger one.
const STATEMENT: Duration = Duration::from_millis(15);

/// Deletes the rows `ids`, `batch` of them a statement, until it is time to stop; one statement at least. Ids without
/// a row are fine.
///
/// FTS5 writes what it has gathered to its table with each statement that fires a trigger: row by row makes a segment
/// each, and merging these took two thirds of the time and locks of 50 to 100 ms.
///
/// # Errors
/// What SQLite answers.
pub fn delete(db: &Connection, kind: Kind, ids: &[i64], batch: usize, until: Instant) -> Result<Removed> {
    let table = kind.table();
    let mut forget = forget_by_hand(db, table)?.map(|sql| db.prepare_cached(&sql)).transpose()?;
    let mut delete =
        db.prepare_cached(&format!("DELETE FROM {} WHERE id IN (SELECT value FROM json_each(?1))", table.name))?;
    let mut removed = Removed { done: 0, deleted: 0, batch: batch.clamp(BATCH.1, BATCH.0) };
    while removed.done < ids.len() {
        let began = Instant::now();
        let some = &ids[removed.done..ids.len().min(removed.done + removed.batch)];
        let list = serde_json::Value::from(some).to_string();
        if let Some(forget) = &mut forget {
            forget.execute([&list])?;
        }
        // Rows that the triggers touch do not count.
        removed.deleted += delete.execute([&list])?;
        removed.done += some.len();
        let (now, took) = (Instant::now(), began.elapsed());
        if took > STATEMENT {
            removed.batch = (removed.batch / 2).max(BATCH.1);
        } else if took < STATEMENT / 3 {
            removed.batch = (removed.batch * 2).min(BATCH.0);
        }
        // Another one would take about as long.
        if now + took >= until {
            break;
        }
    }
    Ok(removed)
}

/// The statement that takes a row out of the full-text table, where no trigger does it: somebody dropped the
/// triggers since this memory was opened.
fn forget_by_hand(db: &Connection, table: &Table) -> Result<Option<String>> {
    let index = table.full_text();
    let (has_index, has_trigger): (bool, bool) = db
        .prepare_cached(
            "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1),
               EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'trigger' AND name = ?2)",
        )?
        .query_row(params![index, format!("{}_ad", table.name)], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let columns = table.searchable.join(", ");
    // Only what the index has: forgetting what it never learnt would damage it.
    Ok((has_index && !has_trigger).then(|| {
        format!(
            "INSERT INTO {index}({index}, rowid, {columns}) SELECT 'delete', id, {columns} FROM {}
             WHERE id IN (SELECT value FROM json_each(?1)) AND id IN (SELECT id FROM {index}_docsize)",
            table.name
        )
    }))
}

/// Merges the segments of a full-text table a little further, so that what was deleted leaves its bytes too;
/// false once there is nothing left to merge.
///
/// # Errors
/// What SQLite answers.
pub fn merge_full_text(db: &Connection, kind: Kind, first: bool) -> Result<bool> {
    let index = kind.table().full_text();
    let exists =
        db.prepare_cached("SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1")?.exists([&index])?;
    if !exists {
        return Ok(false);
    }
    // A negative number of pages starts a merge of all segments into one, a positive one carries it on.
    let pages = if first { -MERGE_PAGES } else { MERGE_PAGES };
    let before = db.total_changes();
    db.prepare_cached(&format!("INSERT INTO {index}({index}, rank) VALUES ('merge', ?1)"))?.execute([pages])?;
    // As FTS5 documents it: fewer than two changes are none.
    Ok(db.total_changes() - before >= 2)
}

/// Pages that one step of a merge writes.
const MERGE_PAGES: i64 = 200;

/// Which rows by their project and age.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Which {
    /// Only this project's; a prompt is of its session's project.
    pub project: Option<String>,
    /// Only those from before this time, epoch ms.
    pub before_epoch: Option<i64>,
}

/// The ids of those rows, lowest first.
///
/// # Errors
/// What SQLite answers.
pub fn find(db: &Connection, kind: Kind, which: &Which) -> Result<Vec<i64>> {
    let (mut tests, mut values): (Vec<&str>, Vec<&dyn ToSql>) = (Vec::new(), Vec::new());
    if let Some(project) = &which.project {
        tests.push(match kind {
            Kind::Prompts => "claude_session_id IN (SELECT claude_session_id FROM sdk_sessions WHERE project = ?)",
            _ => "project = ?",
        });
        values.push(project);
    }
    if let Some(before) = &which.before_epoch {
        tests.push("created_at_epoch < ?");
        values.push(before);
    }
    let tests = if tests.is_empty() { "true".to_owned() } else { tests.join(" AND ") };
    let sql = format!("SELECT id FROM {} WHERE {tests} ORDER BY id", kind.table().name);
    let mut statement = db.prepare_cached(&sql)?;
    let ids = statement.query_map(&*values, |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(ids)
}

/// The sessions of a project: `sdk_sessions.id`, lowest first.
///
/// # Errors
/// What SQLite answers.
pub fn sessions_of(db: &Connection, project: &str) -> Result<Vec<i64>> {
    let mut statement = db.prepare_cached("SELECT id FROM sdk_sessions WHERE project = ?1 ORDER BY id")?;
    let ids = statement.query_map([project], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(ids)
}

/// Sessions that ended before a time and have no observation, summary or prompt left.
///
/// # Errors
/// What SQLite answers.
pub fn ended_and_empty(db: &Connection, project: Option<&str>, before_epoch: i64) -> Result<Vec<i64>> {
    let mut statement = db.prepare_cached(&format!(
        "SELECT s.id FROM sdk_sessions AS s WHERE (?2 IS NULL OR s.project = ?2) AND {ENDED_AND_EMPTY} ORDER BY s.id"
    ))?;
    let ids =
        statement.query_map(params![before_epoch, project], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(ids)
}

/// `?1` is the time.
const ENDED_AND_EMPTY: &str =
    "s.status IN ('completed', 'failed') AND coalesce(s.completed_at_epoch, s.started_at_epoch) < ?1
   AND NOT EXISTS (SELECT 1 FROM observations AS o WHERE o.sdk_session_id = s.sdk_session_id)
   AND NOT EXISTS (SELECT 1 FROM session_summaries AS m WHERE m.sdk_session_id = s.sdk_session_id)
   AND NOT EXISTS (SELECT 1 FROM user_prompts AS p WHERE p.claude_session_id = s.claude_session_id)";

/// Deletes a session that [`ended_and_empty`] has found, if it is still so; whether it was. How far it was
/// acknowledged stays, or what the queue has not purged yet would be taken for messages of a session that is gone:
/// see [`forget_watermark`].
///
/// # Errors
/// What SQLite answers.
pub fn delete_ended(db: &Connection, id: i64, before_epoch: i64) -> Result<bool> {
    let deleted = db
        .prepare_cached(&format!(
            "DELETE FROM sdk_sessions WHERE id IN (SELECT s.id FROM sdk_sessions AS s WHERE s.id = ?2 AND {ENDED_AND_EMPTY})"
        ))?
        .execute(params![before_epoch, id])?;
    Ok(deleted > 0)
}

/// Sessions whose row is gone, and how far they were acknowledged is not: whoever deleted them has not finished, or
/// was not this engine.
///
/// # Errors
/// What SQLite answers.
pub fn unfinished(db: &Connection) -> Result<Vec<i64>> {
    let mut statement = db.prepare_cached(
        "SELECT session_id FROM native_ack WHERE session_id NOT IN (SELECT id FROM sdk_sessions) ORDER BY session_id",
    )?;
    let ids = statement.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    Ok(ids)
}

/// What became of a project's session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// Its row is gone.
    Deleted,
    /// Rows of another project belong to it: it went over to that one, without its prompt.
    Kept,
    /// Something of the project still belongs to it: its rows or prompts have to go first.
    InUse,
    /// There was none of this project.
    Missing,
}

/// Deletes a session of a project whose rows and prompts are gone. The schema deletes what belongs to a session
/// along with it, so one with rows of another project is kept for their sake.
///
/// # Errors
/// What SQLite answers.
pub fn end_session_of(db: &Connection, id: i64, project: &str) -> Result<Ended> {
    let mut owned = db.prepare_cached(
        "SELECT r.project FROM sdk_sessions AS s JOIN (
             SELECT sdk_session_id, project FROM observations UNION ALL
             SELECT sdk_session_id, project FROM session_summaries) AS r ON r.sdk_session_id = s.sdk_session_id
         WHERE s.id = ?1 AND s.project = ?2 ORDER BY r.project = ?2 DESC LIMIT 1",
    )?;
    let mut rows = owned.query(params![id, project])?;
    let owner: Option<String> = match rows.next()? {
        Some(row) => Some(row.get(0)?),
        None => None,
    };
    drop(rows);
    let prompts = db
        .prepare_cached(
            "SELECT 1 FROM user_prompts AS p JOIN sdk_sessions AS s ON s.claude_session_id = p.claude_session_id
             WHERE s.id = ?1 AND s.project = ?2",
        )?
        .exists(params![id, project])?;
    match owner {
        _ if prompts => Ok(Ended::InUse),
        Some(owner) if owner == project => Ok(Ended::InUse),
        Some(owner) => {
            db.prepare_cached("UPDATE sdk_sessions SET project = ?2, user_prompt = NULL WHERE id = ?1")?
                .execute(params![id, owner])?;
            Ok(Ended::Kept)
        }
        None => {
            let deleted = db
                .prepare_cached("DELETE FROM sdk_sessions WHERE id = ?1 AND project = ?2")?
                .execute(params![id, project])?;
            if deleted == 0 {
                return Ok(Ended::Missing);
            }
            forget_watermark(db, id)?;
            Ok(Ended::Deleted)
        }
    }
}

/// Forgets how far a session was acknowledged. The floor of message ids must not sink with it: a new message
/// may never get an id that was given before. The last step of deleting a session: nothing of it may lie in the queue.
///
/// # Errors
/// What SQLite answers.
pub fn forget_watermark(db: &Connection, session_id: i64) -> Result<()> {
    db.prepare_cached(
        "INSERT INTO native_ledger(key, value) SELECT 'id_floor', upto FROM native_ack WHERE session_id = ?1
         ON CONFLICT(key) DO UPDATE SET value = max(CAST(value AS INTEGER), excluded.value)",
    )?
    .execute([session_id])?;
    db.prepare_cached("DELETE FROM native_ack WHERE session_id = ?1")?.execute([session_id])?;
    Ok(())
}

/// The time that `older_than` names, epoch ms.
///
/// # Errors
/// `ERR_INVALID_ARG` where it is no time, or none in the past.
pub fn past(db: &Connection, older_than: &Bound, now_epoch: i64) -> Result<i64> {
    let expected = "must be a time in the past: epoch ms, a Date or ISO-8601 text";
    #[expect(clippy::cast_possible_truncation, reason = "times before now; what is beyond i64 is clamped")]
    match older_than.limit(db)? {
        Limit::At(Some(epoch)) if (epoch as i64) <= now_epoch => Ok(epoch as i64),
        Limit::At(Some(epoch)) => Err(Error::invalid(format!(
            "option olderThan {expected}, got {}, which is still to come",
            crate::clock::iso8601(epoch as i64)
        ))
        .with("argument", "olderThan")),
        _ => Err(Error::invalid(format!("option olderThan {expected}, got {}", older_than.shown()))
            .with("argument", "olderThan")),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::store::reference;

    fn check_full_text(db: &Connection) {
        for kind in [Kind::Observations, Kind::Summaries, Kind::Prompts] {
            let index = kind.table().full_text();
            db.execute(&format!("INSERT INTO {index}({index}, rank) VALUES ('integrity-check', 1)"), []).unwrap();
        }
    }

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(60)
    }

    #[test]
    fn rows_and_their_index_entries_go_together() {
        let Some((_directory, db)) = reference::database() else { return };
        let ids =
            find(&db, Kind::Observations, &Which { project: Some("claude-mem".into()), before_epoch: None }).unwrap();
        assert_eq!(ids.len(), 2_406);
        let removed = delete(&db, Kind::Observations, &ids[..500], FIRST_BATCH, soon()).unwrap();
        assert_eq!((removed.done, removed.deleted), (500, 500));
        let removed = delete(&db, Kind::Observations, &[ids[0], 1 << 40], FIRST_BATCH, soon()).unwrap();
        assert_eq!((removed.done, removed.deleted), (2, 0));
        let removed = delete(&db, Kind::Observations, &ids[500..], 10, Instant::now()).unwrap();
        assert_eq!((removed.done, removed.deleted), (10, 10), "one statement at least");
        check_full_text(&db);
    }

    #[test]
    fn also_where_the_triggers_are_gone() {
        let Some((_directory, db)) = reference::database() else { return };
        db.execute_batch("DROP TRIGGER observations_ad; DROP TRIGGER observations_ai").unwrap();
        // Never indexed: nobody may make the index forget it.
        db.execute_batch(
            "INSERT INTO observations(sdk_session_id, project, type, title, created_at, created_at_epoch)
             SELECT sdk_session_id, 'p', 'change', 'neverindexed', '', 1 FROM observations LIMIT 1",
        )
        .unwrap();
        let stranger = db.last_insert_rowid();
        delete(&db, Kind::Observations, &[1, 2, 3, stranger], FIRST_BATCH, soon()).unwrap();
        check_full_text(&db);
        let left: i64 =
            db.query_row("SELECT count(*) FROM observations_fts_docsize WHERE id <= 3", [], |row| row.get(0)).unwrap();
        assert_eq!(left, 0);
    }

    #[test]
    fn without_a_full_text_table() {
        let Some((_directory, db)) = reference::database() else { return };
        db.execute_batch(
            "DROP TRIGGER observations_ad; DROP TRIGGER observations_ai; DROP TRIGGER observations_au;
             DROP TABLE observations_fts",
        )
        .unwrap();
        assert_eq!(delete(&db, Kind::Observations, &[1, 2], FIRST_BATCH, soon()).unwrap().deleted, 2);
        assert!(!merge_full_text(&db, Kind::Observations, true).unwrap());
    }

    #[test]
    fn a_merge_ends() {
        let Some((_directory, db)) = reference::database() else { return };
        let ids = find(&db, Kind::Observations, &Which::default()).unwrap();
        delete(&db, Kind::Observations, &ids, FIRST_BATCH, soon()).unwrap();
        let mut steps = 0;
        while merge_full_text(&db, Kind::Observations, steps == 0).unwrap() {
            steps += 1;
            assert!(steps < 10_000);
        }
        check_full_text(&db);
    }

    #[test]
    fn what_is_no_time_in_the_past() {
        let db = Connection::open_in_memory().unwrap();
        let now = 1_700_000_000_000;
        assert_eq!(past(&db, &Bound::Epoch(5.0), now), Ok(5));
        assert_eq!(past(&db, &Bound::Text("2020-01-01".into()), now), Ok(1_577_836_800_000));
        for wrong in [Bound::Epoch(0.0), Bound::Epoch(f64::NAN), Bound::Text("soon".into()), Bound::Text(String::new())]
        {
            assert!(past(&db, &wrong, now).unwrap_err().message.contains("in the past"), "{wrong:?}");
        }
        assert!(past(&db, &Bound::Epoch(1_700_000_000_001.0), now).unwrap_err().message.contains("still to come"));
    }
}
