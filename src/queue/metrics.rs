//! Rates and percentiles of the queue, in bounded native memory.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Samples that a percentile is taken from.
const SAMPLES: usize = 512;
/// What a rate covers.
const MINUTE: Duration = Duration::from_secs(60);
/// Buckets of a rate.
const BUCKETS: usize = 60;

/// The last few durations.
#[derive(Debug, Default)]
pub struct Recent(VecDeque<f64>);

impl Recent {
    /// Adds one, in milliseconds.
    pub fn record(&mut self, ms: f64) {
        if self.0.len() == SAMPLES {
            self.0.pop_front();
        }
        self.0.push_back(ms);
    }

    /// Median and 99th percentile, milliseconds; `None` without samples.
    #[must_use]
    pub fn percentiles(&self) -> Option<(f64, f64)> {
        let mut sorted: Vec<f64> = self.0.iter().copied().collect();
        sorted.sort_by(f64::total_cmp);
        let at = |percent: usize| sorted.get(sorted.len().saturating_sub(1) * percent / 100).copied();
        Some((at(50)?, at(99)?))
    }
}

/// Events within the last minute, in buckets of a second.
#[derive(Debug)]
pub struct PerMinute {
    start: Instant,
    buckets: [(u64, u32); BUCKETS],
}

impl Default for PerMinute {
    fn default() -> Self {
        Self { start: Instant::now(), buckets: [(u64::MAX, 0); BUCKETS] }
    }
}

impl PerMinute {
    fn second(&self) -> u64 {
        self.start.elapsed().as_secs()
    }

    /// Counts `count` events now.
    pub fn record(&mut self, count: usize) {
        let second = self.second();
        let bucket = &mut self.buckets[usize::try_from(second).unwrap_or(0) % BUCKETS];
        if bucket.0 != second {
            *bucket = (second, 0);
        }
        bucket.1 = bucket.1.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// How many within the last minute.
    #[must_use]
    pub fn count(&self) -> u64 {
        let second = self.second();
        let recent = |then: u64| then <= second && second - then < MINUTE.as_secs();
        self.buckets.iter().filter(|(then, _)| recent(*then)).map(|(_, count)| u64::from(*count)).sum()
    }
}

/// What the queue measures of itself.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Messages enqueued.
    pub enqueued: PerMinute,
    /// Messages acknowledged.
    pub committed: PerMinute,
    /// From enqueue to claim.
    pub wait_ms: Recent,
    /// From claim to commit.
    pub lease_ms: Recent,
    /// Dead letters now.
    pub dead: usize,
    /// Dedupe keys that were forgotten before their age.
    pub dedupe_evicted: u64,
    /// Dead letters that were dropped for age or number since open.
    pub dead_evicted: u64,
    /// Turns of the clock that panicked.
    pub clock_failures: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_and_rates() {
        let mut recent = Recent::default();
        assert_eq!(recent.percentiles(), None);
        for ms in 0..1_000 {
            recent.record(f64::from(ms));
        }
        let (p50, p99) = recent.percentiles().unwrap();
        assert!((743.0..745.0).contains(&p50) && p99 > 990.0, "{p50} {p99}");
        let mut rate = PerMinute::default();
        rate.record(3);
        rate.record(4);
        assert_eq!(rate.count(), 7);
    }
}
