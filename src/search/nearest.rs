//! Documents by their vectors alone: what `memory.vectors.search` answers.

use rusqlite::{Connection, OptionalExtension};

use super::{
    remembered,
    request::{Kinds, Request},
    scope::Scope,
    service::Search,
};
use crate::{
    error::{Code, Error, Result},
    index::{
        document::{DocumentId, Field, RowKey},
        vectors::{Allowed, By, Hit, vector},
    },
    reply::Reply,
    store::filters::Filters,
};

/// Documents of an answer, where the call says nothing.
pub const NEAREST: usize = 10;

/// Near to what.
#[derive(Debug, Clone, PartialEq)]
pub enum To {
    /// A text, which is embedded.
    Text(String),
    /// A vector of the model in use.
    Vector(Vec<f32>),
}

/// A document, and how far it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Near {
    /// Which.
    pub document: DocumentId,
    /// 1 − cosine.
    pub distance: f32,
}

impl Search {
    /// The `k` documents of rows that `filters` let through which are nearest, nearest first.
    pub fn nearest(&self, to: To, k: usize, kinds: Kinds, filters: Filters, reply: Reply<Vec<Near>>) {
        let request = Request { filters, ..Request::new("", kinds) };
        self.run("vectors.search", reply, move |search, db, in_hand| {
            let query = match &to {
                To::Text(text) => search.query_vector(text, in_hand)??.to_vec(),
                To::Vector(values) => vector::unit(values, search.index().vectors().dimensions())?,
            };
            // The first query of all is what finds out whose vectors there are.
            if let Some(other) = search.index().figures().other_model {
                let message = format!(
                    "the stored vectors are of the model {} ({} dimensions), which is not the one in use; put that one in \
                     place, or let all be made anew",
                    other.name, other.dimensions
                );
                return Err(Error::new(Code::ModelMismatch, message).into());
            }
            Ok(nearest(search, db, &query, k, &request)?)
        });
    }
}

fn nearest(search: &Search, db: &Connection, query: &[f32], k: usize, request: &Request) -> Result<Vec<Near>> {
    let snapshot = db.unchecked_transaction()?;
    let scope = remembered::with(&snapshot, |remembered| Scope::of(&snapshot, remembered, request))?;
    let allowed = match &scope {
        Scope::All => Allowed::All,
        Scope::Groups { groups, .. } => Allowed::Groups(groups),
    };
    let hits = search.index().vectors().nearest(query, k, By::Document, allowed)?;
    let mut names = snapshot.prepare_cached("SELECT row_key, field, part FROM documents WHERE id = ?1")?;
    let mut near = Vec::with_capacity(hits.len());
    for Hit { id, distance, .. } in hits {
        let found: Option<(RowKey, i64, u32)> =
            names.query_row([id], |row| Ok((RowKey(row.get(0)?), row.get(1)?, row.get(2)?))).optional()?;
        // One that went in between is left out.
        if let Some((key, field, part)) = found
            && let Some(field) = Field::of_code(field)
        {
            near.push(Near { document: DocumentId { row_id: key.row_id(), field, part }, distance });
        }
    }
    Ok(near)
}
