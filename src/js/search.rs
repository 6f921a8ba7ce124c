//! Class `Search`: search by words and by meaning.

use std::sync::Arc;

use napi::{Env, Unknown};
use napi_derive::napi;

use super::{
    answer::{Answer, IntoAnswer, object_answer},
    arguments::{Argument, Fields},
    call::{Pending, Promised, promise},
    store::{DateRange, filters_in, one_or_many},
};
use crate::{
    error::Result,
    index::document::{DocumentId, Kind},
    memory::Memory,
    reply::Reply,
    search::{
        ranking::{ByMeaning, ByWords},
        request::{FARTHEST, Kinds, LIMIT, MOST, Mode, Request},
        rows::Found,
        service::{self, Query, Surroundings},
        snippet::Snippet,
    },
    store::{filters::Filters, order::OrderBy},
};

const OPTIONS: [&str; 11] =
    ["vector", "mode", "limit", "offset", "orderBy", "explain", "project", "type", "concepts", "files", "dateRange"];

/// Options of `memory.search`. Numbers may come as decimal strings, as a query string has them.
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct RankedSearchOptions {
    /// The query's vector, of the length of the model's, where the caller embeds (`embedder: 'external'`). Default: the
    /// query is embedded here. Ignored by `similar`.
    #[napi(ts_type = "Float32Array | number[]")]
    pub vector: Option<Vec<f64>>,
    /// Found by words and meaning, by meaning, or by words. Default: `hybrid`.
    #[napi(ts_type = "'hybrid' | 'semantic' | 'keyword'")]
    pub mode: Option<String>,
    /// Rows at most, up to 1,000. Default: 20.
    pub limit: Option<f64>,
    /// Rows to leave out first, up to 1,000,000. Default: 0.
    pub offset: Option<f64>,
    /// Best match first; or the candidates newest first, or oldest first. Default: `relevance`; in lists `date_desc`.
    #[napi(ts_type = "'relevance' | 'date_desc' | 'date_asc'")]
    pub order_by: Option<String>,
    /// Whether each row tells why it is there, as `explain`. Default: false.
    pub explain: Option<bool>,
    /// Only rows of this project; '' is any.
    pub project: Option<String>,
    /// Only observations of one of these types; an empty list lets none through. Ignored by `summaries` and `prompts`.
    #[napi(js_name = "type", ts_type = "string | string[]")]
    pub kind: Option<String>,
    /// Only observations with one of these concepts. Ignored by `summaries` and `prompts`.
    #[napi(ts_type = "string | string[]")]
    pub concepts: Option<String>,
    /// Only observations and summaries with a path that contains one of these, as in SQL's LIKE. Ignored by `prompts`.
    #[napi(ts_type = "string | string[]")]
    pub files: Option<String>,
    /// Only rows of this time.
    pub date_range: Option<DateRange>,
}

/// Search in observations, summaries and prompts, of all that was committed before the call, by whomever.
///
/// A search has two legs. By words: rows with any of the query's words in any form, with parts of identifiers and names,
/// and with what a mistyped word may have meant, ranked by bm25. By meaning: rows with a document whose vector is near
/// to that of the query. Each leg has its best hundred rows as candidates (more where a page reaches beyond them), and
/// both rank all of these: `score` is 0.4 × coverage × bm25 / the best row's bm25 + 0.6 × the cosine of the row's nearest
/// document, each from 0 to 1, where coverage is how much of the query the best row by words has: rare words count more,
/// and those that no row has count most. A row is one result, whatever of it matches. A row whose documents have no vector yet is embedded
/// for the query (up to 8 documents), or else taken for as near as the middle of the rows found by words.
///
/// Filters hold before anything is ranked. Where a search is asked of one kind of row, a filter that this kind does not
/// have is ignored; in `all`, such rows do not pass.
///
/// Without a model, or while all vectors are made anew for another one, a search goes on by words: `mode` says what it
/// was, and `reason` why.
///
/// Any text is a query. `limit` and `offset` are pieces of one ranking, which stays the same as long as nothing is
/// written. Every method rejects with `ERR_INVALID_ARG` for an argument of the wrong form, naming it, with `ERR_DISPOSED`
/// after the memory was disposed, and with `ERR_NOT_OPEN` where it was opened without the parts `'store'` and
/// `'vectors'`.
#[napi]
pub struct Search {
    memory: Arc<Memory>,
}

