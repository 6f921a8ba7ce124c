//! Table `sdk_sessions`.

use napi::{Env, Unknown};
use napi_derive::napi;

use super::{Prepared, Store, options};
use crate::{
    js::{answer::Answer, arguments::Argument, call::Promised},
    store::sessions::{self, Status},
};

#[napi]
impl Store {
    /// Creates the session, or finds it by its `claude_session_id`: an existing row is returned unchanged. A new
    /// one gets `sdk_session_id = claudeSessionId`, status `active` and prompt counter 0. Resolves to its id.
    #[napi(
        js_name = "createSDKSession",
        ts_args_type = "claudeSessionId: string, project: string, userPrompt: string | null, options?: RowOptions",
        ts_return_type = "Promise<number>",
        catch_unwind
    )]
    pub fn create_sdk_session<'e>(
        &self,
        env: &'e Env,
        claude_session_id: Unknown<'e>,
        project: Unknown<'e>,
        user_prompt: Unknown<'e>,
        options: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        let prepare = || {
            let id = options::nullable_text(Argument::new("claudeSessionId", &claude_session_id))?;
            let project = options::nullable_text(Argument::new("project", &project))?;
            let prompt = options::nullable_text(Argument::new("userPrompt", &user_prompt))?;
            let (epoch, deadline) = options::row(&Argument::new("options", &options))?;
            let bytes = prompt.as_ref().map_or(0, String::len);
            let run = move |db: &_| sessions::create(db, id.as_deref(), project.as_deref(), prompt.as_deref(), epoch);
            Ok(Prepared { run, bytes, deadline })
        };
        self.write(env, "createSDKSession", prepare, sessions::created)
    }

    /// Counts one more prompt of the session. Resolves to the new value; 1 where there is no such session.
    #[napi(ts_args_type = "id: number, options?: WriteOptions", ts_return_type = "Promise<number>", catch_unwind)]
    pub fn increment_prompt_counter<'e>(
        &self,
        env: &'e Env,
        id: Unknown<'e>,
        options: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        let prepare = || {
            let id = options::whole(&Argument::new("id", &id))?;
            let deadline = options::deadline(&Argument::new("options", &options))?;
            Ok(Prepared { run: move |db: &_| sessions::increment_prompt_counter(db, id), bytes: 0, deadline })
        };
        self.write(env, "incrementPromptCounter", prepare, Ok)
    }

    /// How many prompts of the session were counted; 0 where there is no such session.
    #[napi(ts_args_type = "id: number", ts_return_type = "Promise<number>", catch_unwind)]
    pub fn get_prompt_counter<'e>(&self, env: &'e Env, id: Unknown<'e>) -> napi::Result<Promised<'e>> {
        self.read(env, "getPromptCounter", || {
            let id = options::row_id(&Argument::new("id", &id))?;
            Ok(move |db: &_| id.map_or(Ok(0), |id| sessions::prompt_counter(db, id)))
        })
    }

    /// Sets the session's `sdk_session_id` where it is NULL. Resolves to whether it was.
    #[napi(
        js_name = "updateSDKSessionId",
        ts_args_type = "id: number, sdkSessionId: string, options?: WriteOptions",
        ts_return_type = "Promise<boolean>",
        catch_unwind
    )]
    pub fn update_sdk_session_id<'e>(
        &self,
        env: &'e Env,
        id: Unknown<'e>,
        sdk_session_id: Unknown<'e>,
        options: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        let prepare = || {
            let id = options::whole(&Argument::new("id", &id))?;
            let sdk_id = Argument::new("sdkSessionId", &sdk_session_id).text()?;
            let deadline = options::deadline(&Argument::new("options", &options))?;
            Ok(Prepared { run: move |db: &_| sessions::set_sdk_session_id(db, id, &sdk_id), bytes: 0, deadline })
        };
        self.write(env, "updateSDKSessionId", prepare, Ok)
    }

    /// Sets the port of the worker that serves the session, or none.
    #[napi(
        ts_args_type = "id: number, port: number | null, options?: WriteOptions",
        ts_return_type = "Promise<void>",
        catch_unwind
    )]
    pub fn set_worker_port<'e>(
        &self,
        env: &'e Env,
        id: Unknown<'e>,
        port: Unknown<'e>,
        options: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        let prepare = || {
            let id = options::whole(&Argument::new("id", &id))?;
            let port = Argument::new("port", &port).given().map(|port| port.integer(0..=65_535, "")).transpose()?;
            let deadline = options::deadline(&Argument::new("options", &options))?;
            Ok(Prepared { run: move |db: &_| sessions::set_worker_port(db, id, port), bytes: 0, deadline })
        };
        self.write(env, "setWorkerPort", prepare, Ok)
    }

    /// The port of the worker that serves the session; null where there is none, or no such session.
    #[napi(ts_args_type = "id: number", ts_return_type = "Promise<number | null>", catch_unwind)]
    pub fn get_worker_port<'e>(&self, env: &'e Env, id: Unknown<'e>) -> napi::Result<Promised<'e>> {
        self.read(env, "getWorkerPort", || {
            let id = options::row_id(&Argument::new("id", &id))?;
            Ok(move |db: &_| id.map_or(Ok(None), |id| sessions::worker_port(db, id)))
        })
    }

    /// Sets status `completed`, `completed_at` and `completed_at_epoch`.
    #[napi(ts_args_type = "id: number, options?: WriteOptions", ts_return_type = "Promise<void>", catch_unwind)]
    pub fn mark_session_completed<'e>(
        &self,
        env: &'e Env,
        id: Unknown<'e>,
        options: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        self.finish_session(env, "markSessionCompleted", Status::Completed, id, options)
    }

    /// Sets status `failed`, `completed_at` and `completed_at_epoch`.
    #[napi(ts_args_type = "id: number, options?: WriteOptions", ts_return_type = "Promise<void>", catch_unwind)]
    pub fn mark_session_failed<'e>(
        &self,
        env: &'e Env,
        id: Unknown<'e>,
        options: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        self.finish_session(env, "markSessionFailed", Status::Failed, id, options)
    }

    /// Makes the session active again with a new prompt and no worker port.
    #[napi(
        ts_args_type = "id: number, userPrompt: string | null, options?: WriteOptions",
        ts_return_type = "Promise<void>",
        catch_unwind
    )]
    pub fn reactivate_session<'e>(
        &self,
        env: &'e Env,
        id: Unknown<'e>,
        user_prompt: Unknown<'e>,
        options: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        let prepare = || {
            let id = options::whole(&Argument::new("id", &id))?;
            let prompt = options::nullable_text(Argument::new("userPrompt", &user_prompt))?;
            let deadline = options::deadline(&Argument::new("options", &options))?;
            let bytes = prompt.as_ref().map_or(0, String::len);
            Ok(Prepared { run: move |db: &_| sessions::reactivate(db, id, prompt.as_deref()), bytes, deadline })
        };
        self.write(env, "reactivateSession", prepare, Ok)
    }

    /// The session with this id, or null.
    #[napi(ts_args_type = "id: number", ts_return_type = "Promise<SessionRow | null>", catch_unwind)]
    pub fn get_session_by_id<'e>(&self, env: &'e Env, id: Unknown<'e>) -> napi::Result<Promised<'e>> {
        self.read(env, "getSessionById", || {
            let id = options::row_id(&Argument::new("id", &id))?;
            Ok(move |db: &_| id.map_or(Ok(Answer::Null), |id| sessions::by_id(db, id).map(Answer::Row)))
        })
    }

    /// The session, while its status is `active`; else null.
    #[napi(
        js_name = "findActiveSDKSession",
        ts_args_type = "claudeSessionId: string",
        ts_return_type = "Promise<ActiveSessionRow | null>",
        catch_unwind
    )]
    pub fn find_active_sdk_session<'e>(
        &self,
        env: &'e Env,
        claude_session_id: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        self.read(env, "findActiveSDKSession", || {
            let id = Argument::new("claudeSessionId", &claude_session_id).text()?;
            Ok(move |db: &_| sessions::find_active(db, &id).map(Answer::Row))
        })
    }

    /// The session's id, whatever its status, or null.
    #[napi(
        js_name = "findAnySDKSession",
        ts_args_type = "claudeSessionId: string",
        ts_return_type = "Promise<{ id: number } | null>",
        catch_unwind
    )]
    pub fn find_any_sdk_session<'e>(&self, env: &'e Env, claude_session_id: Unknown<'e>) -> napi::Result<Promised<'e>> {
        self.read(env, "findAnySDKSession", || {
            let id = Argument::new("claudeSessionId", &claude_session_id).text()?;
            Ok(move |db: &_| sessions::find_any(db, &id).map(Answer::Row))
        })
    }

    /// The project's newest sessions that have an `sdk_session_id`, the oldest of them first; 3 at most where `limit`
    /// is absent.
    #[napi(
        ts_args_type = "project: string, limit?: number",
        ts_return_type = "Promise<SessionStatusRow[]>",
        catch_unwind
    )]
    pub fn get_recent_sessions_with_status<'e>(
        &self,
        env: &'e Env,
        project: Unknown<'e>,
        limit: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        self.read(env, "getRecentSessionsWithStatus", || {
            let project = Argument::new("project", &project).text()?;
            let limit = options::count_or(Argument::new("limit", &limit), 3)?;
            Ok(move |db: &_| sessions::recent_with_status(db, &project, limit))
        })
    }

    /// The names of all projects, in order; sessions without one do not count.
    #[napi(ts_return_type = "Promise<string[]>", catch_unwind)]
    pub fn get_all_projects<'e>(&self, env: &'e Env) -> napi::Result<Promised<'e>> {
        self.read(env, "getAllProjects", || Ok(sessions::projects))
    }
}

impl Store {
    fn finish_session<'e>(
        &self,
        env: &'e Env,
        name: &'static str,
        status: Status,
        id: Unknown<'e>,
        options: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        let prepare = || {
            let id = options::whole(&Argument::new("id", &id))?;
            let deadline = options::deadline(&Argument::new("options", &options))?;
            Ok(Prepared { run: move |db: &_| sessions::finish(db, id, status), bytes: 0, deadline })
        };
        self.write(env, name, prepare, Ok)
    }
}
