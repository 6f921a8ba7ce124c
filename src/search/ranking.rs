//! Candidates of both legs, and their order.
//!
//! The first hundred of each leg are candidates. A page that reaches beyond them asks for the first two hundred, four
//! hundred and so on; whatever that adds stands behind what was there before. So a row has one place, whatever page is
//! asked for, as long as nothing is written in between.

use std::{cmp::Ordering, collections::HashSet, hash::BuildHasherDefault, sync::LazyLock, thread};

use rusqlite::{Connection, OptionalExtension};

use super::{
    keyword, query, remembered,
    request::{Mode, Request},
    scope::{self, Scope},
    semantic,
};
use crate::{
    error::{Error, Result},
    index::{
        document::{DocumentId, Field, RowKey},
        vectors::{VectorIndex, key_hash::KeyHasher},
    },
    store::{order::OrderBy, snapshot::snapshot},
};

/// Candidates of each leg, to begin with.
pub const DEPTH: usize = 100;
/// From so many vectors on both legs are asked at the same time, where all vectors are compared: that takes longer than to
/// start a thread. To walk a graph does not.
const SIDE_BY_SIDE: usize = 4_000;
/// What the best match by words adds to a score, where it has all that was asked for. Where it has less it adds less:
/// divided by the best row's bm25, a row with one common word of a question would count as much as one with all of it, and
/// outweigh the rows that mean what was asked in other words.
const KEYWORD_WEIGHT: f64 = 0.4;
/// What the same text as the query adds to a score.
const SEMANTIC_WEIGHT: f64 = 0.6;
/// Documents that are embedded for the sake of one query at most.
pub const EMBEDDED_ON_DEMAND: usize = 8;

/// How a row was found by its words.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ByWords {
    /// Its place among the rows found by words, from 1.
    pub rank: usize,
    /// The sum over the query's terms.
    pub bm25: f64,
}

/// How a row was found by its meaning.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ByMeaning {
    /// Its place among the rows found by meaning, from 1; `None` where the words found it and its vector was looked up.
    pub rank: Option<usize>,
    /// 1 − cosine of its nearest document.
    pub distance: f32,
    /// That document: known where the request wants explanations.
    pub document: Option<DocumentId>,
}

/// A row that may be answered.
#[derive(Debug, Clone)]
struct Candidate {
    key: RowKey,
    words: Option<ByWords>,
    meaning: Option<ByMeaning>,
    /// The number of its nearest document.
    document: Option<i64>,
    /// Its time, where that is the order.
    epoch: Option<i64>,
}

impl Candidate {
    const fn new(key: RowKey) -> Self {
        Self { key, words: None, meaning: None, document: None, epoch: None }
    }
}

/// A document of a candidate that has no vector yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owed {
    /// Its number in `documents`.
    pub number: i64,
    /// Its name.
    pub id: DocumentId,
}

/// Rows that need not be looked at again.
type Seen = HashSet<RowKey, BuildHasherDefault<KeyHasher>>;

/// Both legs' candidates.
#[derive(Debug)]
pub struct Candidates {
    layers: Vec<Vec<Candidate>>,
    best_bm25: f64,
    coverage: f64,
    mode: Mode,
    order_by: OrderBy,
    page: (usize, usize),
    /// Documents that would make the ranking better if they had a vector, the most promising rows first.
    pub owed: Vec<Owed>,
    /// What snippets are found by.
    pub marks: keyword::Marks,
}

/// A row of the answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// Which row.
    pub key: RowKey,
    /// From 0 to 1; `None` in a list.
    pub score: Option<f64>,
    /// Where it stands in the keyword leg.
    pub words: Option<ByWords>,
    /// Where it stands in the semantic leg.
    pub meaning: Option<ByMeaning>,
}

/// One page of a ranking.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranking {
    /// The rows of the page.
    pub hits: Vec<Hit>,
    /// Candidates that were ranked.
    pub total: usize,
}

