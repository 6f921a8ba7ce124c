//! The schema of `claude-mem.db` at claude-mem 6.0.2: creating it, bringing older files to it, refusing newer ones.
