//! One file a table or a concept: SQL and row types. Plain functions on a connection; no threads, and no
//! transactions in what writes: the writer thread has opened one around it, and may run it again.

mod by_ids;
pub mod context;
pub mod date_range;
pub mod duplicates;
pub mod filters;
pub(crate) mod json_arrays;
mod newest;
pub mod observations;
pub mod opening;
pub mod order;
pub mod pages;
pub mod prompts;
#[cfg(test)]
mod reference;
pub mod removal;
pub mod response;
pub mod sessions;
pub(crate) mod snapshot;
pub mod stats;
pub mod summaries;
pub mod text_search;
pub mod timeline;

/// A prompt number as observations and summaries hold it: 6.0.2 stores 0 and absent alike as NULL.
fn prompt_number(number: Option<i64>) -> Option<i64> {
    number.filter(|number| *number != 0)
}
