//! Which rows are the newest, ids first: the stock plan for "newest of a project" sorts all of its wide rows.
//!
//! No index may be added to a shared table, and none is needed. A large project is found by walking the index
//! on the time and testing each id against the index on the project, so that no row is read; a small one by
//! sorting its own rows. A walk alone is a trap for a project that is small or old: the walk has a floor in
//! time, and where it ends there short of a page, the project's rows are sorted after all.

use rusqlite::{Connection, OptionalExtension, Statement, ToSql, params};

use crate::{db::Rows, error::Result};

/// Up to this many rows a project's rows are sorted at once: some 1 ms.
const SMALL_PROJECT: i64 = 256;
/// From this many rows the walk has no floor: sorting so many rows would take as long as walking all.
const LARGE_PROJECT: i64 = 4_096;
/// How far a walk goes for a project between the two, in index entries a row of the project.
const WALK_PER_ROW: i64 = 4;

/// How one table is listed by time.
#[derive(Debug)]
pub(super) struct ByTime {
    /// Ids of all rows; `:offset`, `:limit`.
    all: &'static str,
    /// How many rows a project has, up to `?2`.
    count: &'static str,
    /// The time of the `?1`-th newest row.
    floor: &'static str,
    /// Ids of a project, found along the time; `:project`, `:floor`, `:offset`, `:limit`.
    walk: &'static str,
    /// Ids of a project, sorted; `:project`, `:offset`, `:limit`.
    sort: &'static str,
}

/// Tables that have a column `project` of their own.
macro_rules! with_project {
    ($table:literal) => {
        ByTime {
            all: concat!("SELECT id FROM ", $table, " ORDER BY created_at_epoch DESC, id LIMIT :limit OFFSET :offset"),
            count: concat!(
                "SELECT count(*) FROM (SELECT 1 FROM ",
                $table,
                " INDEXED BY idx_",
                $table,
                "_project
                   WHERE project = ?1 LIMIT ?2)"
            ),
            floor: concat!(
                "SELECT created_at_epoch FROM ",
                $table,
                " INDEXED BY idx_",
                $table,
                "_created
                 ORDER BY created_at_epoch DESC LIMIT 1 OFFSET ?1"
            ),
            walk: concat!(
                "SELECT t.id FROM ",
                $table,
                " AS t INDEXED BY idx_",
                $table,
                "_created
                 WHERE t.created_at_epoch >= :floor AND +t.id IN (
                   SELECT p.id FROM ",
                $table,
                " AS p INDEXED BY idx_",
                $table,
                "_project
                   WHERE p.project = :project AND p.id = t.id)
                 ORDER BY t.created_at_epoch DESC, t.id LIMIT :limit OFFSET :offset"
            ),
            sort: concat!(
                "SELECT id FROM ",
                $table,
                " INDEXED BY idx_",
                $table,
                "_project WHERE project = :project
                 ORDER BY created_at_epoch DESC, id LIMIT :limit OFFSET :offset"
            ),
        }
    };
}

/// Table `observations`.
pub(super) const OBSERVATIONS: ByTime = with_project!("observations");
/// Table `session_summaries`.
pub(super) const SUMMARIES: ByTime = with_project!("session_summaries");
/// Table `user_prompts`: a prompt's project is its session's.
pub(super) const PROMPTS: ByTime = ByTime {
    all: "SELECT id FROM user_prompts ORDER BY created_at_epoch DESC, id LIMIT :limit OFFSET :offset",
    count: "SELECT count(*) FROM (
              SELECT 1 FROM sdk_sessions AS s INDEXED BY idx_sdk_sessions_project
              CROSS JOIN user_prompts AS p INDEXED BY idx_user_prompts_claude_session
                ON p.claude_session_id = s.claude_session_id
              WHERE s.project = ?1 LIMIT ?2)",
    floor: "SELECT created_at_epoch FROM user_prompts INDEXED BY idx_user_prompts_created
            ORDER BY created_at_epoch DESC LIMIT 1 OFFSET ?1",
    walk: "SELECT p.id FROM user_prompts AS p INDEXED BY idx_user_prompts_created
           WHERE p.created_at_epoch >= :floor AND (
             SELECT s.project FROM sdk_sessions AS s WHERE s.claude_session_id = p.claude_session_id) = :project
           ORDER BY p.created_at_epoch DESC, p.id LIMIT :limit OFFSET :offset",
    sort: "SELECT p.id FROM sdk_sessions AS s INDEXED BY idx_sdk_sessions_project
           CROSS JOIN user_prompts AS p INDEXED BY idx_user_prompts_claude_session
             ON p.claude_session_id = s.claude_session_id
           WHERE s.project = :project
           ORDER BY p.created_at_epoch DESC, p.id LIMIT :limit OFFSET :offset",
};

