//! Full-text search in the tables that the hooks keep (`…_fts`), and lists by concept, type and file.

use rusqlite::{Connection, named_params};

use crate::{
    db::{Cell, Rows},
    error::{Error, Result},
    store::{
        filters::{Conditions, Filters, Kind, SearchOptions},
        order::OrderBy,
        snapshot::snapshot,
    },
};

/// Rows of a search or of a list at most, where the call says nothing.
const LIMIT: i64 = 50;
/// The same for prompts.
const PROMPT_LIMIT: i64 = 20;

/// Observations that hold the phrase `query`: whole rows, `rank` (bm25: the lower the better) and `score`
/// (1 for the best row of this answer, 0 for its worst).
///
/// # Errors
/// What SQLite answers.
pub fn observations(db: &Connection, query: &str, options: &SearchOptions) -> Result<Rows> {
    search(db, Kind::Observations, query, options)
}

/// Session summaries that hold the phrase; as [`observations`].
///
/// # Errors
/// What SQLite answers.
pub fn summaries(db: &Connection, query: &str, options: &SearchOptions) -> Result<Rows> {
    search(db, Kind::Summaries, query, options)
}

/// Prompts that hold the phrase; as [`observations`].
///
/// # Errors
/// What SQLite answers.
pub fn prompts(db: &Connection, query: &str, options: &SearchOptions) -> Result<Rows> {
    search(db, Kind::Prompts, query, options)
}

/// Observations with a concept, by time. `options.filters.concepts` gives way to it.
///
/// # Errors
/// `ERR_INVALID_ARG` for an empty concept without another filter.
pub fn by_concept(db: &Connection, concept: &str, options: &SearchOptions) -> Result<Rows> {
    let filters = Filters { concepts: super::filters::one(concept.to_owned()), ..options.filters.clone() };
    let conditions = Conditions::new(db, Kind::Observations, &filters)?;
    list(db, Kind::Observations, &some(conditions, "concept")?, options)
}

/// Observations of one of some types, by time. `options.filters.kinds` gives way to them.
///
/// # Errors
/// `ERR_INVALID_ARG` for an empty type without another filter.
pub fn by_type(db: &Connection, kinds: Option<Vec<String>>, options: &SearchOptions) -> Result<Rows> {
    let conditions = Conditions::new(db, Kind::Observations, &Filters { kinds, ..options.filters.clone() })?;
    list(db, Kind::Observations, &some(conditions, "type")?, options)
}

/// What touches a file, by time.
#[derive(Debug, Clone, PartialEq)]
pub struct ByFile {
    /// Whole rows of `observations`.
    pub observations: Rows,
    /// Whole rows of `session_summaries`.
    pub sessions: Rows,
}

/// Observations and session summaries with a path that contains `file`, by time; limit and offset hold for
/// each kind, the order for observations: summaries come newest first. `options.filters.files` gives way to the
/// file. An empty one is no filter for observations and any file at all for summaries, as in 6.0.2.
///
/// # Errors
/// `ERR_INVALID_ARG` for an empty file without another filter.
pub fn by_file(db: &Connection, file: &str, options: &SearchOptions) -> Result<ByFile> {
    let mut filters = Filters { files: super::filters::one(file.to_owned()), ..options.filters.clone() };
    snapshot(db, |db| {
        let observations = some(Conditions::new(db, Kind::Observations, &filters)?, "file")?;
        filters.files = Some(vec![file.to_owned()]);
        let sessions = Conditions::new(db, Kind::Summaries, &filters)?;
        let newest_first = SearchOptions { order_by: OrderBy::DateDesc, ..options.clone() };
        Ok(ByFile {
            observations: list(db, Kind::Observations, &observations, options)?,
            sessions: list(db, Kind::Summaries, &sessions, &newest_first)?,
        })
    })
}

fn some(conditions: Conditions, what: &str) -> Result<Conditions> {
    if conditions.is_empty() {
        return Err(Error::invalid(format!("{what} is empty; give one, or list everything with pages")));
    }
    Ok(conditions)
}

