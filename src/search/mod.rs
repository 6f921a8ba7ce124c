//! Search in all that is remembered, by words and by meaning.
//!
//! A search asks two legs. The [`keyword`] leg finds rows that have any of the query's words, by bm25; the semantic leg
//! finds rows with a document whose vector is near the query's. Filters hold in both before they rank. The union of
//! both legs' candidates is [ranked](ranking) by the sum of both, with the exact cosine of every candidate, whichever
//! leg it came from.
//!
//! Everything here works on a connection to `native/index.db` and on the vectors in memory; [`service`] adds the threads,
//! the model, and [`rows`] of `claude-mem.db`.

mod in_hand;
mod keyword;
pub mod nearest;
mod occurrences;
mod postings;
pub mod query;
pub mod ranking;
mod remembered;
pub mod request;
pub mod rows;
mod scope;
mod semantic;
pub mod service;
#[cfg(test)]
mod service_tests;
pub mod snippet;
mod spelling;
mod stop_words;
#[cfg(test)]
mod tests;
