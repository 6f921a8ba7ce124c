//! What `health()` answers: the core's figures, and those that only JavaScript has.

use napi::{
    Env, Unknown,
    bindgen_prelude::{FromNapiValue, ToNapiValue},
};
use napi_derive::napi;

use super::{answer::Answer, arguments::Argument, call::checked, values::Scope, vectors::VectorsStatus};
use crate::{
    clock,
    error::Result,
    health::{self as core, FileHealth, Status},
    memory::Memory,
    queue::Figures,
    settings::Bounds,
};

/// How a memory does.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct Health {
    /// What this memory is to its data directory. A client's queue figures are those of the file when it was last
    /// sampled (`queueDatabase.sampledAtEpoch`), and it has no sessions.
    #[napi(ts_type = "'owner' | 'client'")]
    pub role: String,
    /// The worst of the findings: `warn` from 80 % of a limit, `critical` from 90 %.
    #[napi(ts_type = "'ok' | 'warn' | 'critical'")]
    pub status: String,
    /// What was found, a sentence each; empty where all is well.
    pub reasons: Vec<String>,
    /// Now, epoch ms.
    pub timestamp: f64,
    /// Since this memory was opened, ms.
    pub uptime_ms: f64,
    /// Version of this module.
    pub version: String,
    /// How this module was built.
    pub build: Build,
    /// Version of the SQLite library inside.
    pub sqlite_version: String,
    /// V8's heap; null where the runtime does not tell (its `limitSource` would say why).
    pub heap: Option<Heap>,
    /// Resident memory of the process, bytes; null where the runtime does not tell.
    pub rss_bytes: Option<f64>,
    /// Native memory by part, from this module's own accounting.
    pub native: NativeMemory,
    /// All queues together; null where the part `'queue'` is not open.
    pub queue: Option<QueueMetrics>,
    /// What the queues are allowed to hold; null where the part `'queue'` is not open.
    pub queue_limits: Option<QueueLimits>,
    /// Active sessions; null where the part `'queue'` is not open.
    pub sessions: Option<SessionCounts>,
    /// `claude-mem.db`; null where the part `'store'` is not open.
    pub database: Option<DatabaseHealth>,
    /// `native/queue.db`; null where the part `'queue'` is not open.
    pub queue_database: Option<DatabaseHealth>,
    /// Documents and vectors of the tables; null where the parts `'store'` and `'vectors'` are not open.
    pub index: Option<VectorsStatus>,
    /// What is open, by kind.
    pub handles: Handles,
    /// Slowest operations of the last ten minutes, slowest first; at most ten names.
    pub slowest: Vec<SlowOperation>,
}

/// How this module was built.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct Build {
    /// Operating system and architecture.
    pub target: String,
    /// `release` or `debug`.
    pub profile: String,
    /// The Node-API version that it needs.
    pub napi: u32,
}

/// V8's heap.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct Heap {
    /// Bytes in use.
    pub used_bytes: f64,
    /// Bytes that V8 has taken from the system.
    pub allocated_bytes: f64,
    /// The limit that matters, bytes: that of the old generation. Null where there is none.
    pub limit_bytes: Option<f64>,
    /// Where the limit was read: `execArgv`, `NODE_OPTIONS`, `resourceLimits`, `heap_size_limit`, or `none` on a
    /// runtime without one (Bun).
    pub limit_source: String,
    /// Used / limit, 0 to 1: what the status is made from. Null without a limit.
    pub used_of_limit: Option<f64>,
    /// Used / allocated, 0 to 1. Shown, never alarmed: 0.75 to 0.9 in any healthy Node process.
    pub used_of_allocated: f64,
}

/// Native memory by part, bytes.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct NativeMemory {
    /// The sum.
    pub total_bytes: f64,
    /// Page caches and statements of SQLite, over all memories of the process.
    pub sqlite_bytes: f64,
    /// Payloads of writes that are not committed yet.
    pub in_flight_write_bytes: f64,
    /// Counters, leases, timers and the session registry.
    pub queue_index_bytes: f64,
    /// Vectors of documents of the tables, their graph and maps.
    pub vector_bytes: f64,
    /// Vectors of collections that were searched lately.
    pub collection_bytes: f64,
    /// The weights of the embedding model, while it is loaded, matrices also as they are laid out for multiplying, and
    /// remembered vectors of queries.
    pub model_bytes: f64,
}

