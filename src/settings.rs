//! The options of `openMemory`, with defaults, units and bounds.

use std::{path::PathBuf, time::Duration};

use crate::{db::Durability, parts::Parts};

/// What a memory is opened with.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The data directory.
    pub data_dir: PathBuf,
    /// Whether this memory owns the directory.
    pub role: Role,
    /// A client that writes nothing.
    pub read_only: bool,
    /// What of it is opened.
    pub parts: Parts,
    /// How long to wait for another owner of the directory to go away.
    pub lock_wait: Duration,
    /// How long a write waits for a lock that another process holds, where the call does not say.
    pub deadline: Duration,
    /// What a resolved promise survives.
    pub durability: Durability,
    /// Read-only connections, each with a thread.
    pub readers: usize,
    /// Bytes of writes in flight at most.
    pub max_in_flight_bytes: usize,
    /// Bounds of the queue.
    pub bounds: Bounds,
    /// When failed batches come again.
    pub retry: Retry,
    /// A pause that ends by itself lasts at most this long.
    pub max_pause: Duration,
    /// A session without activity for this long is forgotten; its messages stay.
    pub session_ttl: Duration,
    /// Active sessions at most; beyond it the one idle longest goes.
    pub max_sessions: usize,
    /// Overwrite deleted payloads and rows with zeros.
    pub secure_delete: bool,
    /// Documents and vectors.
    pub index: Index,
    /// The model that makes vectors of texts.
    pub model: Model,
}

/// How documents are indexed.
#[derive(Debug, Clone)]
pub struct Index {
    /// Whether what the tables owe is indexed without being asked for.
    pub automatic: bool,
    /// How vectors are kept in memory.
    pub precision: Precision,
    /// Candidates that the graph looks at when a vector is added, and when one is searched for.
    pub expansion: Expansion,
    /// Bytes of vectors in memory at most: above it they are kept as `i8`, above that without a graph, above that answers come from the file.
    pub memory_budget: usize,
}

/// How a vector is kept in memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precision {
    /// 16 bits a number.
    I16,
    /// 8 bits a number.
    I8,
}

impl Precision {
    /// What options and `status` call it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::I16 => "i16",
            Self::I8 => "i8",
        }
    }
}

/// How much the graph looks at: more is slower and finds more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expansion {
    /// When a vector is added.
    pub add: usize,
    /// When one is searched for; `None`: as many as [`Self::search_among`] says.
    pub search: Option<usize>,
}

impl Expansion {
    /// When one is searched for among so many: the more there are, the more it takes for the same recall. 64 up to
    /// 20,000, and 32 more with each factor of ten: of vectors mixed from real ones that finds 0.992 of the nearest ten
    /// among 20,000 and 0.987 among 200,000 (`examples/vectors.rs`).
    #[must_use]
    pub fn search_among(self, documents: usize) -> usize {
        const FEW: f64 = 20_000.0;
        self.search.unwrap_or_else(|| {
            #[expect(clippy::cast_precision_loss, reason = "a factor")]
            let factor = (documents as f64 / FEW).max(1.0);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some hundreds")]
            let more = (32.0 * factor.log10()).round() as usize;
            64 + more
        })
    }
}

/// The model that makes vectors of texts.
#[derive(Debug, Clone)]
pub struct Model {
    /// The caller hands vectors over; nothing is embedded here.
    pub external: bool,
    /// Its family.
    pub name: String,
    /// Numbers in a vector.
    pub dimensions: usize,
    /// Tokens of a text that count at most.
    pub max_tokens: usize,
    /// Where it lies; else it is looked for.
    pub directory: Option<PathBuf>,
    /// Folders of installed models: beside the module, and those of packages that the loader has found.
    pub packaged: Vec<PathBuf>,
    /// How long it stays in memory unused.
    pub idle: Duration,
    /// Threads that work on one batch.
    pub threads: usize,
    /// Bytes of remembered query vectors at most.
    pub query_cache_bytes: usize,
    /// Whether a client may load it.
    pub for_client: bool,
}

/// What a memory is to its data directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The one that consumes, and keeps the schema.
    Owner,
    /// One of any number beside it.
    Client,
}

impl Role {
    /// What `role` shows.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Client => "client",
        }
    }
}