/// Asks both legs: the semantic one where there is a `vector` of the query. `leave_out` is never answered.
///
/// # Errors
/// What SQLite answers; `ERR_INVALID_ARG` for a filter that SQLite would refuse.
pub fn candidates(
    db: &Connection,
    vectors: &VectorIndex,
    vector: Option<&[f32]>,
    request: &Request,
    leave_out: Option<RowKey>,
) -> Result<Candidates> {
    snapshot(db, |db| {
        remembered::with(db, |remembered| {
            let scope = Scope::of(db, remembered, request)?;
            let vector = vector.filter(|_| request.mode != Mode::Keyword);
            let words = |remembered| match request.mode {
                Mode::Semantic => Ok(keyword::Leg::default()),
                Mode::Hybrid | Mode::Keyword => keyword::search(db, remembered, &query::terms(&request.text), &scope),
            };
            let (leg, mut near) = match vector {
                Some(vector) => {
                    let is_large =
                        request.mode == Mode::Hybrid && vectors.len() >= SIDE_BY_SIDE && !vectors.has_graph();
                    side_by_side(is_large, || words(remembered), || semantic::nearest(vectors, vector, DEPTH, &scope))
                }
                None => (words(remembered), Ok(Vec::new())),
            };
            let mut leg = leg?;
            let mut candidates = Candidates {
                layers: Vec::new(),
                best_bm25: leg.best_bm25,
                coverage: leg.coverage,
                mode: request.mode,
                order_by: request.order_by,
                page: (request.offset, request.limit),
                owed: Vec::new(),
                marks: std::mem::take(&mut leg.marks),
            };
            let wanted = request.offset.saturating_add(request.limit);
            let mut seen: Seen = leave_out.into_iter().collect();
            let mut depth = DEPTH;
            loop {
                let found = near?;
                let exhausted = depth >= leg.count() && found.len() < depth;
                candidates.add_layer(leg.best(depth), &found, &mut seen);
                if exhausted || candidates.count() >= wanted {
                    break;
                }
                depth = depth.saturating_mul(2);
                near = match vector {
                    Some(vector) => semantic::nearest(vectors, vector, depth, &scope),
                    None => Ok(Vec::new()),
                };
            }
            if let Some(vector) = vector {
                candidates.look_up_vectors(vectors, vector)?;
                candidates.find_owed(db)?;
            }
            if request.explain {
                candidates.name_documents(db)?;
            }
            if request.order_by != OrderBy::Relevance {
                candidates.look_up_times(db)?;
            }
            Ok(candidates)
        })
    })
}

/// Both answers: of `there` on a thread of its own beside this one, where that pays and there is another core.
fn side_by_side<A, B: Send>(
    pays: bool,
    here: impl FnOnce() -> A,
    there: impl Fn() -> Result<B> + Sync,
) -> (A, Result<B>) {
    static CORES: LazyLock<bool> = LazyLock::new(|| thread::available_parallelism().is_ok_and(|cores| cores.get() > 1));
    if !pays || !*CORES {
        return (here(), there());
    }
    thread::scope(|scope| {
        let beside = thread::Builder::new().name("cm-nearest".into()).spawn_scoped(scope, &there);
        let here = here();
        let there = match beside {
            Ok(beside) => {
                beside.join().unwrap_or_else(|payload| Err(Error::from_panic("searching by meaning", &*payload)))
            }
            // No thread can be had.
            Err(_) => there(),
        };
        (here, there)
    })
}

/// Every row that the filters let through, by date, newest first unless the oldest are asked for. None has a score.
///
/// # Errors
/// What SQLite answers; `ERR_INVALID_ARG` for a filter that SQLite would refuse.
pub fn list(db: &Connection, request: &Request) -> Result<Ranking> {
    let conditions = scope::conditions(db, request)?;
    let rows = format!(
        "FROM rows AS t WHERE t.kind IN ({}){}",
        request.kinds.codes().collect::<Vec<_>>().join(", "),
        conditions.sql()
    );
    let direction = if request.order_by == OrderBy::DateAsc { "ASC NULLS LAST" } else { "DESC NULLS LAST" };
    snapshot(db, |db| {
        let total: i64 = db
            .prepare_cached(&format!("SELECT count(*) {rows}"))?
            .query_row(&*conditions.params(&[]), |row| row.get(0))?;
        let sql =
            format!("SELECT t.key {rows} ORDER BY t.created_at_epoch {direction}, t.key LIMIT :limit OFFSET :offset");
        let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        let (limit, offset) = (count(request.limit), count(request.offset));
        let mut statement = db.prepare_cached(&sql)?;
        let hits = statement
            .query_map(&*conditions.params(&[(":limit", &limit), (":offset", &offset)]), |row| {
                Ok(Hit { key: RowKey(row.get(0)?), score: None, words: None, meaning: None })
            })?
            .collect::<rusqlite::Result<_>>()?;
        Ok(Ranking { hits, total: usize::try_from(total).unwrap_or_default() })
    })
}

