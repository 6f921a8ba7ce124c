//! Table `session_summaries`.

use napi::{Env, Unknown};
use napi_derive::napi;

use super::{Prepared, Store, options, response};
use crate::{
    js::{answer::Answer, arguments::Argument, call::Promised},
    store::summaries,
};

#[napi]
impl Store {
    /// Stores a summary; the session is created or found as in `storeObservation`.
    #[napi(
        ts_args_type = "sdkSessionId: string, project: string, summary: SummaryInput, promptNumber?: number | null, options?: RowOptions",
        ts_return_type = "Promise<StoredRow>",
        catch_unwind
    )]
    pub fn store_summary<'e>(
        &self,
        env: &'e Env,
        sdk_session_id: Unknown<'e>,
        project: Unknown<'e>,
        summary: Unknown<'e>,
        prompt_number: Unknown<'e>,
        options: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        let prepare = || {
            let id = Argument::new("sdkSessionId", &sdk_session_id).text()?;
            let project = options::nullable_text(Argument::new("project", &project))?;
            let mut row = response::summary(&Argument::new("summary", &summary))?;
            if let Some(number) = Argument::new("promptNumber", &prompt_number).given() {
                row.prompt_number = Some(options::whole(&number)?);
            }
            let (epoch, deadline) = options::row(&Argument::new("options", &options))?;
            row.created_at_epoch = epoch.or(row.created_at_epoch);
            let bytes = row.bytes();
            Ok(Prepared { run: move |db: &_| summaries::store(db, &id, project.as_deref(), &row), bytes, deadline })
        };
        self.write(env, "storeSummary", prepare, Ok)
    }

    /// Summaries by time; ids that no row has are left out.
    #[napi(
        ts_args_type = "ids: number[], options?: ByIdsOptions",
        ts_return_type = "Promise<SummaryRow[]>",
        catch_unwind
    )]
    pub fn get_session_summaries_by_ids<'e>(
        &self,
        env: &'e Env,
        ids: Unknown<'e>,
        options: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        self.read(env, "getSessionSummariesByIds", || {
            let (ids, order, limit) =
                options::by_ids(&Argument::new("ids", &ids), &Argument::new("options", &options))?;
            Ok(move |db: &_| summaries::by_ids(db, &ids, order, limit))
        })
    }

    /// The project's newest summaries, newest first; 10 at most where `limit` is absent.
    #[napi(
        ts_args_type = "project: string, limit?: number",
        ts_return_type = "Promise<RecentSummaryRow[]>",
        catch_unwind
    )]
    pub fn get_recent_summaries<'e>(
        &self,
        env: &'e Env,
        project: Unknown<'e>,
        limit: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        self.read(env, "getRecentSummaries", || {
            let project = Argument::new("project", &project).text()?;
            let limit = options::count_or(Argument::new("limit", &limit), 10)?;
            Ok(move |db: &_| summaries::recent(db, &project, limit))
        })
    }

    /// The project's newest summaries with the session that each belongs to, newest first; 3 at most where `limit` is
    /// absent.
    #[napi(
        ts_args_type = "project: string, limit?: number",
        ts_return_type = "Promise<SessionInfoSummaryRow[]>",
        catch_unwind
    )]
    pub fn get_recent_summaries_with_session_info<'e>(
        &self,
        env: &'e Env,
        project: Unknown<'e>,
        limit: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        self.read(env, "getRecentSummariesWithSessionInfo", || {
            let project = Argument::new("project", &project).text()?;
            let limit = options::count_or(Argument::new("limit", &limit), 3)?;
            Ok(move |db: &_| summaries::recent_with_session_info(db, &project, limit))
        })
    }

    /// The newest summaries of all projects, newest first; 50 at most where `limit` is absent.
    #[napi(ts_args_type = "limit?: number", ts_return_type = "Promise<ListedSummaryRow[]>", catch_unwind)]
    pub fn get_all_recent_summaries<'e>(&self, env: &'e Env, limit: Unknown<'e>) -> napi::Result<Promised<'e>> {
        self.read(env, "getAllRecentSummaries", || {
            let limit = options::count_or(Argument::new("limit", &limit), 50)?;
            Ok(move |db: &_| summaries::all_recent(db, limit))
        })
    }

    /// The session's newest summary, or null.
    #[napi(ts_args_type = "sdkSessionId: string", ts_return_type = "Promise<RecentSummaryRow | null>", catch_unwind)]
    pub fn get_summary_for_session<'e>(&self, env: &'e Env, sdk_session_id: Unknown<'e>) -> napi::Result<Promised<'e>> {
        self.read(env, "getSummaryForSession", || {
            let id = Argument::new("sdkSessionId", &sdk_session_id).text()?;
            Ok(move |db: &_| summaries::of_session(db, &id).map(Answer::Row))
        })
    }
}