/// How much may wait.
#[derive(Debug, Clone)]
pub struct Bounds {
    /// Bytes of one message.
    pub message_bytes: usize,
    /// Messages of one session.
    pub session_messages: usize,
    /// Bytes of one session.
    pub session_bytes: usize,
    /// Bytes of all sessions.
    pub total_bytes: usize,
    /// Dead letters kept; beyond it the oldest go.
    pub dead_letters: usize,
    /// Age at which a dead letter goes.
    pub dead_letter_age: Duration,
    /// Dedupe keys remembered; beyond it the oldest go.
    pub dedupe_keys: usize,
    /// Age at which a dedupe key is forgotten.
    pub dedupe_age: Duration,
}

/// When failed batches come again.
#[derive(Debug, Clone)]
pub struct Retry {
    /// Counted attempts after which a message that failed alone becomes a dead letter.
    pub max_attempts: u32,
    /// The first backoff; each further attempt doubles it.
    pub backoff_base: Duration,
    /// The longest backoff.
    pub backoff_max: Duration,
}

impl Settings {
    /// The defaults for a data directory.
    #[must_use]
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        const DAY: Duration = Duration::from_secs(24 * 60 * 60);
        Self {
            data_dir: data_dir.into(),
            role: Role::Owner,
            read_only: false,
            parts: Parts::default(),
            lock_wait: Duration::from_secs(10),
            deadline: Duration::from_secs(5),
            durability: Durability::Normal,
            readers: 2,
            max_in_flight_bytes: 64 << 20,
            bounds: Bounds {
                message_bytes: 50 << 20,
                session_messages: 10_000,
                session_bytes: 256 << 20,
                total_bytes: 1 << 30,
                dead_letters: 10_000,
                dead_letter_age: 30 * DAY,
                dedupe_keys: 100_000,
                dedupe_age: DAY,
            },
            retry: Retry {
                max_attempts: 5,
                backoff_base: Duration::from_secs(5),
                backoff_max: Duration::from_secs(600),
            },
            max_pause: 7 * DAY,
            session_ttl: Duration::from_secs(30 * 60),
            max_sessions: 1_000,
            secure_delete: false,
            index: Index {
                automatic: true,
                precision: Precision::I16,
                // With 128 a graph of 20,000 vectors mixed from real ones is there in half of the time, but a search that
                // looks at 64 finds .986 of the nearest ten instead of .992 (examples/vectors.rs); of the reference
                // database's rows .985 of the nearest 20 instead of .991.
                expansion: Expansion { add: 256, search: None },
                memory_budget: 512 << 20,
            },
            model: Model {
                external: false,
                name: "all-MiniLM-L6-v2".into(),
                dimensions: 384,
                max_tokens: 256,
                directory: None,
                packaged: Vec::new(),
                idle: Duration::from_secs(300),
                threads: 1,
                query_cache_bytes: 1 << 20,
                for_client: false,
            },
        }
    }
}

impl Retry {
    /// How long a session waits after its head message failed for the `attempts`-th time: exponential, with
    /// up to a quarter of jitter so that sessions that failed together do not come back together.
    #[must_use]
    pub fn backoff(&self, attempts: u32) -> Duration {
        let doubled =
            self.backoff_base.saturating_mul(1_u32.checked_shl(attempts.saturating_sub(1)).unwrap_or(u32::MAX));
        let longest = doubled.min(self.backoff_max);
        longest.saturating_sub(longest.mul_f64(jitter() / 4.0))
    }
}

/// A number in 0..1 from the randomness that every hash map is seeded with.
fn jitter() -> f64 {
    use std::hash::{BuildHasher, Hasher, RandomState};
    let bits = RandomState::new().build_hasher().finish() >> 32;
    f64::from(u32::try_from(bits).unwrap_or(0)) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn backoff_doubles_up_to_its_maximum() {
        let retry = Settings::new("").retry;
        for (attempts, seconds) in
            [(0, 5.0), (1, 5.0), (2, 10.0), (4, 40.0), (9, 600.0), (60, 600.0), (u32::MAX, 600.0)]
        {
            let backoff = retry.backoff(attempts).as_secs_f64();
            assert!((seconds * 0.75..=seconds).contains(&backoff), "attempt {attempts}: {backoff} s");
        }
    }
}