fn table(kind: Kind) -> &'static str {
    match kind {
        Kind::Observations => "observations",
        Kind::Summaries => "session_summaries",
        Kind::Prompts => "user_prompts",
    }
}

/// The whole query as one FTS5 phrase. FTS5 ends its text at a NUL: a space stands for it.
fn phrase(query: &str) -> String {
    format!("\"{}\"", query.replace('\0', " ").replace('"', "\"\""))
}

fn search(db: &Connection, kind: Kind, query: &str, options: &SearchOptions) -> Result<Rows> {
    let table = table(kind);
    let conditions = Conditions::new(db, kind, &options.filters)?;
    let order = match options.order_by {
        OrderBy::Relevance => "rank, id",
        OrderBy::DateDesc => "created_at_epoch DESC, id",
        OrderBy::DateAsc => "created_at_epoch, id",
    };
    // Ids first: what is sorted and cut off stays narrow. Where neither filter nor time is needed, the text
    // index alone answers.
    let picked = if conditions.is_empty() && options.order_by == OrderBy::Relevance {
        format!("SELECT rowid AS id, rank FROM {table}_fts WHERE {table}_fts MATCH :phrase ORDER BY rank, rowid")
    } else {
        format!(
            "SELECT t.id AS id, {table}_fts.rank AS rank, t.created_at_epoch AS created_at_epoch
             FROM {table}_fts CROSS JOIN {table} AS t ON t.id = {table}_fts.rowid
             WHERE {table}_fts MATCH :phrase{} ORDER BY {order}",
            conditions.sql()
        )
    };
    let outer = if options.order_by == OrderBy::Relevance { "picked.rank, picked.id" } else { "t.created_at_epoch" };
    let direction = if options.order_by == OrderBy::DateDesc { " DESC, picked.id" } else { "" };
    let sql = format!(
        "SELECT t.*, picked.rank AS rank FROM ({picked} LIMIT :limit OFFSET :offset) AS picked
         CROSS JOIN {table} AS t ON t.id = picked.id ORDER BY {outer}{direction}"
    );
    let limit = options.limit.unwrap_or(if kind == Kind::Prompts { PROMPT_LIMIT } else { LIMIT });
    let phrase = phrase(query);
    let params = conditions.params(named_params! {":phrase": phrase, ":limit": limit, ":offset": options.offset});
    Ok(scored(Rows::query(&mut *db.prepare_cached(&sql)?, &*params)?))
}

/// Adds `score`: 1 − (rank − min) / (max − min), or 1 where all ranks are the same.
fn scored(rows: Rows) -> Rows {
    let last = rows.columns.len().saturating_sub(1);
    let rank = |row: &[Cell]| match row.get(last) {
        Some(Cell::Real(rank)) => *rank,
        _ => 0.0,
    };
    let (min, max) = rows
        .iter()
        .map(rank)
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(min, max), rank| (min.min(rank), max.max(rank)));
    let range = if max - min == 0.0 { 1.0 } else { max - min };
    let columns = rows.columns.iter().cloned().chain([Box::from("score")]).collect();
    let mut cells = Vec::with_capacity(rows.cells.len() + rows.len());
    for row in &rows {
        cells.extend_from_slice(row);
        cells.push(Cell::Real(1.0 - (rank(row) - min) / range));
    }
    Rows { columns, cells }
}

fn list(db: &Connection, kind: Kind, conditions: &Conditions, options: &SearchOptions) -> Result<Rows> {
    let (table, direction) = (table(kind), options.order_by.direction());
    let sql = format!(
        "SELECT t.* FROM (
           SELECT t.id AS id FROM {table} AS t WHERE 1{} ORDER BY t.created_at_epoch {direction}, t.id
           LIMIT :limit OFFSET :offset) AS picked
         CROSS JOIN {table} AS t ON t.id = picked.id ORDER BY t.created_at_epoch {direction}, t.id",
        conditions.sql()
    );
    let limit = options.limit.unwrap_or(LIMIT);
    let params = conditions.params(named_params! {":limit": limit, ":offset": options.offset});
    Rows::query(&mut *db.prepare_cached(&sql)?, &*params)
}
