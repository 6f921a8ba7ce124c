//! The options of `openMemory`, from JavaScript.

use std::{path::PathBuf, time::Duration};

use napi::Env;
use napi_derive::napi;

use super::{
    arguments::{Argument, Fields},
    process_environment::named_folders,
};
use crate::{
    db::Durability,
    error::{Error, Result},
    parts::{Part, Parts},
    settings::{Index, Model, Precision, Role, Settings},
};

/// How a data directory is opened. Every option has a default; an unknown one is refused with the right name.
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct OpenOptions {
    /// The data directory; created where it is missing. Default: `CLAUDE_MEM_DATA_DIR`, else `~/.claude-mem`.
    pub data_dir: Option<String>,
    /// `'owner'`: the one that consumes; it takes the owner lock and brings the schema up to date. `'client'`: any
    /// number beside it (hooks, search servers, command lines): reads, writes, searches and enqueues, opens its files
    /// and threads when they are first needed, and changes no schema. Default `'owner'`.
    #[napi(ts_type = "'owner' | 'client'")]
    pub role: Option<String>,
    /// For a client: it writes nothing, and where there is no database it reads an empty memory. Default false.
    pub read_only: Option<bool>,
    /// What of it is opened: `'store'` (`claude-mem.db`: the tables and pages), `'queue'` (`native/queue.db`: the queues
    /// and sessions) and `'vectors'` (`native/collections.db`: the caller's own documents; with the store also
    /// `native/index.db`: documents, vectors and search, made of the tables). What is left out is not looked at, and calls
    /// that need it answer `ERR_NOT_OPEN`. Without `'store'` the others work beside a `claude-mem.db` of any version:
    /// commits are `external` then, and only collections can be searched. Default: all.
    #[napi(ts_type = "('store' | 'queue' | 'vectors')[]")]
    pub parts: Option<Vec<String>>,
    /// How long to wait for another owner of the directory to go away, ms (0 to 600,000). Default 10,000.
    pub lock_wait_ms: Option<u32>,
    /// How long a write waits for a lock that another process holds, ms (1 to 600,000); each call can say its
    /// own. Default 5,000.
    pub deadline_ms: Option<u32>,
    /// What a resolved promise survives: `'normal'` the death of the process, `'full'` a power cut as well.
    /// Default `'normal'`.
    #[napi(ts_type = "'normal' | 'full'")]
    pub durability: Option<String>,
    /// Reader threads (1 to 16). Default 2; 1 for a client.
    pub readers: Option<u32>,
    /// Bytes of writes in flight at most, over all calls (65,536 to 4 GiB); one write is always admitted.
    /// Beyond it `ERR_BUSY`. Default 64 MiB.
    pub max_in_flight_bytes: Option<f64>,
    /// Bytes of one message at most (1,024 to 500,000,000). Beyond it `ERR_QUEUE_FULL`. Default 50 MiB.
    pub max_message_bytes: Option<f64>,
    /// Messages of one session at most (1 to 1e9). Beyond it `ERR_QUEUE_FULL`. Default 10,000.
    pub max_session_messages: Option<f64>,
    /// Bytes of one session's messages at most (1,024 to 1e15). Beyond it `ERR_QUEUE_FULL`. Default 256 MiB.
    pub max_session_bytes: Option<f64>,
    /// Bytes of all sessions' messages at most (1,024 to 1e15). Beyond it `ERR_QUEUE_FULL`. Default 1 GiB.
    pub max_queue_bytes: Option<f64>,
    /// Counted attempts after which a message that failed alone becomes a dead letter (1 to 100). Default 5.
    pub max_attempts: Option<u32>,
    /// The first backoff after a failed batch, ms (1 to 86,400,000); each further attempt doubles it, less up to
    /// a quarter of jitter. Default 5,000.
    pub backoff_base_ms: Option<f64>,
    /// The longest backoff, ms (1 to 86,400,000). Default 600,000.
    pub backoff_max_ms: Option<f64>,
    /// The longest that a pause with an end, or a stored backoff, can last after a restart, ms (1 to 3.2e10): a
    /// wall clock that was set back must not stop a queue for years. Default 7 days.
    pub max_pause_ms: Option<f64>,
    /// A session without activity for this long is no longer active, ms (1 to 3.2e10). Default 30 minutes.
    pub session_ttl_ms: Option<f64>,
    /// Active sessions at most (1 to 100,000); at the cap the one idle longest goes. Default 1,000.
    pub max_sessions: Option<u32>,
    /// Dead letters kept (0 to 1e6); beyond it the oldest go. Default 10,000.
    pub max_dead_letters: Option<u32>,
    /// Age at which a dead letter goes, ms (1 to 3.2e11). Default 30 days.
    pub dead_letter_age_ms: Option<f64>,
    /// Age at which a dedupe key is forgotten, ms (1 to 3.2e10). Default 24 hours.
    pub dedupe_age_ms: Option<f64>,
    /// Dedupe keys remembered (0 to 1e7); beyond it the oldest go. Default 100,000.
    pub max_dedupe_keys: Option<u32>,
    /// Overwrite deleted messages and rows in the files with zeros, and merge the text indexes after `delete…` and
    /// `retention`; it costs write speed. Default false.
    pub secure_delete: Option<bool>,
    /// `'auto'`: whatever is stored, changed or deleted, by whomever, is indexed and embedded in the background.
    /// `'manual'`: a search finds rows by their words as they are, but vectors are made by `vectors.sync()` alone.
    /// Default `'auto'`.
    #[napi(ts_type = "'auto' | 'manual'")]
    pub indexing: Option<String>,
    /// How vectors are kept in memory: with 16 bits a number, or with 8. Default `'i16'`. `'bf16'` is taken for `'i16'`,
    /// which is as large and finer.
    #[napi(ts_type = "'i16' | 'i8' | 'bf16'")]
    pub vector_precision: Option<String>,
    /// How many candidates the graph of vectors looks at, where there are so many that there is one: when a vector is
    /// added (4 to 4,096), and when one is searched for (1 to 4,096). More finds more, and takes longer. Default
    /// 256, and for a search 64 among 20,000 vectors and 32 more with each factor of ten: 96 among 200,000.
    pub vector_expansion: Option<VectorExpansion>,
    /// Bytes of the tables' vectors in memory at most (1 MiB to 1 TiB). Above it they are kept as `'i8'`, above that
    /// without a graph, above that each search reads them from the file; `health()` says which. Collections together keep
    /// within as much again: those that were searched longest ago go first. Default 512 MiB.
    pub vector_memory_budget: Option<f64>,
    /// Who makes vectors of texts: `'local'`, a model in this process, or `'external'`, you: `vectors.pending()` says which
    /// are wanted, `vectors.put()` takes them, and a call that would embed a text answers `ERR_NO_MODEL`. Default
    /// `'local'`.
    #[napi(ts_type = "'local' | 'external'")]
    pub embedder: Option<String>,
    /// Which model. Default: all-MiniLM-L6-v2.
    pub model: Option<EmbeddingModel>,
    /// The folder of the model's `model.onnx` and, for another model than the default one, of its `tokenizer.json` or
    /// `vocab.txt`; nowhere else is looked then. Default: `CLAUDE_MEM_MODEL_DIR`, else the first of
    /// `models/<name>/` in the data directory, `models/<name>/` beside this module, and Chroma's cache (for the
    /// default model) that has one.
    pub model_dir: Option<String>,
    /// How long the model stays in memory unused, ms (0 to 3.2e10); it is loaded when it is first needed. Default 5
    /// minutes.
    pub model_idle_ms: Option<f64>,
    /// Threads that embed one batch (1 to 64). Default 1.
    pub model_threads: Option<u32>,
    /// Bytes of remembered query vectors at most (0 to 1 GiB); one takes some 1,700. Default 1 MiB.
    pub query_cache_bytes: Option<f64>,
    /// For a client: it loads the model where a search needs it; else it searches by keywords. Default false.
    pub client_model: Option<bool>,
}

