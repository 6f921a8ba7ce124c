//! The vector side: documents made of the tables, their vectors and text indexes, all derived and kept in
//! `native/index.db`; the caller's own documents ([`collections`]); and the reader of a Chroma directory, from which
//! existing vectors are taken over.

pub mod chroma;
pub mod collections;
pub mod document;
pub mod schema;
pub mod text;
pub mod vectors;
