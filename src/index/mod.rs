//! The vector side. So far only the reader of a Chroma directory, from which existing vectors are taken over.

pub mod chroma;
