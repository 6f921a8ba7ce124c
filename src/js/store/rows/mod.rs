//! What rows look like in TypeScript. The objects themselves are built from the column names of their statement;
//! these types stand in index.d.ts only.

pub mod observations;
pub mod prompts;
pub mod sessions;
pub mod summaries;

use napi_derive::napi;

use {observations::ObservationRow, prompts::TimelinePromptRow, summaries::TimelineSummaryRow};

/// The rows inside a window of time, each kind oldest first.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct Timeline {
    /// Observations.
    pub observations: Vec<ObservationRow>,
    /// Session summaries.
    pub sessions: Vec<TimelineSummaryRow>,
    /// Prompts.
    pub prompts: Vec<TimelinePromptRow>,
}

/// How many rows there are of each kind, and the file.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct StoreStats {
    /// Rows of `observations`.
    pub observations: i64,
    /// Rows of `sdk_sessions`.
    pub sessions: i64,
    /// Rows of `session_summaries`.
    pub summaries: i64,
    /// Rows of `user_prompts`.
    pub prompts: i64,
    /// `claude-mem.db`.
    pub path: String,
    /// Its size, bytes; without the write-ahead log.
    pub size: i64,
}

/// How far the schema of `claude-mem.db` is.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct SchemaStatus {
    /// The last step of claude-mem 6.0.2's ledger up to which the file has all (4 to 10), whatever is recorded; 0 where
    /// it has no tables.
    pub step: f64,
    /// The first step whose work is not there; null where all are.
    pub missing_step: Option<f64>,
    /// The steps that `schema_versions` records, those of later claude-mem versions (11, 16, …) included.
    pub recorded: Vec<f64>,
    /// The format of the engine's own tables; null where no owner has opened the file yet.
    pub native_format: Option<f64>,
}
