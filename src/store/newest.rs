//! Which rows are the newest, ids first: the stock plan for "newest of a project" sorts all of its wide rows.
//!
//! No index may be added to a shared table, and none is needed. A large project is found by walking the index
//! on the time and testing each id against the index on the project, so that no row is read; a small one by
//! sorting its own rows. A walk alone is a trap for a project that is small or old: the walk has a floor in
//! time, and where it ends there short of a page, the project's rows are sorted after all.

use rusqlite::{CachedStatement, Connection, OptionalExtension, named_params, params};

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
    let Some(project) = project else {
        return collect(&mut db.prepare_cached(table.all)?, named_params! {":limit": limit, ":offset": offset});
    };
    let rows: i64 = hinted(db, table.count)?.query_row(params![project, LARGE_PROJECT], |row| row.get(0))?;
    if rows > SMALL_PROJECT {
        let floor: Option<i64> = if rows < LARGE_PROJECT {
            hinted(db, table.floor)?.query_row([rows * WALK_PER_ROW], |row| row.get(0)).optional()?
        } else {
            None
        };
        let found = collect(
            &mut hinted(db, table.walk)?,
            named_params! {":project": project, ":floor": floor.unwrap_or(i64::MIN), ":limit": limit, ":offset": offset},
        )?;
        if floor.is_none() || usize::try_from(limit).is_ok_and(|limit| found.0.len() >= limit) {
            return Ok(found);
        }
    }
    collect(&mut hinted(db, table.sort)?, named_params! {":project": project, ":limit": limit, ":offset": offset})
}

/// Whether sorting all rows of `project` costs next to nothing.
///
/// # Errors
/// What SQLite answers.
pub(super) fn is_small(db: &Connection, table: &ByTime, project: &str) -> Result<bool> {
    let rows: i64 = hinted(db, table.count)?.query_row(params![project, SMALL_PROJECT + 1], |row| row.get(0))?;
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

fn collect(statement: &mut CachedStatement<'_>, params: impl rusqlite::Params) -> Result<Ids> {
    Ok(Ids(statement.query_map(params, |row| row.get(0))?.collect::<rusqlite::Result<_>>()?))
}

/// Prepares `sql`; without its `INDEXED BY` where an index that it names is not there.
fn hinted<'db>(db: &'db Connection, sql: &str) -> Result<CachedStatement<'db>> {
    match db.prepare_cached(sql) {
        Err(error) if error.to_string().contains("no such index") => Ok(db.prepare_cached(&without_hints(sql))?),
        prepared => Ok(prepared?),
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