/// How many candidates the graph of vectors looks at.
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct VectorExpansion {
    /// When a vector is added.
    pub add: Option<f64>,
    /// When one is searched for.
    pub search: Option<f64>,
}

/// An embedding model. Vectors of models that differ in any of this are not compared with each other.
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct EmbeddingModel {
    /// What it is called: letters, digits, `.`, `_` and `-`, at most 100 characters; also the name of its folder.
    /// Default `'all-MiniLM-L6-v2'`.
    pub name: Option<String>,
    /// Numbers in a vector (1 to 4,096). Default 384.
    pub dimensions: Option<u32>,
    /// Tokens of a text that count (3 to 8,192); what follows is not embedded. Default 256.
    pub max_tokens: Option<u32>,
}

const NAMES: &[&str] = &[
    "dataDir",
    "role",
    "readOnly",
    "parts",
    "lockWaitMs",
    "deadlineMs",
    "durability",
    "readers",
    "maxInFlightBytes",
    "maxMessageBytes",
    "maxSessionMessages",
    "maxSessionBytes",
    "maxQueueBytes",
    "maxAttempts",
    "backoffBaseMs",
    "backoffMaxMs",
    "maxPauseMs",
    "sessionTtlMs",
    "maxSessions",
    "maxDeadLetters",
    "deadLetterAgeMs",
    "dedupeAgeMs",
    "maxDedupeKeys",
    "secureDelete",
    "indexing",
    "vectorPrecision",
    "vectorExpansion",
    "vectorMemoryBudget",
    "embedder",
    "model",
    "modelDir",
    "modelIdleMs",
    "modelThreads",
    "queryCacheBytes",
    "clientModel",
];

