//! One file a table or a concept: SQL and row types. Plain functions on a connection; no threads, and no
//! transactions: the writer thread has opened one around every function that writes, and may run it again.

pub mod observations;
pub mod response;
pub mod sessions;
pub mod summaries;

/// A prompt number as the tables hold it: 6.0.2 stores 0 and absent alike as NULL.
fn prompt_number(number: Option<i64>) -> Option<i64> {
    number.filter(|number| *number != 0)
}