#[napi]
impl Search {
    /// Observations for a query, the best first.
    #[napi(
        ts_args_type = "query: string, options?: RankedSearchOptions | null",
        ts_return_type = "Promise<SearchAnswer<ObservationRow>>",
        catch_unwind
    )]
    pub fn observations<'e>(
        &self,
        env: &'e Env,
        query: Unknown<'e>,
        options: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        self.text(env, Kinds::of(&[Kind::Observation]), &query, &options)
    }

    /// Session summaries for a query, the best first.
    #[napi(
        ts_args_type = "query: string, options?: RankedSearchOptions | null",
        ts_return_type = "Promise<SearchAnswer<SummaryRow>>",
        catch_unwind
    )]
    pub fn summaries<'e>(&self, env: &'e Env, query: Unknown<'e>, options: Unknown<'e>) -> napi::Result<Promised<'e>> {
        self.text(env, Kinds::of(&[Kind::Summary]), &query, &options)
    }

    /// Prompts for a query, the best first.
    #[napi(
        ts_args_type = "query: string, options?: RankedSearchOptions | null",
        ts_return_type = "Promise<SearchAnswer<PromptRow>>",
        catch_unwind
    )]
    pub fn prompts<'e>(&self, env: &'e Env, query: Unknown<'e>, options: Unknown<'e>) -> napi::Result<Promised<'e>> {
        self.text(env, Kinds::of(&[Kind::Prompt]), &query, &options)
    }

    /// Observations, summaries and prompts in one ranking; each row says with `kind` what it is.
    #[napi(
        ts_args_type = "query: string, options?: RankedSearchOptions | null",
        ts_return_type = "Promise<SearchAnswer<AnyRow>>",
        catch_unwind
    )]
    pub fn all<'e>(&self, env: &'e Env, query: Unknown<'e>, options: Unknown<'e>) -> napi::Result<Promised<'e>> {
        self.text(env, Kinds::ALL, &query, &options)
    }

    /// Observations that mean something like one observation, the nearest first, without itself. Where it has no vector
    /// yet one is made; without a model its words are searched for. `mode` of the options is ignored. Rejects with
    /// `ERR_NOT_FOUND` where there is no such observation.
    #[napi(
        ts_args_type = "observationId: number, options?: RankedSearchOptions | null",
        ts_return_type = "Promise<SearchAnswer<ObservationRow>>",
        catch_unwind
    )]
    pub fn similar<'e>(
        &self,
        env: &'e Env,
        observation_id: Unknown<'e>,
        options: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        self.find(env, false, || {
            let id = Argument::new("observationId", &observation_id).id()?;
            let fields = Argument::new("options", &options).options(&OPTIONS)?;
            Ok((Query::Observation(id), request(String::new(), Kinds::of(&[Kind::Observation]), &fields)?))
        })
    }

    /// The best observation for a query, and what happened around it, as `store.getTimelineAroundObservation`. Where
    /// nothing is found `anchor` is null and the timeline empty. `limit`, `offset` and `orderBy` have no place here.
    #[napi(
        ts_args_type = "query: string, options?: TimelineByQueryOptions | null",
        ts_return_type = "Promise<TimelineByQuery>",
        catch_unwind
    )]
    pub fn timeline_by_query<'e>(
        &self,
        env: &'e Env,
        query: Unknown<'e>,
        options: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            let text = Argument::new("query", &query).text()?;
            let known = [
                "vector",
                "mode",
                "explain",
                "project",
                "type",
                "concepts",
                "files",
                "dateRange",
                "depthBefore",
                "depthAfter",
            ];
            let fields = Argument::new("options", &options).options(&known)?;
            let request = request(text, Kinds::of(&[Kind::Observation]), &fields)?;
            let depth = |name| -> Result<i64> {
                let depth = fields.read(name, |depth| depth.integer(0..=1_000, "observations"))?;
                Ok(depth.unwrap_or(10))
            };
            let (before, after) = (depth("depthBefore")?, depth("depthAfter")?);
            let vector = fields.read("vector", Argument::floats)?;
            let search = self.memory.search()?;
            Ok(move |reply: Reply<Around>| {
                let explain = request.explain;
                let reply = Reply::new(move |found: Result<Surroundings>| {
                    reply.settle(found.map(|surroundings| Around { surroundings, explain }));
                });
                search.timeline(Query::Text(vector), request, before, after, reply);
            })
        })
    }

    /// Observations with a concept: ranked by `rankBy` where it is given, else the newest first. `concepts` of the
    /// options has no place here.
    #[napi(
        ts_args_type = "concept: string, options?: ByValueOptions | null",
        ts_return_type = "Promise<SearchAnswer<ObservationRow>>",
        catch_unwind
    )]
    pub fn by_concept<'e>(
        &self,
        env: &'e Env,
        concept: Unknown<'e>,
        options: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        self.by_value(env, Kinds::of(&[Kind::Observation]), "concepts", &options, |filters| {
            filters.concepts = Some(vec![Argument::new("concept", &concept).nonempty_text()?]);
            Ok(())
        })
    }

    /// Observations and summaries with a path that contains `file`, as in SQL's LIKE: ranked by `rankBy` where it is
    /// given, else the newest first; each row says with `kind` what it is. `files` of the options has no place here.
    #[napi(
        ts_args_type = "file: string, options?: ByValueOptions | null",
        ts_return_type = "Promise<SearchAnswer<AnyRow>>",
        catch_unwind
    )]
    pub fn by_file<'e>(&self, env: &'e Env, file: Unknown<'e>, options: Unknown<'e>) -> napi::Result<Promised<'e>> {
        self.by_value(env, Kinds::of(&[Kind::Observation, Kind::Summary]), "files", &options, |filters| {
            filters.files = Some(vec![Argument::new("file", &file).nonempty_text()?]);
            Ok(())
        })
    }

    /// Observations of one of some types: ranked by `rankBy` where it is given, else the newest first. `type` of the
    /// options has no place here.
    #[napi(
        ts_args_type = "type: string | string[], options?: ByValueOptions | null",
        ts_return_type = "Promise<SearchAnswer<ObservationRow>>",
        catch_unwind
    )]
    pub fn by_type<'e>(&self, env: &'e Env, kind: Unknown<'e>, options: Unknown<'e>) -> napi::Result<Promised<'e>> {
        self.by_value(env, Kinds::of(&[Kind::Observation]), "type", &options, |filters| {
            filters.kinds = Some(one_or_many(&Argument::new("type", &kind))?.unwrap_or_default());
            Ok(())
        })
    }
}