const DAY_MS: i64 = 86_400_000;
const YEAR_MS: i64 = 370 * DAY_MS;

/// The settings that `options` stand for.
pub fn settings(env: &Env, options: &Argument<'_>) -> Result<Settings> {
    let given = options.options(NAMES)?;
    let named = named_folders(env)?;
    let data_dir = match given.read("dataDir", |value| value.nonempty_text())? {
        Some(path) => PathBuf::from(path),
        None => named.data_dir.map_or_else(default_data_dir, Ok)?,
    };
    let mut settings = Settings::new(std::path::absolute(data_dir)?);
    if let Some(role) = given.read("role", |value| value.one_of(&[("owner", Role::Owner), ("client", Role::Client)]))? {
        settings.role = role;
    }
    settings.read_only = given.read("readOnly", |value| value.boolean())?.unwrap_or(false);
    if settings.role == Role::Client {
        settings.readers = 1;
    } else if settings.read_only {
        return Err(Error::invalid("option 'readOnly' is for clients: an owner writes; add role: 'client'"));
    }
    if let Some(parts) = given.read("parts", parts)? {
        settings.parts = parts;
    }
    set_ms(&given, "lockWaitMs", 0..=600_000, &mut settings.lock_wait)?;
    set_ms(&given, "deadlineMs", 1..=600_000, &mut settings.deadline)?;
    set_ms(&given, "backoffBaseMs", 1..=DAY_MS, &mut settings.retry.backoff_base)?;
    set_ms(&given, "backoffMaxMs", 1..=DAY_MS, &mut settings.retry.backoff_max)?;
    set_ms(&given, "maxPauseMs", 1..=YEAR_MS, &mut settings.max_pause)?;
    set_ms(&given, "sessionTtlMs", 1..=YEAR_MS, &mut settings.session_ttl)?;
    set_ms(&given, "deadLetterAgeMs", 1..=10 * YEAR_MS, &mut settings.bounds.dead_letter_age)?;
    set_ms(&given, "dedupeAgeMs", 1..=YEAR_MS, &mut settings.bounds.dedupe_age)?;
    set(&given, "readers", 1..=16, "", &mut settings.readers)?;
    set(&given, "maxInFlightBytes", 65_536..=4 << 30, "bytes", &mut settings.max_in_flight_bytes)?;
    set(&given, "maxMessageBytes", 1_024..=500_000_000, "bytes", &mut settings.bounds.message_bytes)?;
    set(&given, "maxSessionMessages", 1..=1_000_000_000, "", &mut settings.bounds.session_messages)?;
    set(&given, "maxSessionBytes", 1_024..=1_000_000_000_000_000, "bytes", &mut settings.bounds.session_bytes)?;
    set(&given, "maxQueueBytes", 1_024..=1_000_000_000_000_000, "bytes", &mut settings.bounds.total_bytes)?;
    set(&given, "maxSessions", 1..=100_000, "", &mut settings.max_sessions)?;
    set(&given, "maxDeadLetters", 0..=1_000_000, "", &mut settings.bounds.dead_letters)?;
    set(&given, "maxDedupeKeys", 0..=10_000_000, "", &mut settings.bounds.dedupe_keys)?;
    if let Some(attempts) = given.read("maxAttempts", |value| value.integer(1..=100, ""))? {
        settings.retry.max_attempts = u32::try_from(attempts).unwrap_or(u32::MAX);
    }
    if let Some(durability) = given.read("durability", durability)? {
        settings.durability = durability;
    }
    if let Some(secure) = given.read("secureDelete", |value| value.boolean())? {
        settings.secure_delete = secure;
    }
    vectors(&given, &mut settings.index)?;
    settings.model.directory = named.model_dir.map(std::path::absolute).transpose()?;
    embedding(&given, &mut settings.model)?;
    Ok(settings)
}

