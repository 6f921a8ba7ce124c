//! The vector side: documents made of the tables, their vectors and text indexes, all derived and kept in
//! `native/index.db`; and the reader of a Chroma directory, from which existing vectors are taken over.

pub mod chroma;
pub mod document;
pub mod schema;
pub mod takeover;
pub mod text;
pub mod vectors;