impl Search {
    pub(super) const fn new(memory: Arc<Memory>) -> Self {
        Self { memory }
    }

    fn text<'e>(
        &self,
        env: &'e Env,
        kinds: Kinds,
        query: &Unknown<'e>,
        options: &Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        self.find(env, kinds == Kinds::ALL, || {
            let text = Argument::new("query", query).text()?;
            let fields = Argument::new("options", options).options(&OPTIONS)?;
            Ok((Query::Text(fields.read("vector", Argument::floats)?), request(text, kinds, &fields)?))
        })
    }

    fn by_value<'e>(
        &self,
        env: &'e Env,
        kinds: Kinds,
        own: &'static str,
        options: &Unknown<'e>,
        narrow: impl FnOnce(&mut Filters) -> Result<()>,
    ) -> napi::Result<Promised<'e>> {
        self.find(env, kinds.has(Kind::Summary), || {
            let known: Vec<&str> = OPTIONS.into_iter().filter(|name| *name != own).chain(["rankBy"]).collect();
            let fields = Argument::new("options", options).options(&known)?;
            let rank_by = fields.read("rankBy", Argument::nonempty_text)?;
            let vector = fields.read("vector", Argument::floats)?;
            let query = if rank_by.is_some() { Query::Text(vector) } else { Query::Nothing };
            let mut request = request(rank_by.unwrap_or_default(), kinds, &fields)?;
            narrow(&mut request.filters)?;
            Ok((query, request))
        })
    }

    fn find<'e>(
        &self,
        env: &'e Env,
        kinds: bool,
        prepare: impl FnOnce() -> Result<(Query, Request)>,
    ) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            let (query, request) = prepare()?;
            let search = self.memory.search()?;
            Ok(move |reply: Reply<Page>| {
                let explain = request.explain;
                let reply = Reply::new(move |found: Result<service::Answer>| {
                    reply.settle(found.map(|answer| Page { answer, kinds, explain }));
                });
                search.find(query, request, reply);
            })
        })
    }
}

