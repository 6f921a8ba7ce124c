//! Filters of searches and of `findBy…`, as conditions on the row `t`.

use rusqlite::{Connection, ToSql, types::Value};

use crate::{
    error::{Error, Result},
    store::{
        date_range::{Bound, DateRange, Limit},
        json_arrays::readable,
        order::OrderBy,
    },
};

/// Bytes of a part of a path: SQLite refuses longer patterns (50,000 with the two `%`).
const LONGEST_FILE: usize = 49_998;

/// Which rows may be answered. A filter that a kind of row does not have is ignored for it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Filters {
    /// Of this project; empty is any.
    pub project: Option<String>,
    /// Observations: of one of these types; an empty list lets none through.
    pub kinds: Option<Vec<String>>,
    /// Observations: with one of these concepts; an empty list is any.
    pub concepts: Option<Vec<String>>,
    /// Observations and sessions: one of these is part of a path that was read or modified, as in SQL's LIKE
    /// (`%`, `_`, ASCII letters in either case); an empty list is any.
    pub files: Option<Vec<String>>,
    /// Stored in this time.
    pub date_range: DateRange,
}

/// Options of searches and of `findBy…`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct SearchOptions {
    /// At most so many rows; 50 where absent, 20 for prompts; negative is all.
    pub limit: Option<i64>,
    /// So many rows are left out first.
    pub offset: i64,
    /// Relevance where absent.
    pub order_by: OrderBy,
    /// Which rows.
    pub filters: Filters,
}

/// One value or a list, as the worker gives them; a single empty text is no filter, as in 6.0.2.
#[must_use]
pub fn one(value: String) -> Option<Vec<String>> {
    (!value.is_empty()).then(|| vec![value])
}

/// The kinds of row that can be filtered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Observations,
    Summaries,
    Prompts,
}

/// Conditions joined by AND, with their parameters.
#[derive(Debug, Default)]
pub(crate) struct Conditions {
    sql: String,
    values: Vec<(&'static str, Value)>,
}

impl Conditions {
    /// What `filters` means for rows of `kind`.
    pub(crate) fn new(db: &Connection, kind: Kind, filters: &Filters) -> Result<Self> {
        let mut conditions = Self::default();
        if let Some(project) = filters.project.as_ref().filter(|project| !project.is_empty()) {
            let sql = match kind {
                Kind::Observations | Kind::Summaries => "t.project = :project",
                Kind::Prompts => {
                    "(SELECT s.project FROM sdk_sessions AS s WHERE s.claude_session_id = t.claude_session_id) = :project"
                }
            };
            conditions.and(sql, ":project", Value::Text(project.clone()));
        }
        if let (Kind::Observations, Some(kinds)) = (kind, &filters.kinds) {
            conditions.and("t.type IN (SELECT value FROM json_each(:types))", ":types", list(kinds)?);
        }
        if let (Kind::Observations, Some(concepts)) = (kind, non_empty(filters.concepts.as_deref())) {
            conditions.and(
                concat!(
                    "EXISTS (SELECT 1 FROM json_each(",
                    readable!("t.concepts"),
                    ") AS c
                       WHERE c.value IN (SELECT value FROM json_each(:concepts)))"
                ),
                ":concepts",
                list(concepts)?,
            );
        }
        if let Some(files) = non_empty(filters.files.as_deref()) {
            let sql = match kind {
                Kind::Observations => Some(concat!(
                    "EXISTS (SELECT 1 FROM json_each(:files) AS wanted
                       WHERE EXISTS (SELECT 1 FROM json_each(",
                    readable!("t.files_read"),
                    ") AS f
                           WHERE f.value LIKE '%' || wanted.value || '%')
                         OR EXISTS (SELECT 1 FROM json_each(",
                    readable!("t.files_modified"),
                    ") AS f
                           WHERE f.value LIKE '%' || wanted.value || '%'))"
                )),
                Kind::Summaries => Some(concat!(
                    "EXISTS (SELECT 1 FROM json_each(:files) AS wanted
                       WHERE EXISTS (SELECT 1 FROM json_each(",
                    readable!("t.files_read"),
                    ") AS f
                           WHERE f.value LIKE '%' || wanted.value || '%')
                         OR EXISTS (SELECT 1 FROM json_each(",
                    readable!("t.files_edited"),
                    ") AS f
                           WHERE f.value LIKE '%' || wanted.value || '%'))"
                )),
                Kind::Prompts => None,
            };
            if let Some(long) = files.iter().map(String::len).find(|length| *length > LONGEST_FILE) {
                return Err(Error::invalid(format!(
                    "a file to look for has {long} bytes; SQLite's LIKE takes at most {LONGEST_FILE}: give a part of it"
                ))
                .with("limit", LONGEST_FILE));
            }
            if let Some(sql) = sql {
                conditions.and(sql, ":files", list(files)?);
            }
        }
        let range = &filters.date_range;
        conditions.and_bound(db, "t.created_at_epoch >= :start", ":start", range.start.as_ref())?;
        conditions.and_bound(db, "t.created_at_epoch <= :end", ":end", range.end.as_ref())?;
        Ok(conditions)
    }

    fn and(&mut self, sql: &str, name: &'static str, value: Value) {
        self.sql.push_str(" AND ");
        self.sql.push_str(sql);
        self.values.push((name, value));
    }

    fn and_bound(&mut self, db: &Connection, sql: &str, name: &'static str, bound: Option<&Bound>) -> Result<()> {
        if let Some(Limit::At(epoch)) = bound.map(|bound| bound.limit(db)).transpose()? {
            // NULL compares to nothing: no row passes.
            self.and(sql, name, epoch.map_or(Value::Null, Value::Real));
        }
        Ok(())
    }

    /// Whether every row passes.
    pub(crate) fn is_empty(&self) -> bool {
        self.sql.is_empty()
    }

    /// `AND …` for each condition.
    pub(crate) fn sql(&self) -> &str {
        &self.sql
    }

    /// The conditions' parameters and `more`.
    pub(crate) fn params<'a>(&'a self, more: &[(&'a str, &'a dyn ToSql)]) -> Vec<(&'a str, &'a dyn ToSql)> {
        let mine = self.values.iter().map(|(name, value)| (*name, value as &dyn ToSql));
        mine.chain(more.iter().copied()).collect()
    }
}

fn non_empty(values: Option<&[String]>) -> Option<&[String]> {
    values.filter(|values| !values.is_empty())
}

fn list(values: &[String]) -> Result<Value> {
    let text =
        serde_json::to_string(values).map_err(|error| Error::internal(format!("a list of texts as JSON: {error}")))?;
    Ok(Value::Text(text))
}