/// Ids of the newest rows, newest first, as a JSON array for `json_each`. A negative `limit` is none, a
/// negative `offset` is 0. Rows of one millisecond come in the order of their ids, so that pages never overlap.
///
/// # Errors
/// What SQLite answers.
pub(super) fn ids(db: &Connection, table: &ByTime, project: Option<&str>, offset: i64, limit: i64) -> Result<Ids> {
    let page = |sql, floor: Option<i64>| {
        hinted(db, sql, |statement| {
            let mut params: Vec<(&str, &dyn ToSql)> = vec![(":limit", &limit), (":offset", &offset)];
            if let Some(project) = &project {
                params.push((":project", project));
            }
            if let Some(floor) = &floor {
                params.push((":floor", floor));
            }
            let ids = statement.query_map(&*params, |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
            Ok(Ids(ids))
        })
    };
    let Some(name) = project else { return page(table.all, None) };
    let rows = count(db, table, name, LARGE_PROJECT)?;
    if rows > SMALL_PROJECT {
        let floor: Option<i64> = if rows < LARGE_PROJECT {
            hinted(db, table.floor, |statement| {
                statement.query_row([rows * WALK_PER_ROW], |row| row.get(0)).optional()
            })?
        } else {
            None
        };
        let found = page(table.walk, Some(floor.unwrap_or(i64::MIN)))?;
        if floor.is_none() || usize::try_from(limit).is_ok_and(|limit| found.0.len() >= limit) {
            return Ok(found);
        }
    }
    page(table.sort, None)
}

fn count(db: &Connection, table: &ByTime, project: &str, at_most: i64) -> Result<i64> {
    hinted(db, table.count, |statement| statement.query_row(params![project, at_most], |row| row.get(0)))
}

/// Whether sorting all rows of `project` costs next to nothing.
///
/// # Errors
/// What SQLite answers.
pub(super) fn is_small(db: &Connection, table: &ByTime, project: &str) -> Result<bool> {
    let rows = count(db, table, project, SMALL_PROJECT + 1)?;
    Ok(rows <= SMALL_PROJECT)
}

/// The rows of `columns`, in the order of `ids`; the table is `t`, and `joins` may add to it.
///
/// # Errors
/// What SQLite answers.
pub(super) fn rows(db: &Connection, ids: &Ids, columns: &str, table: &str, joins: &str) -> Result<Rows> {
    let sql = format!(
        "SELECT {columns} FROM json_each(?1) AS picked CROSS JOIN {table} AS t ON t.id = picked.value {joins}
         ORDER BY picked.key"
    );
    Rows::query(&mut *db.prepare_cached(&sql)?, [ids.to_json()])
}

/// Ids in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ids(pub(super) Vec<i64>);

impl Ids {
    /// A JSON array, to be joined through `json_each(?)`: `key` is the place, `value` the id.
    fn to_json(&self) -> String {
        let mut text = String::with_capacity(2 + self.0.len() * 7);
        text.push('[');
        for (place, id) in self.0.iter().enumerate() {
            if place > 0 {
                text.push(',');
            }
            text.push_str(&id.to_string());
        }
        text.push(']');
        text
    }
}

/// Runs `sql`; without its `INDEXED BY` where an index that it names is not there. A cached statement finds
/// that out when it runs, a new one when it is prepared.
///
/// # Errors
/// What SQLite answers.
pub(super) fn hinted<T>(
    db: &Connection,
    sql: &str,
    mut run: impl FnMut(&mut Statement<'_>) -> rusqlite::Result<T>,
) -> Result<T> {
    match db.prepare_cached(sql).and_then(|mut statement| run(&mut statement)) {
        Err(error) if error.to_string().contains("no such index") => {
            Ok(run(&mut *db.prepare_cached(&without_hints(sql))?)?)
        }
        answer => Ok(answer?),
    }
}

fn without_hints(sql: &str) -> String {
    let mut parts = sql.split("INDEXED BY ");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        plain.push_str(part.trim_start_matches(|character: char| character.is_alphanumeric() || character == '_'));
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::reference;

    const TABLES: [(&str, &ByTime, &str); 3] = [
        ("observations", &OBSERVATIONS, "t.project"),
        ("session_summaries", &SUMMARIES, "t.project"),
        (
            "user_prompts",
            &PROMPTS,
            "(SELECT s.project FROM sdk_sessions AS s WHERE s.claude_session_id = t.claude_session_id)",
        ),
    ];

    fn plan(db: &Connection, sql: &str) -> String {
        let mut statement = db.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
        let details = statement.raw_query().mapped(|row| row.get::<_, String>("detail"));
        details.collect::<rusqlite::Result<Vec<_>>>().unwrap().join("\n")
    }

    /// Adds rows of a project that is newer than all others, so that these are old and small beside it.
    fn add_newer_project(db: &Connection, rows: i64) {
        db.execute_batch(&format!(
            "INSERT INTO sdk_sessions (claude_session_id, sdk_session_id, project, started_at, started_at_epoch)
               VALUES ('newer', 'newer', 'newer', '', 0);
             WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {rows})
             INSERT INTO observations (sdk_session_id, project, type, created_at, created_at_epoch)
               SELECT 'newer', 'newer', 'change', '', 1790000000000 + i / 3 FROM n;"
        ))
        .unwrap();
    }

    fn expected(db: &Connection, table: &str, test: &str, project: &str, offset: i64, limit: i64) -> Vec<i64> {
        let sql = format!(
            "SELECT t.id FROM {table} AS t WHERE {test} = ?1 ORDER BY t.created_at_epoch DESC, t.id LIMIT ?2 OFFSET ?3"
        );
        let mut statement = db.prepare(&sql).unwrap();
        statement
            .query_map(params![project, limit, offset], |row| row.get(0))
            .unwrap()
            .collect::<rusqlite::Result<_>>()
            .unwrap()
    }

    #[test]
    fn every_plan_finds_the_same_ids() {
        let Some((_directory, db)) = reference::database() else { return };
        let check = |projects: &[&str]| {
            for project in projects {
                for (table, by_time, test) in TABLES {
                    for (offset, limit) in
                        [(0, 1), (0, 21), (7, 50), (300, 40), (2_400, 20), (1_000_000, 5), (0, 0), (-3, 2)]
                    {
                        assert_eq!(
                            ids(&db, by_time, Some(project), offset, limit).unwrap().0,
                            expected(&db, table, test, project, offset, limit),
                            "{table} of {project}, {limit} from {offset}"
                        );
                    }
                }
            }
        };
        check(&["claude-mem", "web-shop", "ml-notes", "rust-queue", "legacy-tool", "no-such", ""]);
        add_newer_project(&db, 10_000);
        check(&["newer", "claude-mem", "web-shop", "ml-notes", "rust-queue"]);
        for table in ["observations", "session_summaries"] {
            db.execute_batch(&format!("DROP INDEX idx_{table}_created; DROP INDEX idx_{table}_project")).unwrap();
        }
        check(&["newer", "claude-mem", "ml-notes", "rust-queue"]);
    }

    #[test]
    fn no_plan_reads_wide_rows_to_find_ids() {
        let Some((_directory, db)) = reference::database() else { return };
        for table in ["observations", "session_summaries"] {
            let by_time = TABLES.iter().find(|(name, ..)| *name == table).unwrap().1;
            assert_eq!(plan(&db, by_time.all), format!("SCAN {table} USING COVERING INDEX idx_{table}_created"));
            assert_eq!(
                plan(&db, by_time.walk),
                format!(
                    "SEARCH t USING COVERING INDEX idx_{table}_created (created_at_epoch>?)\n\
                     CORRELATED LIST SUBQUERY 1\n\
                     SEARCH p USING COVERING INDEX idx_{table}_project (project=? AND rowid=?)"
                )
            );
            assert!(plan(&db, by_time.count).contains(&format!("COVERING INDEX idx_{table}_project")));
            assert!(plan(&db, by_time.floor).contains(&format!("COVERING INDEX idx_{table}_created")));
            // The one that does read them reads only the project's.
            assert!(plan(&db, by_time.sort).starts_with(&format!("SEARCH {table} USING INDEX idx_{table}_project")));
        }
        let sorts = |sql: &str| plan(&db, sql).contains("TEMP B-TREE");
        assert!(!sorts(PROMPTS.all) && !sorts(PROMPTS.walk));
    }
}