/// Checks [`RankedSearchOptions`], as far as `fields` may have them.
fn request(text: String, kinds: Kinds, fields: &Fields<'_>) -> Result<Request> {
    let orders = [("relevance", OrderBy::Relevance), ("date_desc", OrderBy::DateDesc), ("date_asc", OrderBy::DateAsc)];
    Ok(Request {
        text,
        kinds,
        mode: fields.read("mode", |mode| mode.one_of(&Mode::NAMES))?.unwrap_or(Mode::Hybrid),
        limit: fields.read("limit", |limit| limit.size(0..=MOST, "rows"))?.unwrap_or(LIMIT),
        offset: fields.read("offset", |offset| offset.size(0..=FARTHEST, "rows"))?.unwrap_or(0),
        order_by: fields.read("orderBy", |order| order.one_of(&orders))?.unwrap_or_default(),
        filters: filters_in(fields)?,
        explain: fields.read("explain", Argument::boolean)?.unwrap_or(false),
    })
}

/// An answer, and what of it is shown.
struct Page {
    answer: service::Answer,
    /// Whether each row says what it is.
    kinds: bool,
    explain: bool,
}

impl IntoAnswer for Page {
    fn into_answer(self) -> Answer {
        let Self { answer, kinds, explain } = self;
        let results = answer.results.into_iter().map(|found| row(found, kinds, explain)).collect();
        Answer::object(
            &["results", "total", "mode", "reason", "pendingDocuments"],
            [
                Answer::List(results),
                answer.total.into_answer(),
                answer.mode.map_or("list", Mode::name).into_answer(),
                answer.reason.into_answer(),
                answer.pending_documents.into_answer(),
            ],
        )
    }
}

/// A timeline, and whether its anchor is explained.
struct Around {
    surroundings: Surroundings,
    explain: bool,
}

impl IntoAnswer for Around {
    fn into_answer(self) -> Answer {
        let Surroundings { anchor, timeline } = self.surroundings;
        let found = anchor.results.into_iter().next().map(|found| row(found, false, self.explain));
        Answer::object(
            &["anchor", "timeline", "mode", "reason", "pendingDocuments"],
            [
                found.into_answer(),
                timeline.into_answer(),
                anchor.mode.map_or("list", Mode::name).into_answer(),
                anchor.reason.into_answer(),
                anchor.pending_documents.into_answer(),
            ],
        )
    }
}

/// A whole row, and what the search knows of it.
fn row(found: Found, kinds: bool, explain: bool) -> Answer {
    let Found { kind, row, hit, snippet } = found;
    let (kind, score) = (kind.name().into_answer(), hit.score.into_answer());
    let explanation = || Explanation { words: hit.words, meaning: hit.meaning, snippet: snippet.clone() }.into_answer();
    match (kinds, explain) {
        (false, false) => Answer::RowWith(row, &["score"], vec![score]),
        (true, false) => Answer::RowWith(row, &["kind", "score"], vec![kind, score]),
        (false, true) => Answer::RowWith(row, &["score", "explain"], vec![score, explanation()]),
        (true, true) => Answer::RowWith(row, &["kind", "score", "explain"], vec![kind, score, explanation()]),
    }
}

struct Explanation {
    words: Option<ByWords>,
    meaning: Option<ByMeaning>,
    snippet: Option<Snippet>,
}

impl IntoAnswer for Explanation {
    fn into_answer(self) -> Answer {
        let field = self.snippet.as_ref().map(|snippet| snippet.field);
        Answer::object(
            &["keyword", "semantic", "field", "snippet"],
            [self.words.into_answer(), self.meaning.into_answer(), field.into_answer(), self.snippet.into_answer()],
        )
    }
}

object_answer!(ByWords { rank: "rank", bm25: "bm25" });

impl IntoAnswer for ByMeaning {
    fn into_answer(self) -> Answer {
        Answer::object(
            &["rank", "distance", "documentId"],
            [
                self.rank.into_answer(),
                f64::from(self.distance).into_answer(),
                self.document.as_ref().map(DocumentId::to_string).into_answer(),
            ],
        )
    }
}

impl IntoAnswer for Snippet {
    fn into_answer(self) -> Answer {
        let pair = |(from, to): (usize, usize)| Answer::List(vec![from.into_answer(), to.into_answer()]);
        let highlights = self.highlights.into_iter().map(pair).collect();
        Answer::object(&["text", "highlights"], [self.text.into_answer(), Answer::List(highlights)])
    }
}
