//! Table `user_prompts`, and what hooks do at a prompt.

use napi::{Env, Unknown};
use napi_derive::napi;

use super::{Prepared, Store, options};
use crate::{
    js::{
        answer::{Answer, object_answer},
        arguments::Argument,
        call::Promised,
    },
    store::prompts::{self, BegunPrompt, TouchedSession},
};

object_answer!(BegunPrompt { session_db_id: "sessionDbId", prompt_number: "promptNumber", prompt_id: "promptId" });
object_answer!(TouchedSession { session_db_id: "sessionDbId", prompt_number: "promptNumber" });

#[napi]
impl Store {
    /// Stores a prompt of a session. Resolves to its id; rejects with `ERR_CONSTRAINT` where the session is
    /// unknown.
    #[napi(
        ts_args_type = "claudeSessionId: string, promptNumber: number, promptText: string, options?: RowOptions",
        ts_return_type = "Promise<number>",
        catch_unwind
    )]
    pub fn save_user_prompt<'e>(
        &self,
        env: &'e Env,
        claude_session_id: Unknown<'e>,
        prompt_number: Unknown<'e>,
        prompt_text: Unknown<'e>,
        options: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        let prepare = || {
            let id = Argument::new("claudeSessionId", &claude_session_id).text()?;
            let number =
                Argument::new("promptNumber", &prompt_number).given().as_ref().map(options::whole).transpose()?;
            let text = options::nullable_text(Argument::new("promptText", &prompt_text))?;
            let (epoch, deadline) = options::row(&Argument::new("options", &options))?;
            let bytes = text.as_ref().map_or(0, String::len);
            Ok(Prepared { run: move |db: &_| prompts::save(db, &id, number, text.as_deref(), epoch), bytes, deadline })
        };
        self.write(env, "saveUserPrompt", prepare, Ok)
    }

    /// What a prompt's hook does, in one transaction: creates or finds the session, counts the prompt, stores it.
    #[napi(
        ts_args_type = "claudeSessionId: string, project: string, prompt: string, options?: RowOptions",
        ts_return_type = "Promise<{ sessionDbId: number; promptNumber: number; promptId: number }>",
        catch_unwind
    )]
    pub fn begin_prompt<'e>(
        &self,
        env: &'e Env,
        claude_session_id: Unknown<'e>,
        project: Unknown<'e>,
        prompt: Unknown<'e>,
        options: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        let prepare = || {
            let id = Argument::new("claudeSessionId", &claude_session_id).text()?;
            let project = Argument::new("project", &project).text()?;
            let prompt = Argument::new("prompt", &prompt).text()?;
            let (epoch, deadline) = options::row(&Argument::new("options", &options))?;
            let bytes = 2 * prompt.len();
            Ok(Prepared { run: move |db: &_| prompts::begin(db, &id, &project, &prompt, epoch), bytes, deadline })
        };
        self.write(env, "beginPrompt", prepare, Ok)
    }

    /// What the hooks of tool calls and summaries do, in one transaction: finds the session, or creates it with
    /// project '' and prompt '', and reads its prompt counter.
    #[napi(
        ts_args_type = "claudeSessionId: string, options?: WriteOptions",
        ts_return_type = "Promise<{ sessionDbId: number; promptNumber: number }>",
        catch_unwind
    )]
    pub fn touch_session<'e>(
        &self,
        env: &'e Env,
        claude_session_id: Unknown<'e>,
        options: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        let prepare = || {
            let id = Argument::new("claudeSessionId", &claude_session_id).text()?;
            let deadline = options::deadline(&Argument::new("options", &options))?;
            Ok(Prepared { run: move |db: &_| prompts::touch_session(db, &id), bytes: 0, deadline })
        };
        self.write(env, "touchSession", prepare, Ok)
    }

    /// The newest prompts of all projects, newest first; 100 at most where `limit` is absent.
    #[napi(ts_args_type = "limit?: number", ts_return_type = "Promise<ListedPromptRow[]>", catch_unwind)]
    pub fn get_all_recent_user_prompts<'e>(&self, env: &'e Env, limit: Unknown<'e>) -> napi::Result<Promised<'e>> {
        self.read(env, "getAllRecentUserPrompts", || {
            let limit = options::count_or(Argument::new("limit", &limit), 100)?;
            Ok(move |db: &_| prompts::all_recent(db, limit))
        })
    }

    /// Prompts with `project` and `sdk_session_id` of their session, by time; ids that no row has are left out.
    #[napi(
        ts_args_type = "ids: number[], options?: ByIdsOptions",
        ts_return_type = "Promise<SessionPromptRow[]>",
        catch_unwind
    )]
    pub fn get_user_prompts_by_ids<'e>(
        &self,
        env: &'e Env,
        ids: Unknown<'e>,
        options: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        self.read(env, "getUserPromptsByIds", || {
            let (ids, order, limit) =
                options::by_ids(&Argument::new("ids", &ids), &Argument::new("options", &options))?;
            Ok(move |db: &_| prompts::by_ids(db, &ids, order, limit))
        })
    }

    /// The prompts of a session, by their numbers.
    #[napi(ts_args_type = "claudeSessionId: string", ts_return_type = "Promise<PromptRow[]>", catch_unwind)]
    pub fn get_user_prompts_by_session<'e>(
        &self,
        env: &'e Env,
        claude_session_id: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        self.read(env, "getUserPromptsBySession", || {
            let id = Argument::new("claudeSessionId", &claude_session_id).text()?;
            Ok(move |db: &_| prompts::of_session(db, &id))
        })
    }

    /// The newest prompt of a session, with `sdk_session_id` and `project` of the session, or null.
    #[napi(ts_args_type = "claudeSessionId: string", ts_return_type = "Promise<SessionPromptRow | null>", catch_unwind)]
    pub fn get_latest_user_prompt<'e>(
        &self,
        env: &'e Env,
        claude_session_id: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        self.read(env, "getLatestUserPrompt", || {
            let id = Argument::new("claudeSessionId", &claude_session_id).text()?;
            Ok(move |db: &_| prompts::latest(db, &id).map(Answer::Row))
        })
    }
}
