//! What happened around an observation or a moment.

use rusqlite::{Connection, OptionalExtension, ToSql, named_params};

use crate::{
    db::Rows,
    error::{Error, Result},
    store::{newest, snapshot::snapshot},
};

/// The window's middle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Anchor {
    /// An observation's id, and the time to fall back on where there is nothing on one side of it.
    Observation {
        /// `observations.id`.
        id: i64,
        /// Epoch ms.
        epoch: i64,
    },
    /// Epoch ms.
    Timestamp(i64),
}

/// How far the window reaches, in observations.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// So many before the anchor.
    pub before: i64,
    /// So many after it.
    pub after: i64,
    /// Only rows of this project.
    pub project: Option<String>,
}

impl Default for Window {
    fn default() -> Self {
        Self { before: 10, after: 10, project: None }
    }
}

/// The rows inside a window of time, each kind oldest first.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Timeline {
    /// Whole rows of `observations`.
    pub observations: Rows,
    /// Session summaries: `id, sdk_session_id, project, request, completed, next_steps, created_at,
    /// created_at_epoch`.
    pub sessions: Rows,
    /// Prompts: `id, claude_session_id, project, prompt, created_at, created_at_epoch`.
    pub prompts: Rows,
}

/// The window runs from the observation `before` places before the anchor to the one `after` places after it:
/// by id around an observation; by time around a moment, where the anchor is one of the rows before it. All
/// three kinds of row inside that time are answered.
///
/// # Errors
/// `ERR_INVALID_ARG` for a negative depth.
pub fn around(db: &Connection, anchor: Anchor, window: &Window) -> Result<Timeline> {
    if window.before < 0 || window.after < 0 {
        return Err(Error::invalid(format!(
            "depthBefore is {} and depthAfter is {}; give 0 or more",
            window.before, window.after
        )));
    }
    // An empty project is none, as in 6.0.2.
    let project = window.project.as_deref().filter(|project| !project.is_empty());
    snapshot(db, |db| {
        let (first, last, epoch) = match anchor {
            Anchor::Observation { id, epoch } => {
                let before = by_id(db, Side::Before, id, project, window.before)?;
                (before, by_id(db, Side::After, id, project, window.after)?, epoch)
            }
            Anchor::Timestamp(epoch) => {
                // The anchor's own place is one of those before it, so one fewer lies there.
                let before = match window.before {
                    0 => None,
                    places => by_time(db, Side::Before, epoch, project, places - 1)?,
                };
                (before, by_time(db, Side::After, epoch, project, window.after)?, epoch)
            }
        };
        let range = match (first, last) {
            // Nothing on either side: an empty window.
            (None, None) => (1, 0),
            (first, last) => (first.unwrap_or(epoch), last.unwrap_or(epoch)),
        };
        inside(db, range, project)
    })
}

#[derive(Clone, Copy)]
enum Side {
    Before,
    After,
}

/// The time of the observation `places` places away from `id`, or of the farthest there is; itself is place 0.
fn by_id(db: &Connection, side: Side, id: i64, project: Option<&str>, places: i64) -> Result<Option<i64>> {
    let sql = match (side, project.is_some()) {
        (Side::Before, false) => "SELECT id FROM observations WHERE id <= :anchor ORDER BY id DESC LIMIT :count",
        (Side::After, false) => "SELECT id FROM observations WHERE id >= :anchor ORDER BY id LIMIT :count",
        (Side::Before, true) => {
            "SELECT id FROM observations WHERE project = :project AND id <= :anchor ORDER BY id DESC LIMIT :count"
        }
        (Side::After, true) => {
            "SELECT id FROM observations WHERE project = :project AND id >= :anchor ORDER BY id LIMIT :count"
        }
    };
    let extreme = match side {
        Side::Before => "min(id)",
        Side::After => "max(id)",
    };
    let sql = format!("SELECT created_at_epoch FROM observations WHERE id = (SELECT {extreme} FROM ({sql}))");
    epoch_of(db, &sql, id, project, places.saturating_add(1))
}

/// The time of the observation `places` places away from the first at or beyond `epoch`, or of the farthest.
fn by_time(db: &Connection, side: Side, epoch: i64, project: Option<&str>, places: i64) -> Result<Option<i64>> {
    let project_test = match project {
        None => ProjectTest::None,
        Some(project) if newest::is_small(db, &newest::OBSERVATIONS, project)? => ProjectTest::Rows,
        Some(_) => ProjectTest::Index,
    };
    epoch_of(db, &time_sql(side, project_test), epoch, project, places.saturating_add(1))
}