impl Candidates {
    fn add_layer(&mut self, words: &[keyword::Scored], near: &[semantic::Near], seen: &mut Seen) {
        let by_words = words
            .iter()
            .zip(1..)
            .map(|(row, rank)| Candidate { words: Some(ByWords { rank, bm25: row.bm25 }), ..Candidate::new(row.key) });
        let by_meaning = near.iter().zip(1..).map(|(near, rank)| Candidate {
            meaning: Some(ByMeaning { rank: Some(rank), distance: near.distance, document: None }),
            document: Some(near.document),
            ..Candidate::new(near.key)
        });
        let mut layer: Vec<Candidate> =
            by_words.chain(by_meaning).filter(|candidate| !seen.contains(&candidate.key)).collect();
        layer.sort_unstable_by_key(|candidate| candidate.key);
        // A row that both legs have found is one.
        layer.dedup_by(|second, first| {
            let same = second.key == first.key;
            if same {
                first.words = first.words.or(second.words);
                first.meaning = first.meaning.or(second.meaning);
                first.document = first.document.or(second.document);
            }
            same
        });
        seen.extend(layer.iter().map(|candidate| candidate.key));
        self.layers.push(layer);
    }

    fn count(&self) -> usize {
        self.layers.iter().map(Vec::len).sum()
    }

    fn all(&mut self) -> impl Iterator<Item = &mut Candidate> {
        self.layers.iter_mut().flatten()
    }

    /// The exact distance of the candidates that the words alone have found.
    fn look_up_vectors(&mut self, vectors: &VectorIndex, vector: &[f32]) -> Result<()> {
        let mut unknown: Vec<&mut Candidate> = self.all().filter(|candidate| candidate.meaning.is_none()).collect();
        let keys: Vec<RowKey> = unknown.iter().map(|candidate| candidate.key).collect();
        let found = semantic::best_of(vectors, vector, &keys)?;
        for (candidate, near) in unknown.iter_mut().zip(found) {
            if let Some(near) = near {
                candidate.meaning = Some(ByMeaning { rank: None, distance: near.distance, document: None });
                candidate.document = Some(near.document);
            }
        }
        Ok(())
    }

    /// A document of each row without a vector, the best rows by words first; then a second one of each, and so on.
    fn find_owed(&mut self, db: &Connection) -> Result<()> {
        let mut rows: Vec<(usize, RowKey)> = self
            .all()
            .filter(|candidate| candidate.meaning.is_none())
            .filter_map(|candidate| candidate.words.map(|words| (words.rank, candidate.key)))
            .collect();
        rows.sort_unstable();
        rows.truncate(EMBEDDED_ON_DEMAND);
        let mut statement = db.prepare_cached(
            "SELECT id, field, part FROM documents WHERE row_key = ?1 AND vector IS NULL ORDER BY field, part",
        )?;
        let mut owed: Vec<(usize, usize, Owed)> = Vec::new();
        for (rank, key) in rows {
            let documents =
                statement.query_map([key.0], |row| Ok((row.get(0)?, document_id(key, row.get(1)?, row.get(2)?))))?;
            for (round, document) in documents.take(EMBEDDED_ON_DEMAND).enumerate() {
                if let (number, Some(id)) = document? {
                    owed.push((round, rank, Owed { number, id }));
                }
            }
        }
        owed.sort_unstable_by_key(|(round, rank, _)| (*round, *rank));
        self.owed = owed.into_iter().take(EMBEDDED_ON_DEMAND).map(|(.., owed)| owed).collect();
        Ok(())
    }