fn embedding(given: &Fields<'_>, settings: &mut Model) -> Result<()> {
    if let Some(external) = given.read("embedder", |value| value.one_of(&[("local", false), ("external", true)]))? {
        settings.external = external;
    }
    if let Some(model) = given.read("model", |value| value.options(&["name", "dimensions", "maxTokens"]))? {
        if let Some(name) = model.read("name", model_name)? {
            settings.name = name;
        }
        set(&model, "dimensions", 1..=4_096, "", &mut settings.dimensions)?;
        set(&model, "maxTokens", 3..=8_192, "", &mut settings.max_tokens)?;
    }
    if let Some(folder) = given.read("modelDir", |value| value.nonempty_text())? {
        settings.directory = Some(std::path::absolute(folder)?);
    }
    set_ms(given, "modelIdleMs", 0..=YEAR_MS, &mut settings.idle)?;
    set(given, "modelThreads", 1..=64, "", &mut settings.threads)?;
    set(given, "queryCacheBytes", 0..=1 << 30, "bytes", &mut settings.query_cache_bytes)?;
    if let Some(for_client) = given.read("clientModel", |value| value.boolean())? {
        settings.for_client = for_client;
    }
    Ok(())
}

/// The options of documents and vectors.
fn vectors(given: &Fields<'_>, index: &mut Index) -> Result<()> {
    if let Some(automatic) = given.read("indexing", |value| value.one_of(&[("auto", true), ("manual", false)]))? {
        index.automatic = automatic;
    }
    let precisions = [("i16", Precision::I16), ("i8", Precision::I8), ("bf16", Precision::I16)];
    if let Some(precision) = given.read("vectorPrecision", |value| value.one_of(&precisions))? {
        index.precision = precision;
    }
    if let Some(expansion) = given.read("vectorExpansion", |value| value.options(&["add", "search"]))? {
        set(&expansion, "add", 4..=4_096, "candidates", &mut index.expansion.add)?;
        index.expansion.search = expansion.read("search", |value| value.size(1..=4_096, "candidates"))?;
    }
    set(given, "vectorMemoryBudget", 1 << 20..=1 << 40, "bytes", &mut index.memory_budget)
}

/// A name that can be a folder's.
fn model_name(value: &Argument<'_>) -> Result<String> {
    let name = value.nonempty_text()?;
    let plain = |char: char| char.is_ascii_alphanumeric() || matches!(char, '.' | '_' | '-');
    if name.len() > 100 || name.starts_with('.') || !name.chars().all(plain) {
        return Err(value.expected("letters, digits, '.', '_' and '-', not first a '.', at most 100"));
    }
    Ok(name)
}

fn parts(value: &Argument<'_>) -> Result<Parts> {
    let names = Part::ALL.map(|part| (part.name(), part));
    let named = value.array()?.iter().map(|part| part.one_of(&names)).collect::<Result<Vec<_>>>()?;
    if named.is_empty() {
        let known = Part::ALL.map(|part| format!("'{}'", part.name())).join(", ");
        return Err(
            Error::invalid(format!("option 'parts' names no part; known are {known}")).with("argument", "parts")
        );
    }
    Ok(Parts::of(&named))
}

fn durability(value: &Argument<'_>) -> Result<Durability> {
    value.one_of(&[("normal", Durability::Normal), ("full", Durability::Full)])
}

fn set_ms(given: &Fields<'_>, name: &str, range: std::ops::RangeInclusive<i64>, place: &mut Duration) -> Result<()> {
    if let Some(value) = given.read(name, |value| milliseconds(value, range))? {
        *place = value;
    }
    Ok(())
}

fn set(
    given: &Fields<'_>,
    name: &str,
    range: std::ops::RangeInclusive<usize>,
    unit: &str,
    place: &mut usize,
) -> Result<()> {
    if let Some(value) = given.read(name, |value| value.size(range, unit))? {
        *place = value;
    }
    Ok(())
}

/// A duration in whole milliseconds.
pub fn milliseconds(value: &Argument<'_>, range: std::ops::RangeInclusive<i64>) -> Result<Duration> {
    Ok(Duration::from_millis(value.integer(range, "ms")?.unsigned_abs()))
}

fn default_data_dir() -> Result<PathBuf> {
    std::env::home_dir().filter(|home| !home.as_os_str().is_empty()).map(|home| home.join(".claude-mem")).ok_or_else(
        || {
            Error::invalid(
                "there is no home directory to find ~/.claude-mem in; give dataDir or set CLAUDE_MEM_DATA_DIR",
            )
        },
    )
}
