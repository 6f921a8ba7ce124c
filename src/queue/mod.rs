//! Durable queues, leases, consumers, dead letters.
