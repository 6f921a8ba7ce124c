//! Table `observations`.

use napi::{Env, Unknown};
use napi_derive::napi;

use super::{Prepared, Store, options, response};
use crate::{
    js::{
        answer::{Answer, object_answer},
        arguments::Argument,
        call::Promised,
    },
    store::observations::{self, SessionFiles},
};

object_answer!(SessionFiles { files_read: "filesRead", files_modified: "filesModified" });

#[napi]
impl Store {
    /// Stores an observation; the session is created where neither of its ids is `sdkSessionId`. A session that
    /// has it as `claude_session_id` only is used, and gets it as `sdk_session_id` where that is NULL. Rejects
    /// with `ERR_CONSTRAINT` for an unknown type.
    #[napi(
        ts_args_type = "sdkSessionId: string, project: string, observation: ObservationInput, promptNumber?: number | null, options?: RowOptions",
        ts_return_type = "Promise<StoredRow>",
        catch_unwind
    )]
    pub fn store_observation<'e>(
        &self,
        env: &'e Env,
        sdk_session_id: Unknown<'e>,
        project: Unknown<'e>,
        observation: Unknown<'e>,
        prompt_number: Unknown<'e>,
        options: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        let prepare = || {
            let id = Argument::new("sdkSessionId", &sdk_session_id).text()?;
            let project = options::nullable_text(Argument::new("project", &project))?;
            let mut row = response::observation(&Argument::new("observation", &observation))?;
            if let Some(number) = Argument::new("promptNumber", &prompt_number).given() {
                row.prompt_number = Some(options::whole(&number)?);
            }
            let (epoch, deadline) = options::row(&Argument::new("options", &options))?;
            row.created_at_epoch = epoch.or(row.created_at_epoch);
            let bytes = row.bytes();
            Ok(Prepared { run: move |db: &_| observations::store(db, &id, project.as_deref(), &row), bytes, deadline })
        };
        self.write(env, "storeObservation", prepare, Ok)
    }

    /// The observation with this id, or null.
    #[napi(ts_args_type = "id: number", ts_return_type = "Promise<ObservationRow | null>", catch_unwind)]
    pub fn get_observation_by_id<'e>(&self, env: &'e Env, id: Unknown<'e>) -> napi::Result<Promised<'e>> {
        self.read(env, "getObservationById", || {
            let id = options::row_id(&Argument::new("id", &id))?;
            Ok(move |db: &_| id.map_or(Ok(Answer::Null), |id| observations::by_id(db, id).map(Answer::Row)))
        })
    }

    /// Observations by time; ids that no row has are left out.
    #[napi(
        ts_args_type = "ids: number[], options?: ByIdsOptions",
        ts_return_type = "Promise<ObservationRow[]>",
        catch_unwind
    )]
    pub fn get_observations_by_ids<'e>(
        &self,
        env: &'e Env,
        ids: Unknown<'e>,
        options: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        self.read(env, "getObservationsByIds", || {
            let (ids, order, limit) =
                options::by_ids(&Argument::new("ids", &ids), &Argument::new("options", &options))?;
            Ok(move |db: &_| observations::by_ids(db, &ids, order, limit))
        })
    }

    /// The project's newest observations, newest first; 20 at most where `limit` is absent.
    #[napi(
        ts_args_type = "project: string, limit?: number",
        ts_return_type = "Promise<RecentObservationRow[]>",
        catch_unwind
    )]
    pub fn get_recent_observations<'e>(
        &self,
        env: &'e Env,
        project: Unknown<'e>,
        limit: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        self.read(env, "getRecentObservations", || {
            let project = Argument::new("project", &project).text()?;
            let limit = options::count_or(Argument::new("limit", &limit), 20)?;
            Ok(move |db: &_| observations::recent(db, &project, limit))
        })
    }

    /// The newest observations of all projects, newest first; 100 at most where `limit` is absent.
    #[napi(ts_args_type = "limit?: number", ts_return_type = "Promise<ListedObservationRow[]>", catch_unwind)]
    pub fn get_all_recent_observations<'e>(&self, env: &'e Env, limit: Unknown<'e>) -> napi::Result<Promised<'e>> {
        self.read(env, "getAllRecentObservations", || {
            let limit = options::count_or(Argument::new("limit", &limit), 100)?;
            Ok(move |db: &_| observations::all_recent(db, limit))
        })
    }

    /// The observations of a session, oldest first.
    #[napi(ts_args_type = "sdkSessionId: string", ts_return_type = "Promise<SessionObservationRow[]>", catch_unwind)]
    pub fn get_observations_for_session<'e>(
        &self,
        env: &'e Env,
        sdk_session_id: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        self.read(env, "getObservationsForSession", || {
            let id = Argument::new("sdkSessionId", &sdk_session_id).text()?;
            Ok(move |db: &_| observations::of_session(db, &id))
        })
    }

    /// The paths that a session's observations name, each once.
    #[napi(
        ts_args_type = "sdkSessionId: string",
        ts_return_type = "Promise<{ filesRead: string[]; filesModified: string[] }>",
        catch_unwind
    )]
    pub fn get_files_for_session<'e>(&self, env: &'e Env, sdk_session_id: Unknown<'e>) -> napi::Result<Promised<'e>> {
        self.read(env, "getFilesForSession", || {
            let id = Argument::new("sdkSessionId", &sdk_session_id).text()?;
            Ok(move |db: &_| observations::files_of_session(db, &id))
        })
    }
}
