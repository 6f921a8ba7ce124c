//! A whole search: the index brought up to date, the query embedded, both legs asked, the rows read.
//!
//! A search runs on a reader thread of `native/index.db`, which it gives back while it waits for a model ([`super::in_hand`])
//! and when it knows which rows it answers: those are read by the readers of `claude-mem.db`.

use std::sync::Arc;

use rusqlite::{Connection, OptionalExtension};

use super::{
    in_hand::{InHand, Stop},
    keyword::Marks,
    ranking::{self, Candidates, Ranking},
    request::{Kinds, Mode, Request},
    rows::{self, Found},
};
use crate::{
    db::{Cell, Readers},
    embedder::Availability,
    error::{Code, Error, Result},
    index::{
        Index, SourceRow,
        document::{DocumentId, Kind, RowKey},
        vectors::vector,
    },
    reply::{Reply, wait},
    store::timeline::{self, Anchor, Timeline, Window},
};

/// What is found.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// The rows of the page.
    pub results: Vec<Found>,
    /// Rows that were ranked; in a list those that there are.
    pub total: usize,
    /// What they were found by; `None` in a list.
    pub mode: Option<Mode>,
    /// Why it is another mode than was asked for.
    pub reason: Option<String>,
    /// Documents that owe their vectors.
    pub pending_documents: u64,
}

/// The best match, and what happened around it.
#[derive(Debug, Clone, PartialEq)]
pub struct Surroundings {
    /// As a search with a limit of 1 answers.
    pub anchor: Answer,
    /// Around that observation; empty where there is none.
    pub timeline: Timeline,
}

/// What is searched for.
#[derive(Debug, Clone, PartialEq)]
pub enum Query {
    /// The text of the request; with the vector of it, where the caller has one.
    Text(Option<Vec<f32>>),
    /// What an observation says: itself is no answer.
    Observation(i64),
    /// Nothing: every row that the filters let through, by date.
    Nothing,
}

/// An answer before its rows are read.
struct Ranked {
    ranking: Ranking,
    /// Where snippets are wanted.
    marks: Option<Marks>,
    mode: Option<Mode>,
    reason: Option<String>,
}

impl Ranked {
    fn answer(self, tables: &Connection, pending_documents: u64) -> Result<Answer> {
        let Self { ranking: Ranking { hits, total }, marks, mode, reason } = self;
        Ok(Answer { results: rows::read(tables, hits, marks.as_ref())?, total, mode, reason, pending_documents })
    }
}

/// What a search comes to on a reader.
pub(super) type Answered<T> = std::result::Result<T, Stop>;

/// The index, and the readers of the tables it is made from.
#[derive(Clone)]
pub struct Search {
    index: Arc<Index>,
    tables: Arc<Readers>,
}

impl Search {
    /// Over `index`, with the rows from `tables`.
    #[must_use]
    pub fn new(index: Arc<Index>, tables: Arc<Readers>) -> Self {
        Self { index, tables }
    }

    /// Searches. What was committed before the call is found.
    pub fn find(&self, query: Query, request: Request, reply: Reply<Answer>) {
        self.find_and("search", query, request, reply, |_, answer| Ok(answer));
    }

    /// The best observation, and the rows around it: of the request's project, where it names one.
    pub fn timeline(&self, query: Query, request: Request, before: i64, after: i64, reply: Reply<Surroundings>) {
        let request = Request { limit: 1, offset: 0, kinds: Kinds::of(&[Kind::Observation]), ..request };
        let window = Window { before, after, project: request.filters.project.clone() };
        self.find_and("timelineByQuery", query, request, reply, move |db, anchor| {
            let around = anchor.results.first().map(|found| {
                let epoch = found.row.column("created_at_epoch").and_then(|column| found.row.cells.get(column));
                let epoch = if let Some(Cell::Integer(epoch)) = epoch { *epoch } else { 0 };
                Anchor::Observation { id: found.hit.key.row_id(), epoch }
            });
            let timeline = around.map(|around| timeline::around(db, around, &window)).transpose()?;
            Ok(Surroundings { anchor, timeline: timeline.unwrap_or_default() })
        });
    }

