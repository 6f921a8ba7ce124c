//! What the queue tells health.

use super::{metrics::Metrics, state::State};

/// Queue figures, of one session or in all.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Figures {
    /// Messages waiting or leased.
    pub depth: usize,
    /// Their bytes.
    pub bytes: usize,
    /// When the oldest came, epoch ms.
    pub oldest_epoch: Option<i64>,
    /// Messages leased.
    pub in_flight: usize,
    /// Counted attempts of the heads, summed.
    pub attempts: u64,
    /// Dead letters.
    pub dead: usize,
    /// Sessions with messages.
    pub sessions: usize,
    /// Live consumers.
    pub consumers: usize,
    /// Batches in somebody's hands.
    pub batches: usize,
    /// Live `ready()` iterators.
    pub ready: usize,
    /// Paused sessions; with everything paused, all that have messages.
    pub paused: usize,
    /// Messages enqueued within the last minute.
    pub enqueued_per_minute: u64,
    /// Messages acknowledged within the last minute.
    pub committed_per_minute: u64,
    /// Enqueue to claim, median and p99, ms.
    pub wait_ms: Option<(f64, f64)>,
    /// Claim to commit, median and p99, ms.
    pub lease_ms: Option<(f64, f64)>,
    /// Acknowledged messages that still lie in `queue.db`.
    pub unpurged: usize,
    /// Their bytes.
    pub unpurged_bytes: usize,
    /// Dedupe keys forgotten before their age.
    pub dedupe_evicted: u64,
    /// Dead letters dropped for age or number since open.
    pub dead_evicted: u64,
    /// Turns of the clock that panicked; it went on.
    pub clock_failures: u64,
    /// Bytes of the bookkeeping itself.
    pub native_bytes: usize,
}

impl Figures {
    pub(super) fn new(state: &State, only: Option<i64>) -> Self {
        let Metrics { enqueued, committed, wait_ms, lease_ms, dead, dedupe_evicted, dead_evicted, clock_failures } =
            &state.metrics;
        let mut figures = Self {
            depth: 0,
            bytes: 0,
            oldest_epoch: None,
            in_flight: 0,
            attempts: 0,
            dead: *dead,
            sessions: 0,
            consumers: 0,
            batches: 0,
            ready: state.offers.len(),
            paused: 0,
            enqueued_per_minute: enqueued.count(),
            committed_per_minute: committed.count(),
            wait_ms: wait_ms.percentiles(),
            lease_ms: lease_ms.percentiles(),
            unpurged: state.unpurged.values().map(|unpurged| unpurged.count).sum(),
            unpurged_bytes: state.unpurged.values().map(|unpurged| unpurged.bytes).sum(),
            dedupe_evicted: *dedupe_evicted,
            dead_evicted: *dead_evicted,
            clock_failures: *clock_failures,
            native_bytes: state.native_bytes(),
        };
        for (id, session) in state.sessions.iter().filter(|(id, _)| only.is_none_or(|only| only == **id)) {
            figures.depth += session.depth;
            figures.bytes += session.bytes;
            figures.oldest_epoch = match (figures.oldest_epoch, session.oldest_epoch) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
            figures.in_flight += session.lease.as_ref().map_or(0, |lease| lease.ids.len());
            figures.attempts += u64::from(session.attempts);
            figures.batches += usize::from(session.lease.is_some());
            figures.sessions += usize::from(session.depth > 0);
            figures.consumers += usize::from(session.consumer.is_some());
            figures.paused += usize::from(state.is_paused(*id));
        }
        figures
    }
}
