//! The active-session registry with its TTL and cap.