/// Figures of the queue: of all sessions, or of one.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct QueueMetrics {
    /// Messages waiting or leased.
    pub depth: f64,
    /// Their payload bytes.
    pub bytes: f64,
    /// When the oldest was enqueued, epoch ms; null where none waits.
    pub oldest_epoch: Option<f64>,
    /// How long the oldest has waited, ms; null where none waits.
    pub oldest_age_ms: Option<f64>,
    /// Messages leased.
    pub in_flight: f64,
    /// Counted attempts of the oldest messages, summed over sessions.
    pub attempts: f64,
    /// Dead letters, of all sessions.
    pub dead: f64,
    /// Sessions with messages.
    pub sessions: f64,
    /// Sessions that are paused.
    pub paused: f64,
    /// Acknowledged messages that are not purged yet, of all sessions.
    pub unpurged: f64,
    /// Their bytes. They no longer count against the queue's bounds.
    pub unpurged_bytes: f64,
    /// Messages enqueued within the last minute, of all sessions.
    pub enqueued_per_minute: f64,
    /// Messages acknowledged within the last minute, of all sessions.
    pub committed_per_minute: f64,
    /// From enqueue to claim, ms, of the last 512 messages of all sessions; null before the first.
    pub wait_ms: Option<Percentiles>,
    /// From claim to commit, ms, of the last 512 batches of all sessions; null before the first.
    pub lease_ms: Option<Percentiles>,
    /// Dedupe keys that were forgotten before their age since open: raise `maxDedupeKeys`.
    pub dedupe_evicted: f64,
    /// Dead letters that went for age or number since open.
    pub dead_evicted: f64,
}

/// What the queues are allowed to hold: the options that this memory was opened with. Beyond one an enqueue answers
/// `ERR_QUEUE_FULL`, or, of dead letters, the oldest go.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct QueueLimits {
    /// Bytes of one message.
    pub max_message_bytes: f64,
    /// Messages of one session.
    pub max_session_messages: f64,
    /// Bytes of one session.
    pub max_session_bytes: f64,
    /// Bytes of all sessions: `queue.bytes` beside it is the share that `status` is made from.
    pub max_queue_bytes: f64,
    /// Dead letters that are kept.
    pub max_dead_letters: f64,
}

/// Median and 99th percentile, ms.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct Percentiles {
    /// Median.
    pub p50: f64,
    /// 99th percentile.
    pub p99: f64,
}

/// Counts of sessions.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct SessionCounts {
    /// Sessions in the registry.
    pub active: f64,
    /// Live consumers.
    pub consumers: f64,
}

/// One database file. Sizes are sampled at most every two seconds, when health is asked for.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct DatabaseHealth {
    /// Its path.
    pub path: String,
    /// Its size, bytes.
    pub bytes: f64,
    /// Size of its write-ahead log, bytes.
    pub wal_bytes: f64,
    /// Pages without content.
    pub free_pages: f64,
    /// When its last checkpoint ended, epoch ms; null before the first since open.
    pub last_checkpoint_epoch: Option<f64>,
    /// Commands waiting or running in its writer.
    pub waiting_writes: f64,
    /// Transactions since open.
    pub commits: f64,
    /// Pages in its write-ahead log after the last commit or checkpoint. Above some 8,000 the log is held back by a
    /// reader, perhaps of another process: it grows until that one ends its transaction, and the queue's file gives no
    /// pages back meanwhile. Above 128 MiB `status` is `warn`.
    pub wal_pages: f64,
    /// Pages of the log that the last checkpoint could not move into the file, because somebody reads an older state.
    pub pinned_pages: f64,
    /// When sizes were sampled, epoch ms; null before the first sample.
    pub sampled_at_epoch: Option<f64>,
}

/// What is open, by kind.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct Handles {
    /// Memories of this process.
    pub memories: f64,
    /// Live consumers.
    pub consumers: f64,
    /// Batches neither committed nor released.
    pub batches: f64,
    /// Live `queue.ready()` iterators.
    pub ready: f64,
    /// Jobs of this memory that run: backups, exports, imports, checks.
    pub jobs: f64,
}

