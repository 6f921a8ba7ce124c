//! Class `Pages`: the viewer's lists.

use std::sync::Arc;

use napi::{Env, Unknown};
use napi_derive::napi;
use rusqlite::Connection;

use super::{
    answer::object_answer,
    arguments::{Argument, MAX_SAFE_INTEGER},
    call::Promised,
    store::{
        read,
        rows::{observations::ObservationItem, prompts::ListedPromptRow, summaries::SummaryItem},
    },
};
use crate::{
    error::Result,
    memory::Memory,
    store::pages::{self, Page},
};

object_answer!(Page { items: "items", has_more: "hasMore", offset: "offset", limit: "limit" });

/// A page of observations.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct ObservationPage {
    /// The rows, newest first.
    pub items: Vec<ObservationItem>,
    /// Whether a row lies behind them.
    pub has_more: bool,
    /// As it was asked for.
    pub offset: i64,
    /// As it was asked for.
    pub limit: i64,
}

/// A page of session summaries.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct SummaryPage {
    /// The rows, newest first.
    pub items: Vec<SummaryItem>,
    /// Whether a row lies behind them.
    pub has_more: bool,
    /// As it was asked for.
    pub offset: i64,
    /// As it was asked for.
    pub limit: i64,
}

/// A page of prompts.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct PromptPage {
    /// The rows, newest first.
    pub items: Vec<ListedPromptRow>,
    /// Whether a row lies behind them.
    pub has_more: bool,
    /// As it was asked for.
    pub offset: i64,
    /// As it was asked for.
    pub limit: i64,
}

/// Lists page by page, newest first. `hasMore` says whether a row lies behind the page; without a project, or with
/// an empty one, rows of all projects are listed. Rejects with `ERR_NOT_OPEN` where the memory was opened without the
/// part `'store'`.
#[napi]
#[derive(Debug)]
pub struct Pages {
    memory: Arc<Memory>,
}

#[napi]
impl Pages {
    /// Observations; each path in `files_read` and `files_modified` loses everything up to and including the
    /// first `/<project>/`.
    #[napi(
        ts_args_type = "offset: number, limit: number, project?: string | null",
        ts_return_type = "Promise<ObservationPage>",
        catch_unwind
    )]
    pub fn get_observations<'e>(
        &self,
        env: &'e Env,
        offset: Unknown<'e>,
        limit: Unknown<'e>,
        project: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        self.page(env, "pages.getObservations", pages::observations, &offset, &limit, &project)
    }

    /// Session summaries; `session_id` is the session's `claude_session_id`.
    #[napi(
        ts_args_type = "offset: number, limit: number, project?: string | null",
        ts_return_type = "Promise<SummaryPage>",
        catch_unwind
    )]
    pub fn get_summaries<'e>(
        &self,
        env: &'e Env,
        offset: Unknown<'e>,
        limit: Unknown<'e>,
        project: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        self.page(env, "pages.getSummaries", pages::summaries, &offset, &limit, &project)
    }

    /// Prompts, with the project of their session.
    #[napi(
        ts_args_type = "offset: number, limit: number, project?: string | null",
        ts_return_type = "Promise<PromptPage>",
        catch_unwind
    )]
    pub fn get_prompts<'e>(
        &self,
        env: &'e Env,
        offset: Unknown<'e>,
        limit: Unknown<'e>,
        project: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        self.page(env, "pages.getPrompts", pages::prompts, &offset, &limit, &project)
    }
}

type List = fn(&Connection, i64, i64, Option<&str>) -> Result<Page>;

impl Pages {
    pub(super) const fn new(memory: Arc<Memory>) -> Self {
        Self { memory }
    }

    fn page<'e>(
        &self,
        env: &'e Env,
        name: &'static str,
        list: List,
        offset: &Unknown<'e>,
        limit: &Unknown<'e>,
        project: &Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        read(&self.memory, env, name, || {
            let offset = Argument::new("offset", offset).integer(-MAX_SAFE_INTEGER..=MAX_SAFE_INTEGER, "")?;
            let limit = Argument::new("limit", limit).integer(0..=MAX_SAFE_INTEGER, "")?;
            let project = Argument::new("project", project).given().map(|project| project.text()).transpose()?;
            Ok(move |db: &Connection| list(db, offset, limit, project.as_deref()))
        })
    }
}
