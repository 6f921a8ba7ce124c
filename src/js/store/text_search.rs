//! Full-text search in the tables that the hooks keep, and lists by concept, type and file.

use napi::{Env, Unknown};
use napi_derive::napi;
use rusqlite::Connection;

use super::{Store, options};
use crate::{
    db::Rows,
    error::Result,
    js::{answer::object_answer, arguments::Argument, call::Promised},
    store::{
        filters::SearchOptions,
        text_search::{self, ByFile},
    },
};

object_answer!(ByFile { observations: "observations", sessions: "sessions" });

type Search = fn(&Connection, &str, &SearchOptions) -> Result<Rows>;

#[napi]
impl Store {
    /// Observations that contain the query as a phrase, with `rank` and `score`.
    #[napi(
        ts_args_type = "query: string, options?: SearchOptions",
        ts_return_type = "Promise<ObservationHit[]>",
        catch_unwind
    )]
    pub fn search_observations<'e>(
        &self,
        env: &'e Env,
        query: Unknown<'e>,
        options: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        self.search(env, "searchObservations", "query", text_search::observations, query, options)
    }

    /// Session summaries that contain the query as a phrase, with `rank` and `score`.
    #[napi(
        ts_args_type = "query: string, options?: SearchOptions",
        ts_return_type = "Promise<SummaryHit[]>",
        catch_unwind
    )]
    pub fn search_sessions<'e>(
        &self,
        env: &'e Env,
        query: Unknown<'e>,
        options: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        self.search(env, "searchSessions", "query", text_search::summaries, query, options)
    }

    /// Prompts that contain the query as a phrase, with `rank` and `score`; 20 at most where `limit` is absent.
    #[napi(
        ts_args_type = "query: string, options?: SearchOptions",
        ts_return_type = "Promise<PromptHit[]>",
        catch_unwind
    )]
    pub fn search_user_prompts<'e>(
        &self,
        env: &'e Env,
        query: Unknown<'e>,
        options: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        self.search(env, "searchUserPrompts", "query", text_search::prompts, query, options)
    }

    /// Observations with a concept, newest first. An empty concept without another filter is `ERR_INVALID_ARG`.
    #[napi(
        ts_args_type = "concept: string, options?: SearchOptions",
        ts_return_type = "Promise<ObservationRow[]>",
        catch_unwind
    )]
    pub fn find_by_concept<'e>(
        &self,
        env: &'e Env,
        concept: Unknown<'e>,
        options: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        self.search(env, "findByConcept", "concept", text_search::by_concept, concept, options)
    }

    /// Observations of one of some types, newest first. An empty type without another filter is
    /// `ERR_INVALID_ARG`; an empty list finds nothing.
    #[napi(
        ts_args_type = "type: string | string[], options?: SearchOptions",
        ts_return_type = "Promise<ObservationRow[]>",
        catch_unwind
    )]
    pub fn find_by_type<'e>(
        &self,
        env: &'e Env,
        kind: Unknown<'e>,
        options: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        self.read(env, "findByType", || {
            let kinds = options::one_or_many(&Argument::new("type", &kind))?;
            let options = options::search(&Argument::new("options", &options))?;
            Ok(move |db: &_| text_search::by_type(db, kinds, &options))
        })
    }

    /// Observations and session summaries with a path that contains `file` (as in SQL's LIKE), newest first;
    /// limit and offset hold for each kind, `orderBy` for observations only.
    #[napi(
        ts_args_type = "file: string, options?: SearchOptions",
        ts_return_type = "Promise<{ observations: ObservationRow[]; sessions: SummaryRow[] }>",
        catch_unwind
    )]
    pub fn find_by_file<'e>(
        &self,
        env: &'e Env,
        file: Unknown<'e>,
        options: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        self.read(env, "findByFile", || {
            let file = Argument::new("file", &file).text()?;
            let options = options::search(&Argument::new("options", &options))?;
            Ok(move |db: &_| text_search::by_file(db, &file, &options))
        })
    }
}

impl Store {
    fn search<'e>(
        &self,
        env: &'e Env,
        name: &'static str,
        what: &'static str,
        search: Search,
        query: Unknown<'e>,
        options: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        self.read(env, name, || {
            let query = Argument::new(what, &query).text()?;
            let options = options::search(&Argument::new("options", &options))?;
            Ok(move |db: &_| search(db, &query, &options))
        })
    }
}