    fn name_documents(&mut self, db: &Connection) -> Result<()> {
        let mut statement = db.prepare_cached("SELECT field, part FROM documents WHERE id = ?1")?;
        for candidate in self.all() {
            let (Some(meaning), Some(number)) = (&mut candidate.meaning, candidate.document) else { continue };
            let name = statement.query_row([number], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
            meaning.document = name.and_then(|(field, part)| document_id(candidate.key, field, part));
        }
        Ok(())
    }

    fn look_up_times(&mut self, db: &Connection) -> Result<()> {
        let mut statement = db.prepare_cached("SELECT created_at_epoch FROM rows WHERE key = ?1")?;
        for candidate in self.all() {
            candidate.epoch = statement.query_row([candidate.key.0], |row| row.get(0)).optional()?.flatten();
        }
        Ok(())
    }

    /// Takes in what was embedded for this query: names and distances of documents.
    pub fn embedded(&mut self, documents: &[(DocumentId, f32)]) {
        for candidate in self.layers.iter_mut().flatten() {
            for &(id, distance) in documents.iter().filter(|(id, _)| id.row() == candidate.key) {
                if candidate.meaning.is_none_or(|known| distance < known.distance) {
                    candidate.meaning = Some(ByMeaning { rank: None, distance, document: Some(id) });
                }
            }
        }
    }

    /// The page of the ranking.
    #[must_use]
    pub fn rank(self) -> Ranking {
        let unknown = self.median_cosine();
        let total = self.count();
        let (mode, best_bm25) = (self.mode, self.best_bm25);
        let keyword_weight = KEYWORD_WEIGHT * self.coverage;
        let score = |candidate: &Candidate| {
            let words = candidate.words.map_or(0.0, |words| words.bm25 / best_bm25);
            let cosine =
                candidate.meaning.map_or(unknown, |meaning| (1.0 - f64::from(meaning.distance)).clamp(0.0, 1.0));
            match mode {
                Mode::Hybrid => keyword_weight * words + SEMANTIC_WEIGHT * cosine,
                Mode::Semantic => cosine,
                Mode::Keyword => words,
            }
        };
        let mut hits: Vec<(Option<i64>, Hit)> = Vec::with_capacity(total);
        for layer in self.layers {
            let from = hits.len();
            hits.extend(layer.into_iter().map(|candidate| {
                let hit = Hit {
                    key: candidate.key,
                    score: Some(score(&candidate)),
                    words: candidate.words,
                    meaning: candidate.meaning,
                };
                (candidate.epoch, hit)
            }));
            hits[from..].sort_unstable_by(|(_, a), (_, b)| by_score(a, b));
        }
        match self.order_by {
            OrderBy::Relevance => {}
            OrderBy::DateDesc => hits.sort_by(|(a, _), (b, _)| b.cmp(a)),
            // Rows without a time come last either way.
            OrderBy::DateAsc => hits.sort_by_key(|(epoch, _)| (epoch.is_none(), *epoch)),
        }
        let (offset, limit) = self.page;
        Ranking { hits: hits.into_iter().skip(offset).take(limit).map(|(_, hit)| hit).collect(), total }
    }

    /// What a row without a vector is taken for, so that the newest rows are not the last: neither near nor far among
    /// what the words have found.
    fn median_cosine(&self) -> f64 {
        let mut cosines: Vec<f64> = self
            .layers
            .first()
            .into_iter()
            .flatten()
            .filter(|candidate| candidate.words.is_some())
            .filter_map(|candidate| candidate.meaning)
            .map(|meaning| (1.0 - f64::from(meaning.distance)).clamp(0.0, 1.0))
            .collect();
        cosines.sort_unstable_by(f64::total_cmp);
        match cosines.len() {
            0 => 0.0,
            odd if odd % 2 == 1 => cosines[odd / 2],
            even => f64::midpoint(cosines[even / 2 - 1], cosines[even / 2]),
        }
    }
}

/// Scores are numbers from 0 to 1: they can be compared.
fn by_score(a: &Hit, b: &Hit) -> Ordering {
    b.score.partial_cmp(&a.score).unwrap_or(Ordering::Equal).then(a.key.cmp(&b.key))
}

fn document_id(key: RowKey, field: i64, part: u32) -> Option<DocumentId> {
    Field::of_code(field).map(|field| DocumentId { row_id: key.row_id(), field, part })
}