/// The slowest run of one operation.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct SlowOperation {
    /// Its name.
    pub name: String,
    /// From the call to its settling, waiting included, ms.
    pub ms: f64,
    /// When it ended, epoch ms.
    pub at_epoch: f64,
}

/// Asks the runtime. `getBuiltinModule` is there from Node 20.16 and 22.3 on, and works from any module system.
const RUNTIME: &str = r"(() => {
  const builtin = (name) => {
    try { return process.getBuiltinModule(name); } catch { return undefined; }
  };
  const heap = builtin('node:v8')?.getHeapStatistics?.();
  const threads = builtin('node:worker_threads');
  return {
    used: heap?.used_heap_size,
    allocated: heap?.total_heap_size,
    limit: heap?.heap_size_limit,
    rss: process.memoryUsage.rss?.() ?? process.memoryUsage().rss,
    bun: process.versions.bun !== undefined,
    resource: threads && !threads.isMainThread ? threads.resourceLimits?.maxOldGenerationSizeMb : undefined,
    execArgv: process.execArgv ?? [],
    nodeOptions: process.env.NODE_OPTIONS ?? '',
  };
})()";

/// Collects everything.
#[expect(clippy::cast_precision_loss, reason = "figures for people, far below 2^53")]
pub fn report(env: &Env, memory: &Memory) -> Result<Health> {
    let mut core = memory.health();
    let (heap, rss_bytes) = runtime(env)?;
    if let Some(share) = heap.as_ref().and_then(|heap| heap.used_of_limit) {
        core.find(Status::of_share(share), || {
            format!("the JavaScript heap holds {:.0} % of its limit; raise --max-old-space-size", share * 100.0)
        });
    }
    let now = clock::now_epoch();
    let count = |of: fn(&Figures) -> usize| core.queue.as_ref().map_or(0, of) as f64;
    let handles = Handles {
        memories: Memory::open_count() as f64,
        consumers: count(|queue| queue.consumers),
        batches: count(|queue| queue.batches),
        ready: count(|queue| queue.ready),
        jobs: memory.jobs().count() as f64,
    };
    Ok(Health {
        role: core.role.as_str().to_owned(),
        status: core.status.as_str().to_owned(),
        reasons: core.reasons,
        timestamp: now as f64,
        uptime_ms: core.uptime.as_secs_f64() * 1e3,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        build: Build {
            target: format!("{}-{}", std::env::consts::OS, std::env::consts::ARCH),
            profile: if cfg!(debug_assertions) { "debug" } else { "release" }.to_owned(),
            napi: 9,
        },
        sqlite_version: core::sqlite_version().to_owned(),
        heap,
        rss_bytes,
        native: NativeMemory {
            total_bytes: core.native.total() as f64,
            sqlite_bytes: core.native.sqlite as f64,
            in_flight_write_bytes: core.native.in_flight_writes as f64,
            queue_index_bytes: core.native.queue as f64,
            vector_bytes: core.native.vectors as f64,
            collection_bytes: core.native.collections as f64,
            model_bytes: core.native.model as f64,
        },
        sessions: core
            .sessions
            .map(|active| SessionCounts { active: active as f64, consumers: count(|queue| queue.consumers) }),
        queue_limits: core.queue.as_ref().map(|_| queue_limits(&memory.settings().bounds)),
        queue: core.queue.as_ref().map(queue_metrics),
        database: core.database.map(database),
        queue_database: core.queue_database.map(database),
        index: core.index.map(VectorsStatus::from),
        handles,
        slowest: core
            .slowest
            .into_iter()
            .map(|slow| SlowOperation {
                name: slow.name.to_owned(),
                ms: slow.took.as_secs_f64() * 1e3,
                at_epoch: now as f64 - (slow.at.elapsed().as_secs_f64() * 1e3).round(),
            })
            .collect(),
    })
}

