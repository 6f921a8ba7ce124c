//! The rows of an answer, read from `claude-mem.db` by their ids.

use std::{collections::HashMap, sync::Arc};

use rusqlite::Connection;
use serde_json::Value;

use super::{
    keyword::Marks,
    ranking::Hit,
    snippet::{self, Snippet, Snippets},
};
use crate::{
    db::{Cell, Rows},
    error::Result,
    index::document::{DocumentId, Field, Kind},
    store::{json_arrays, observations, prompts, snapshot::snapshot, summaries},
};

/// One row of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// What it is.
    pub kind: Kind,
    /// The whole row, alone.
    pub row: Rows,
    /// Where it stands; no score in a list.
    pub hit: Hit,
    /// The place that matches best, where explanations were asked for and there is one.
    pub snippet: Option<Snippet>,
}

/// The rows of `hits`, in their order. One that was deleted in the meantime is left out. With `marks` each has its
/// snippet.
///
/// # Errors
/// What SQLite answers.
pub fn read(db: &Connection, hits: Vec<Hit>, marks: Option<&Marks>) -> Result<Vec<Found>> {
    let mut found: HashMap<(Kind, i64), Rows> = HashMap::with_capacity(hits.len());
    snapshot(db, |db| {
        for kind in Kind::ALL {
            let of_kind = |hit: &Hit| (hit.key.kind() == Some(kind)).then(|| hit.key.row_id());
            let ids: Vec<i64> = hits.iter().filter_map(of_kind).collect();
            if ids.is_empty() {
                continue;
            }
            let rows = match kind {
                Kind::Observation => observations::in_turn(db, &ids),
                Kind::Summary => summaries::in_turn(db, &ids),
                Kind::Prompt => prompts::in_turn(db, &ids),
            }?;
            let (columns, width) = (Arc::clone(&rows.columns), rows.columns.len().max(1));
            let id = rows.column("id").unwrap_or(0);
            let mut cells = rows.cells.into_iter();
            loop {
                let row = Rows { columns: Arc::clone(&columns), cells: cells.by_ref().take(width).collect() };
                let Some(Cell::Integer(id)) = row.cells.get(id) else { break };
                found.insert((kind, *id), row);
            }
        }
        Ok(())
    })?;
    let snippets = marks.map(Snippets::new).transpose()?;
    let mut answer = Vec::with_capacity(hits.len());
    for hit in hits {
        let Some(kind) = hit.key.kind() else { continue };
        let Some(row) = found.remove(&(kind, hit.key.row_id())) else { continue };
        let snippet = match &snippets {
            Some(snippets) => of_row(snippets, kind, &row, hit.meaning.and_then(|meaning| meaning.document))?,
            None => None,
        };
        answer.push(Found { kind, row, hit, snippet });
    }
    Ok(answer)
}

/// Where the words are; else what the nearest document says.
fn of_row(snippets: &Snippets, kind: Kind, row: &Rows, document: Option<DocumentId>) -> Result<Option<Snippet>> {
    let texts: Vec<(&'static str, String)> = fields(kind)
        .iter()
        .filter_map(|&field| Some((field, text(row, field)?)))
        .map(|(field, text)| (field, if is_list(field) { lines(&text) } else { text }))
        .filter(|(_, text)| !text.is_empty())
        .collect();
    let borrowed: Vec<(&'static str, &str)> = texts.iter().map(|(field, text)| (*field, &**text)).collect();
    if let Some(snippet) = snippets.find(&borrowed)? {
        return Ok(Some(snippet));
    }
    let Some(document) = document else { return Ok(None) };
    Ok(match document.field {
        Field::Fact => {
            let facts = text(row, "facts").and_then(|facts| serde_json::from_str::<Value>(&facts).ok());
            let fact = facts.as_ref().and_then(|facts| facts.get(document.part as usize)?.as_str());
            fact.map(|fact| snippet::beginning("facts", fact))
        }
        Field::Prompt => text(row, "prompt_text").map(|text| snippet::beginning("prompt_text", &text)),
        field => text(row, field.name()).map(|text| snippet::beginning(field.name(), &text)),
    })
}

/// Columns that words are found in, the first of equal ones first.
const fn fields(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Observation => {
            &["title", "subtitle", "narrative", "text", "facts", "concepts", "files_modified", "files_read"]
        }
        Kind::Summary => {
            &["request", "investigated", "learned", "completed", "next_steps", "notes", "files_edited", "files_read"]
        }
        Kind::Prompt => &["prompt_text"],
    }
}

fn is_list(field: &str) -> bool {
    matches!(field, "facts" | "concepts" | "files_modified" | "files_read" | "files_edited")
}

fn text(row: &Rows, column: &str) -> Option<String> {
    match row.cells.get(row.column(column)?)? {
        Cell::Text(text) => Some(text.to_string()),
        _ => None,
    }
}

/// A JSON array as lines; any other text as it is.
fn lines(text: &str) -> String {
    let items = json_arrays::strings(text);
    if items.is_empty() && !text.trim_start().starts_with('[') { text.to_owned() } else { items.join("\n") }
}
