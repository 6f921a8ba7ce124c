//! The N-API surface: one file a class; argument checks, rows to objects; no SQL, no threads.