#[derive(Clone, Copy)]
enum ProjectTest {
    None,
    /// Of a small project all rows are read.
    Rows,
    /// The walk along the time tests ids in the index on the project and reads no row.
    Index,
}

fn time_sql(side: Side, project: ProjectTest) -> String {
    let (extreme, comparison, direction) = match side {
        Side::Before => ("min", "<=", "DESC"),
        Side::After => ("max", ">=", "ASC"),
    };
    let condition = match project {
        ProjectTest::None => "",
        ProjectTest::Rows => " AND t.project = :project",
        ProjectTest::Index => {
            " AND +t.id IN (SELECT p.id FROM observations AS p INDEXED BY idx_observations_project WHERE p.project = :project AND p.id = t.id)"
        }
    };
    format!(
        "SELECT {extreme}(created_at_epoch) FROM (
           SELECT t.created_at_epoch FROM observations AS t WHERE t.created_at_epoch {comparison} :anchor{condition}
           ORDER BY t.created_at_epoch {direction} LIMIT :count)"
    )
}

fn epoch_of(db: &Connection, sql: &str, anchor: i64, project: Option<&str>, count: i64) -> Result<Option<i64>> {
    newest::hinted(db, sql, |statement| {
        let mut params: Vec<(&str, &dyn ToSql)> = vec![(":anchor", &anchor), (":count", &count)];
        if let Some(project) = &project {
            params.push((":project", project));
        }
        // The extreme of no row is NULL.
        Ok(statement.query_row(&*params, |row| row.get(0)).optional()?.flatten())
    })
}

fn inside(db: &Connection, (first, last): (i64, i64), project: Option<&str>) -> Result<Timeline> {
    let read = |sql: &str| {
        Rows::query(&mut *db.prepare_cached(sql)?, named_params! {":first": first, ":last": last, ":project": project})
    };
    // `+` keeps the window's own index in charge; the project is only tested.
    Ok(Timeline {
        observations: read(
            "SELECT * FROM observations
             WHERE created_at_epoch BETWEEN :first AND :last AND (:project IS NULL OR +project = :project)
             ORDER BY created_at_epoch, id",
        )?,
        sessions: read(
            "SELECT id, sdk_session_id, project, request, completed, next_steps, created_at, created_at_epoch
             FROM session_summaries
             WHERE created_at_epoch BETWEEN :first AND :last AND (:project IS NULL OR +project = :project)
             ORDER BY created_at_epoch, id",
        )?,
        prompts: read(
            "SELECT p.id, p.claude_session_id, s.project, p.prompt_text AS prompt, p.created_at, p.created_at_epoch
             FROM user_prompts AS p CROSS JOIN sdk_sessions AS s ON s.claude_session_id = p.claude_session_id
             WHERE p.created_at_epoch BETWEEN :first AND :last AND (:project IS NULL OR +s.project = :project)
             ORDER BY p.created_at_epoch, p.id",
        )?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::reference;

    #[test]
    fn the_window_of_a_large_project_is_found_without_its_rows() {
        let Some((_directory, db)) = reference::database() else { return };
        for side in [Side::Before, Side::After] {
            let mut statement =
                db.prepare(&format!("EXPLAIN QUERY PLAN {}", time_sql(side, ProjectTest::Index))).unwrap();
            let plan: Vec<String> =
                statement.raw_query().mapped(|row| row.get("detail")).collect::<rusqlite::Result<_>>().unwrap();
            let plan = plan.join("\n");
            assert!(plan.contains("SEARCH t USING COVERING INDEX idx_observations_created"), "{plan}");
            assert!(plan.contains("SEARCH p USING COVERING INDEX idx_observations_project"), "{plan}");
            assert!(!plan.contains("TEMP B-TREE"), "{plan}");
        }
    }

    #[test]
    fn both_ways_to_test_a_project_find_the_same_window() {
        let Some((_directory, db)) = reference::database() else { return };
        for project in ["claude-mem", "ml-notes", "legacy-tool", "no-such"] {
            for epoch in [0, 1_756_728_475_585, 1_757_289_683_421, 9_999_999_999_999] {
                for side in [Side::Before, Side::After] {
                    let found = |test| epoch_of(&db, &time_sql(side, test), epoch, Some(project), 4).unwrap();
                    assert_eq!(found(ProjectTest::Rows), found(ProjectTest::Index), "{project} {epoch}");
                }
            }
        }
    }
}
