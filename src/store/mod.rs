//! One file a table: SQL and row types. Plain functions on a connection; no threads.
