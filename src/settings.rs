//! The options of `openMemory`, with defaults, units and bounds.