/// The figures of the queue as an object.
#[expect(clippy::cast_precision_loss, reason = "figures for people, far below 2^53")]
pub fn queue_metrics(figures: &Figures) -> QueueMetrics {
    let percentiles = |both: Option<(f64, f64)>| both.map(|(p50, p99)| Percentiles { p50, p99 });
    QueueMetrics {
        depth: figures.depth as f64,
        bytes: figures.bytes as f64,
        oldest_epoch: figures.oldest_epoch.map(|epoch| epoch as f64),
        oldest_age_ms: figures.oldest_epoch.map(|epoch| (clock::now_epoch() - epoch).max(0) as f64),
        in_flight: figures.in_flight as f64,
        attempts: figures.attempts as f64,
        dead: figures.dead as f64,
        sessions: figures.sessions as f64,
        paused: figures.paused as f64,
        unpurged: figures.unpurged as f64,
        unpurged_bytes: figures.unpurged_bytes as f64,
        enqueued_per_minute: figures.enqueued_per_minute as f64,
        committed_per_minute: figures.committed_per_minute as f64,
        wait_ms: percentiles(figures.wait_ms),
        lease_ms: percentiles(figures.lease_ms),
        dedupe_evicted: figures.dedupe_evicted as f64,
        dead_evicted: figures.dead_evicted as f64,
    }
}

#[expect(clippy::cast_precision_loss, reason = "limits are checked to be below 2^53")]
fn queue_limits(bounds: &Bounds) -> QueueLimits {
    QueueLimits {
        max_message_bytes: bounds.message_bytes as f64,
        max_session_messages: bounds.session_messages as f64,
        max_session_bytes: bounds.session_bytes as f64,
        max_queue_bytes: bounds.total_bytes as f64,
        max_dead_letters: bounds.dead_letters as f64,
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people, far below 2^53")]
fn database(file: FileHealth) -> DatabaseHealth {
    let sampled = file.sample.sampled_at_epoch;
    DatabaseHealth {
        path: file.sample.path.display().to_string(),
        bytes: file.sample.bytes as f64,
        wal_bytes: file.sample.wal_bytes as f64,
        free_pages: file.sample.free_pages as f64,
        last_checkpoint_epoch: file.last_checkpoint_epoch.map(|epoch| epoch as f64),
        waiting_writes: file.waiting as f64,
        commits: file.commits as f64,
        wal_pages: file.wal_pages as f64,
        pinned_pages: file.pinned_pages as f64,
        sampled_at_epoch: (sampled > 0).then_some(sampled as f64),
    }
}

/// A built object as an answer.
pub fn answer<T: ToNapiValue + Send + 'static>(object: T) -> Answer {
    Answer::instance(object)
}

/// V8's heap and the process's resident memory.
fn runtime(env: &Env) -> Result<(Option<Heap>, Option<f64>)> {
    // SAFETY: `env` is alive on this thread, and the call that we serve has a handle scope.
    let scope = unsafe { Scope::new(env.raw()) };
    let value = scope.run_script(RUNTIME)?;
    // SAFETY: the handle was made in the scope of this call.
    let value: Unknown<'_> = checked(unsafe { Unknown::from_napi_value(env.raw(), value) })?;
    let told = Argument::new("runtime", &value).object()?;
    let number = |name: &str| told.read(name, |value| value.number());
    let rss = number("rss")?;
    let (Some(used), Some(allocated)) = (number("used")?, number("allocated")?) else { return Ok((None, rss)) };
    let bun = told.read("bun", |value| value.boolean())?.unwrap_or(false);
    let exec_argv = told.read("execArgv", |value| value.texts())?.unwrap_or_default();
    let node_options = told.read("nodeOptions", |value| value.text())?.unwrap_or_default();
    let resource = number("resource")?.filter(|mebibytes| *mebibytes > 0.0);
    #[expect(clippy::cast_precision_loss, reason = "a heap is far below 2^53 bytes")]
    let flag = |flags: &[String]| core::old_space_limit(flags).map(|bytes| bytes as f64);
    let (limit_bytes, limit_source) = if bun {
        (None, "none")
    } else if let Some(mebibytes) = resource {
        (Some(mebibytes * 1_048_576.0), "resourceLimits")
    } else if let Some(bytes) = flag(&exec_argv) {
        (Some(bytes), "execArgv")
    } else if let Some(bytes) = flag(&[node_options]) {
        (Some(bytes), "NODE_OPTIONS")
    } else {
        (number("limit")?, "heap_size_limit")
    };
    let heap = Heap {
        used_bytes: used,
        allocated_bytes: allocated,
        limit_bytes,
        limit_source: limit_source.to_owned(),
        used_of_limit: limit_bytes.filter(|limit| *limit > 0.0).map(|limit| used / limit),
        used_of_allocated: if allocated > 0.0 { used / allocated } else { 0.0 },
    };
    Ok((Some(heap), rss))
}
