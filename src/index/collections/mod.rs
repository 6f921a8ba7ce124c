//! The caller's own documents, in `native/collections.db`: for workers whose tables the engine does not know.

pub mod blob;
pub mod documents;
pub mod format;
pub mod reading;
pub mod scan;
pub mod storage;
pub mod where_filter;
