//! A batch in somebody's hands.

use std::{
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, Instant},
};

/// Where a batch is between its claim and its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// In the hands of a consumer.
    Leased,
    /// Its commit is on the way; it cannot expire.
    Committing,
    /// Its release is on the way.
    Releasing,
}

/// A batch that was handed out.
#[derive(Debug)]
pub struct Lease {
    /// The fencing token.
    pub token: i64,
    /// The consumer that claimed it.
    pub consumer: u64,
    pub claude_session_id: Box<str>,
    /// Its messages; dead-lettered ones are taken out.
    pub ids: Vec<i64>,
    pub last: i64,
    pub bytes: usize,
    /// The watermark at the claim: the commit advances it only from there.
    pub fence: i64,
    pub phase: Phase,
    pub deadline: Instant,
    /// By how much it extends itself while its handle is alive, whatever becomes of the consumer.
    pub extension: Option<Duration>,
    pub ends_batch: bool,
    /// It ran out, and its attempt was counted: a late commit that fails does not make it two.
    pub counted: bool,
    pub claimed: Instant,
    /// Set by the finalizer of a batch that nobody disposed.
    pub abandoned: Arc<AtomicBool>,
}
