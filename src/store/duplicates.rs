//! Rows that were stored twice, as an agent that is asked again may do.

use rusqlite::{Connection, params};

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

/// Rows of one project that say the same, in whichever session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// `observation` or `summary`.
    pub kind: &'static str,
    /// Their project.
    pub project: String,
    /// An observation's title, a summary's request.
    pub title: Option<String>,
    /// Their ids, lowest first.
    pub ids: Vec<i64>,
    /// How many there are.
    pub count: usize,
}

/// Finds groups of equal rows across sessions: observations first, then summaries, those with the lowest id first;
/// at most `limit` of them.
///
/// # Errors
/// What SQLite answers.
pub fn find_groups(db: &Connection, project: Option<&str>, limit: i64) -> Result<Vec<Group>> {
    let kinds = [
        (
            "observation",
            "WITH alike AS MATERIALIZED (
               SELECT project, type, title FROM observations WHERE ?1 IS NULL OR project = ?1
               GROUP BY 1, 2, 3 HAVING count(*) > 1)
             SELECT t.project, t.title, group_concat(t.id) FROM alike CROSS JOIN observations AS t
               ON t.project = alike.project AND t.type = alike.type AND t.title IS alike.title
             GROUP BY t.project, t.type, t.title, t.subtitle, t.text, t.narrative, t.facts, t.concepts, t.files_read,
               t.files_modified
             HAVING count(*) > 1 ORDER BY min(t.id) LIMIT ?2",
        ),
        (
            "summary",
            "WITH alike AS MATERIALIZED (
               SELECT project, request FROM session_summaries WHERE ?1 IS NULL OR project = ?1
               GROUP BY 1, 2 HAVING count(*) > 1)
             SELECT t.project, t.request, group_concat(t.id) FROM alike CROSS JOIN session_summaries AS t
               ON t.project = alike.project AND t.request IS alike.request
             GROUP BY t.project, t.request, t.investigated, t.learned, t.completed, t.next_steps, t.files_read,
               t.files_edited, t.notes
             HAVING count(*) > 1 ORDER BY min(t.id) LIMIT ?2",
        ),
    ];
    snapshot(db, |db| {
        let mut found = Vec::new();
        for (kind, sql) in kinds {
            let left = limit.saturating_sub(i64::try_from(found.len()).unwrap_or(i64::MAX));
            let mut statement = db.prepare_cached(sql)?;
            let mut rows = statement.query(params![project, left])?;
            while let Some(row) = rows.next()? {
                let ids = numbers(&row.get::<_, String>(2)?);
                let text = |column| {
                    Ok::<_, rusqlite::Error>(
                        row.get_ref(column)?
                            .as_bytes_or_null()
                            .ok()
                            .flatten()
                            .map(|text| String::from_utf8_lossy(text).into_owned()),
                    )
                };
                let (project, title) = (text(0)?.unwrap_or_default(), text(1)?);
                found.push(Group { kind, project, title, count: ids.len(), ids });
            }
        }
        Ok(found)
    })
}

/// The ids of a `group_concat`, lowest first.
fn numbers(list: &str) -> Vec<i64> {
    let mut ids: Vec<i64> = list.split(',').filter_map(|id| id.parse().ok()).collect();
    ids.sort_unstable();
    ids
}

fn groups(db: &Connection, sql: &str) -> Result<Vec<Vec<i64>>> {
    let mut statement = db.prepare_cached(sql)?;
    let mut rows = statement.query([])?;
    let mut groups = Vec::new();
    while let Some(row) = rows.next()? {
        groups.push(numbers(&row.get::<_, String>(0)?));
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::reference;

    #[test]
    fn equal_rows_of_a_project_in_any_session() {
        let Some((_directory, db)) = reference::database() else { return };
        assert_eq!(find_groups(&db, None, 1_000).unwrap(), []);
        db.execute_batch(
            "INSERT INTO observations(sdk_session_id, project, type, title, narrative, created_at, created_at_epoch)
               SELECT sdk_session_id, 'twice', 'change', 'same', iif(row_number() OVER (ORDER BY id) <= 2, 'n', NULL), '', id
               FROM sdk_sessions WHERE sdk_session_id IS NOT NULL LIMIT 5;
             INSERT INTO observations(sdk_session_id, project, type, title, narrative, created_at, created_at_epoch)
               SELECT sdk_session_id, 'other', 'change', 'same', 'n', '', id
               FROM sdk_sessions WHERE sdk_session_id IS NOT NULL LIMIT 1;
             INSERT INTO session_summaries(sdk_session_id, project, request, created_at, created_at_epoch)
               SELECT sdk_session_id, 'twice', NULL, '', id FROM sdk_sessions WHERE sdk_session_id IS NOT NULL LIMIT 2",
        )
        .unwrap();
        let shapes = |groups: Vec<Group>| -> Vec<_> {
            groups.into_iter().map(|group| (group.kind, group.project, group.title, group.count)).collect()
        };
        let expected = vec![
            ("observation", "twice".to_owned(), Some("same".to_owned()), 2),
            ("observation", "twice".to_owned(), Some("same".to_owned()), 3),
            ("summary", "twice".to_owned(), None, 2),
        ];
        assert_eq!(shapes(find_groups(&db, None, 1_000).unwrap()), expected);
        assert_eq!(shapes(find_groups(&db, Some("twice"), 2).unwrap()), expected[..2]);
        assert_eq!(find_groups(&db, Some("other"), 10).unwrap(), []);
        assert_eq!(find(&db).unwrap(), Duplicates::default(), "none of them in the same session");
    }
}
