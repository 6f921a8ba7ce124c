//! The viewer's lists, page by page, newest first.

use rusqlite::Connection;

use crate::{
    db::{Cell, Rows},
    error::{Error, Result},
    store::{
        json_arrays,
        newest::{self, ByTime, Ids, OBSERVATIONS, PROMPTS, SUMMARIES},
        prompts,
        snapshot::snapshot,
    },
};

/// One page.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// The rows, newest first.
    pub items: Rows,
    /// Whether there is a row behind them.
    pub has_more: bool,
    /// As it was asked for.
    pub offset: i64,
    /// As it was asked for.
    pub limit: i64,
}

/// `id, sdk_session_id, project, type, title, subtitle, narrative, text, facts, concepts, files_read,
/// files_modified, prompt_number, created_at, created_at_epoch`; each path loses everything up to and including
/// the first `/<project>/`.
///
/// # Errors
/// `ERR_INVALID_ARG` for a negative limit.
pub fn observations(db: &Connection, offset: i64, limit: i64, project: Option<&str>) -> Result<Page> {
    let mut page = page(db, &OBSERVATIONS, offset, limit, project, |db, ids| {
        let columns = "t.id, t.sdk_session_id, t.project, t.type, t.title, t.subtitle, t.narrative, t.text, t.facts,
                       t.concepts, t.files_read, t.files_modified, t.prompt_number, t.created_at, t.created_at_epoch";
        newest::rows(db, ids, columns, "observations", "")
    })?;
    make_paths_relative(&mut page.items);
    Ok(page)
}

/// `id, session_id` (the session's `claude_session_id`), `request, investigated, learned, completed, next_steps,
/// project, created_at, created_at_epoch`.
///
/// # Errors
/// `ERR_INVALID_ARG` for a negative limit.
pub fn summaries(db: &Connection, offset: i64, limit: i64, project: Option<&str>) -> Result<Page> {
    page(db, &SUMMARIES, offset, limit, project, |db, ids| {
        let columns = "t.id, s.claude_session_id AS session_id, t.request, t.investigated, t.learned, t.completed,
                       t.next_steps, t.project, t.created_at, t.created_at_epoch";
        let session = "LEFT JOIN sdk_sessions AS s ON s.sdk_session_id = t.sdk_session_id";
        newest::rows(db, ids, columns, "session_summaries", session)
    })
}

/// `id, claude_session_id, project, prompt_number, prompt_text, created_at, created_at_epoch`.
///
/// # Errors
/// `ERR_INVALID_ARG` for a negative limit.
pub fn prompts(db: &Connection, offset: i64, limit: i64, project: Option<&str>) -> Result<Page> {
    page(db, &PROMPTS, offset, limit, project, prompts::listed)
}

fn page(
    db: &Connection,
    table: &ByTime,
    offset: i64,
    limit: i64,
    project: Option<&str>,
    rows: impl FnOnce(&Connection, &Ids) -> Result<Rows>,
) -> Result<Page> {
    let Ok(wanted) = usize::try_from(limit) else {
        return Err(Error::invalid(format!("limit is {limit}; give 0 or more")).with("limit", limit));
    };
    // An empty project is none, as in 6.0.2.
    let project = project.filter(|project| !project.is_empty());
    snapshot(db, |db| {
        // One more than the page: whether there is a row behind it.
        let mut ids = newest::ids(db, table, project, offset, limit.saturating_add(1))?;
        let has_more = ids.0.len() > wanted;
        ids.0.truncate(wanted);
        Ok(Page { items: rows(db, &ids)?, has_more, offset, limit })
    })
}

fn make_paths_relative(rows: &mut Rows) {
    let Some(project) = rows.column("project") else { return };
    let width = rows.columns.len();
    for column in ["files_read", "files_modified"].iter().filter_map(|name| rows.column(name)).collect::<Vec<_>>() {
        for row in rows.cells.chunks_exact_mut(width) {
            if let (Cell::Text(paths), Cell::Text(project)) = (&row[column], &row[project])
                && let Some(relative) = json_arrays::relative_paths(paths, project)
            {
                row[column] = Cell::Text(relative.into());
            }
        }
    }
}