    /// Searches, and does `then` where the rows have been read.
    fn find_and<T: Send + 'static>(
        &self,
        name: &'static str,
        query: Query,
        request: Request,
        reply: Reply<T>,
        then: impl FnOnce(&Connection, Answer) -> Result<T> + Send + 'static,
    ) {
        let (index, tables) = (Arc::clone(&self.index), Arc::clone(&self.tables));
        let ranked = Reply::new(move |ranked: Result<Ranked>| match ranked {
            Ok(ranked) => {
                let read = move |db: &Connection| then(db, ranked.answer(db, index.pending_documents())?);
                tables.call(name, read, reply);
            }
            Err(error) => reply.settle(Err(error)),
        });
        self.run(name, ranked, move |search, db, in_hand| search.ranked(db, &query, &request, in_hand));
    }

    /// What is searched in.
    pub(super) const fn index(&self) -> &Arc<Index> {
        &self.index
    }

    /// Runs `work` on a reader of the index, which is up to date then; again, where it lacked something before.
    pub(super) fn run<T: Send + 'static>(
        &self,
        name: &'static str,
        reply: Reply<T>,
        work: impl Fn(&Self, &Connection, &InHand) -> Answered<T> + Send + Sync + 'static,
    ) {
        self.go_on(name, Arc::new(work), InHand::default(), reply);
    }

    /// Reads the tables.
    fn read<T: Send + 'static>(
        &self,
        name: &'static str,
        read: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        wait(|reply| self.tables.call(name, read, reply))
    }

    fn ranked(&self, db: &Connection, query: &Query, request: &Request, in_hand: &InHand) -> Answered<Ranked> {
        let (ranking, marks, mode, reason) = match query {
            Query::Nothing => (ranking::list(db, request)?, Marks::default(), None, None),
            Query::Text(given) => {
                let (vector, reason) = match given {
                    Some(given) => (Some(vector::unit(given, self.index.vectors().dimensions())?), None),
                    None => self.vector_of(request, in_hand)?,
                };
                self.rank(db, (vector.as_deref(), in_hand), reason, request, None)?
            }
            Query::Observation(id) => {
                let key = RowKey::new(Kind::Observation, *id);
                let (vector, text, reason) = self.meaning_of(db, key, in_hand)?;
                let mode = if vector.is_some() { Mode::Semantic } else { Mode::Keyword };
                let request = Request { text, mode, ..request.clone() };
                self.rank(db, (vector.as_deref(), in_hand), reason, &request, Some(key))?
            }
        };
        Ok(Ranked { ranking, marks: request.explain.then_some(marks), mode, reason })
    }

    /// Ranks by words and by the vector, where there is one; else by words alone.
    fn rank(
        &self,
        db: &Connection,
        (vector, in_hand): (Option<&[f32]>, &InHand),
        reason: Option<String>,
        request: &Request,
        leave_out: Option<RowKey>,
    ) -> Answered<(Ranking, Marks, Option<Mode>, Option<String>)> {
        let mode = if vector.is_some() { request.mode } else { Mode::Keyword };
        let request = Request { mode, ..request.clone() };
        let mut candidates = ranking::candidates(db, self.index.vectors(), vector, &request, leave_out)?;
        if let Some(vector) = vector {
            self.embed_owed(&mut candidates, vector, in_hand)?;
        }
        let marks = std::mem::take(&mut candidates.marks);
        Ok((candidates.rank(), marks, Some(mode), reason))
    }

    /// The query's vector; or why there is none. Without a model, or with vectors of another one, a search goes on by
    /// words.
    fn vector_of(&self, request: &Request, in_hand: &InHand) -> Answered<(Option<Vec<f32>>, Option<String>)> {
        if request.mode == Mode::Keyword {
            return Ok((None, None));
        }
        if request.text.chars().all(|character| character.is_whitespace() || character.is_control()) {
            return Ok((None, Some("the query says nothing".to_owned())));
        }
        Ok(match self.unavailable() {
            Some(reason) => (None, Some(reason)),
            None => match self.query_vector(&request.text, in_hand)? {
                // The first query of all is what finds out whose vectors there are.
                Ok(vector) => match self.other_model() {
                    Some(reason) => (None, Some(reason)),
                    None => (Some(vector.to_vec()), None),
                },
                Err(error) => (None, Some(error.message)),
            },
        })
    }

    /// Why texts cannot be compared by meaning, if they cannot.
    fn unavailable(&self) -> Option<String> {
        match self.index.embedder().availability() {
            Availability::Missing { reason } => Some(reason),
            Availability::External => Some(
                "texts are embedded by the caller (embedder: 'external'): without the query's vector (option 'vector') only words can be searched for".to_owned(),
            ),
            Availability::Loaded | Availability::Unloaded => self.other_model(),
        }
    }

    /// Whether the vectors that there are were made by another model than the one in use.
    fn other_model(&self) -> Option<String> {
        let other = self.index.figures().other_model?;
        Some(format!(
            "the vectors are of another model ({}, {} dimensions); until all are made anew, words are searched for",
            other.name, other.dimensions
        ))
    }

    /// Embeds what the best rows owe, so that what was stored a moment ago is judged by what it says. A failure costs
    /// only that.
    fn embed_owed(&self, candidates: &mut Candidates, vector: &[f32], in_hand: &InHand) -> Answered<()> {
        if candidates.owed.is_empty() || self.unavailable().is_some() {
            return Ok(());
        }
        let owed: Vec<DocumentId> = candidates.owed.iter().map(|owed| owed.id).collect();
        let texts = self.texts(owed)?;
        let borrowed: Vec<&str> = texts.iter().map(|(_, text)| &**text).collect();
        let Ok(vectors) = self.vectors_of(&borrowed, in_hand)? else { return Ok(()) };
        let distance = |other: &[f32]| 1.0 - vector.iter().zip(other).map(|(a, b)| a * b).sum::<f32>();
        let embedded: Vec<(DocumentId, f32)> =
            texts.iter().zip(&vectors).map(|((id, _), other)| (*id, distance(other))).collect();
        candidates.embedded(&embedded);
        Ok(())
    }

    /// Texts of documents as the tables have them now; those that are gone are left out.
    fn texts(&self, documents: Vec<DocumentId>) -> Result<Vec<(DocumentId, String)>> {
        self.read("search", move |db| {
            let mut texts = Vec::with_capacity(documents.len());
            for id in documents {
                let row = SourceRow::find(db, id.field.kind(), id.row_id)?;
                texts.extend(row.and_then(|row| row.document(id.field, id.part)).map(|text| (id, text)));
            }
            Ok(texts)
        })
    }

    /// The mean of an observation's vectors. Where it has none yet, they are made now; where they cannot be made, its
    /// words stand for it, and the reason is told.
    fn meaning_of(
        &self,
        db: &Connection,
        key: RowKey,
        in_hand: &InHand,
    ) -> Answered<(Option<Vec<f32>>, String, Option<String>)> {
        let vectors = self.index.vectors();
        let stored: Vec<Vec<u8>> = db
            .prepare_cached("SELECT vector FROM documents WHERE row_key = ?1 AND vector IS NOT NULL ORDER BY id")?
            .query_map([key.0], |row| row.get(0))?
            .collect::<rusqlite::Result<_>>()?;
        if !stored.is_empty() {
            let stored =
                stored.iter().map(|blob| vector::from_blob(blob, vectors.dimensions())).collect::<Result<Vec<_>>>()?;
            return Ok((mean(&stored), String::new(), None));
        }
        let known =
            db.prepare_cached("SELECT 1 FROM rows WHERE key = ?1")?.query_row([key.0], |_| Ok(())).optional()?;
        let missing =
            || Error::new(Code::NotFound, format!("there is no observation {}", key.row_id())).with("id", key.row_id());
        known.ok_or_else(missing)?;
        let row = self.read("search", move |db| SourceRow::find(db, Kind::Observation, key.row_id()))?;
        let documents: Vec<String> =
            row.ok_or_else(missing)?.documents().into_iter().map(|text| text.text.into_owned()).collect();
        let text = documents.join("\n");
        if let Some(reason) = self.unavailable() {
            return Ok((None, text, Some(reason)));
        }
        let some: Vec<&str> = documents.iter().take(ranking::EMBEDDED_ON_DEMAND).map(|text| &**text).collect();
        if some.is_empty() {
            return Ok((None, text, Some(format!("observation {} has no text that has a meaning", key.row_id()))));
        }
        match self.vectors_of(&some, in_hand)? {
            Ok(vectors) => Ok((mean(&vectors), text, None)),
            Err(error) => Ok((None, text, Some(error.message))),
        }
    }
}

/// The middle of some directions; `None` where they cancel each other out.
fn mean(vectors: &[Vec<f32>]) -> Option<Vec<f32>> {
    let mut sum = vec![0.0; vectors.first()?.len()];
    for vector in vectors {
        sum.iter_mut().zip(vector).for_each(|(sum, value)| *sum += value);
    }
    sum.iter().any(|value| *value != 0.0).then_some(sum)
}

impl std::fmt::Debug for Search {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Search")
    }
}
