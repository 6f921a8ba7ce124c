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
