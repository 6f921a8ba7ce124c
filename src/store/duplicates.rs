//! Rows that were stored twice, as an agent that is asked again may do.

use rusqlite::Connection;

use crate::{error::Result, store::snapshot::snapshot};

/// Rows that say the same in the same session: a group of ids each, lowest first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Duplicates {
    /// Ids of `observations` that differ in nothing but prompt number and time.
    pub observations: Vec<Vec<i64>>,
    /// Ids of `session_summaries` that differ in nothing but prompt number and time.
    pub summaries: Vec<Vec<i64>>,
}

/// Finds them. Short columns are compared first, so that only what may be the same is read whole.
///
/// # Errors
/// What SQLite answers.
pub fn find(db: &Connection) -> Result<Duplicates> {
    snapshot(db, |db| {
        Ok(Duplicates {
            observations: groups(
                db,
                "WITH alike AS MATERIALIZED (
                   SELECT sdk_session_id, type, title FROM observations GROUP BY 1, 2, 3 HAVING count(*) > 1)
                 SELECT group_concat(t.id) FROM alike CROSS JOIN observations AS t
                   ON t.sdk_session_id = alike.sdk_session_id AND t.type = alike.type AND t.title IS alike.title
                 GROUP BY t.sdk_session_id, t.type, t.title, t.project, t.subtitle, t.text, t.narrative, t.facts,
                   t.concepts, t.files_read, t.files_modified
                 HAVING count(*) > 1 ORDER BY min(t.id)",
            )?,
            summaries: groups(
                db,
                "WITH alike AS MATERIALIZED (
                   SELECT sdk_session_id, request FROM session_summaries GROUP BY 1, 2 HAVING count(*) > 1)
                 SELECT group_concat(t.id) FROM alike CROSS JOIN session_summaries AS t
                   ON t.sdk_session_id = alike.sdk_session_id AND t.request IS alike.request
                 GROUP BY t.sdk_session_id, t.request, t.project, t.investigated, t.learned, t.completed, t.next_steps,
                   t.files_read, t.files_edited, t.notes
                 HAVING count(*) > 1 ORDER BY min(t.id)",
            )?,
        })
    })
}

fn groups(db: &Connection, sql: &str) -> Result<Vec<Vec<i64>>> {
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    let mut groups = Vec::new();
    while let Some(row) = rows.next()? {
        let list: String = row.get(0)?;
        let mut ids: Vec<i64> = list.split(',').filter_map(|id| id.parse().ok()).collect();
        ids.sort_unstable();
        groups.push(ids);
    }
    Ok(groups)
}
