//! What a session begins with, what the store holds in all, and what it holds twice.

use napi::{Env, Unknown};
use napi_derive::napi;

use super::{Store, options};
use crate::{
    db::schema::report::{self, SchemaReport},
    js::{answer::object_answer, arguments::Argument, call::Promised},
    store::{
        context::{self, Context},
        duplicates::{self, Duplicates},
        stats::{self, Stats},
    },
};

object_answer!(Context { observations: "observations", summaries: "summaries" });
object_answer!(Duplicates { observations: "observations", summaries: "summaries" });
object_answer!(Stats {
    observations: "observations",
    sessions: "sessions",
    summaries: "summaries",
    prompts: "prompts",
    path: "path",
    size: "size",
});

object_answer!(SchemaReport {
    step: "step",
    missing_step: "missingStep",
    recorded: "recorded",
    native_format: "nativeFormat",
});

#[napi]
impl Store {
    /// How far the schema is: what the tables are, beside what the ledger says of them.
    #[napi(ts_return_type = "Promise<SchemaStatus>", catch_unwind)]
    pub fn get_schema<'e>(&self, env: &'e Env) -> napi::Result<Promised<'e>> {
        self.read(env, "getSchema", || Ok(report::report))
    }

    /// What a session begins with: the project's newest observations and summaries, whole rows, newest first.
    #[napi(
        ts_args_type = "project: string, options?: ContextOptions",
        ts_return_type = "Promise<{ observations: ObservationRow[]; summaries: SummaryRow[] }>",
        catch_unwind
    )]
    pub fn get_context<'e>(
        &self,
        env: &'e Env,
        project: Unknown<'e>,
        options: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        self.read(env, "getContext", || {
            let project = Argument::new("project", &project).text()?;
            let fields = Argument::new("options", &options).options(&["observations", "summaries"])?;
            let observations = fields.read("observations", options::count)?.unwrap_or(50);
            let summaries = fields.read("summaries", options::count)?.unwrap_or(11);
            Ok(move |db: &_| context::read(db, &project, observations, summaries))
        })
    }

    /// How many rows there are of each kind, and the path and size of the file.
    #[napi(ts_return_type = "Promise<StoreStats>", catch_unwind)]
    pub fn get_stats<'e>(&self, env: &'e Env) -> napi::Result<Promised<'e>> {
        self.read(env, "getStats", || Ok(stats::read))
    }

    /// Rows that say the same in the same session: a group of ids each, lowest first. They differ in nothing but
    /// prompt number and time. Reads the whole tables: some 100 ms at 100,000 rows, on a reader thread.
    #[napi(ts_return_type = "Promise<{ observations: number[][]; summaries: number[][] }>", catch_unwind)]
    pub fn find_duplicates<'e>(&self, env: &'e Env) -> napi::Result<Promised<'e>> {
        self.read(env, "findDuplicates", || Ok(duplicates::find))
    }
}
