//! Durable queues: one FIFO a session, leases, consumers, dead letters.
//!
//! Messages wait in `native/queue.db`. What is done is a prefix of a session's messages, so it is kept as a
//! watermark (`native_ack.upto`) in `claude-mem.db`, where the same transaction stores what the agent made of
//! them: rows are stored exactly once, and no transaction spans two files. Where that file is not open the
//! watermark lies in `queue.db`; [`directory`] is what the two have in common.
//!
//! [`format`] is the layout of `queue.db`, [`storage`] its SQL; [`state`] the counters, leases and consumers in native memory;
//! [`engine`] ties both to the writer threads; each further file is one operation. Lock order: the state's
//! mutex is never held while a command is submitted or a reply is settled ([`effects::Effects`]).

mod arrivals;
mod audit;
mod by_role;
mod claim;
pub mod client;
mod clock;
mod commit;
mod consumer;
mod control;
mod dead_letters;
mod directory;
pub mod effects;
pub mod engine;
mod enqueue;
mod envelope;
mod erase;
mod figures;
mod format;
mod give_back;
mod import;
mod incoming;
mod lease;
mod members;
mod message_ids;
pub mod metrics;
mod pause;
mod peek;
mod purge;
mod ready;
mod reclaim;
mod recovery;
mod release;
mod shape;
mod shared_text;
mod state;
mod storage;
#[cfg(test)]
mod tests;
mod text_slice;

pub use self::format::{is_ready as storage_is_ready, open as open_storage, stand_in as stand_in_storage};
pub use audit::{Audit, Difference};
pub use by_role::Queues;
pub use claim::{Batch, Delivered};
pub use client::ClientQueue;
pub use commit::{Answer, Committed};
pub use consumer::{ConsumeOptions, Consumer, EndReason};
pub use dead_letters::{DeadLetter, DeadLetterFilter};
pub use directory::{Directory, OwnFile, Sessions, SharedFile, SharedSessions};
pub use engine::Queue;
pub use enqueue::{Duplicate, EnqueueOptions, Enqueued};
pub use envelope::Split;
pub use erase::{Erased, Leaving};
pub use figures::Figures;
pub use import::{Arrival, Arrived, Identity};
pub use incoming::too_large;
pub use members::{Members, Value};
pub use peek::{Peek, Peeked};
pub use purge::Deletion;
pub use ready::{ReadySession, ReadySessions};
pub use release::{ReleaseOptions, Released};
pub use shape::{FieldKind, Shape};
pub use shared_text::SharedText;
pub use state::Waiting;
pub use text_slice::locate as locate_text;
