//! Class `Vectors`: the documents and vectors of the tables.

use std::sync::Arc;

use napi::{Env, Unknown};
use napi_derive::napi;

use super::{
    answer::{Answer, IntoAnswer, object_answer},
    arguments::{Argument, Fields},
    call::{Pending, Promised, immediate, promise},
    float_array::floats_answer,
    health,
    job::JobHandle,
    store::{DateRange, filters_in},
};
use crate::{
    error::{Error, Result},
    index::{
        self, Put,
        document::{DocumentId, Kind},
        status::Status,
        sync::{Progress, Report},
    },
    memory::Memory,
    reply::Reply,
    search::{
        nearest::{NEAREST, Near, To},
        request::{Kinds, MOST},
    },
};

/// Documents that one call of `pending` hands out, where it says nothing; and at most.
const PENDING: usize = 100;
const MOST_PENDING: usize = 10_000;

/// An embedding model.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct ModelStatus {
    /// Its family.
    pub name: String,
    /// Numbers in a vector.
    pub dimensions: f64,
    /// Whether texts can be embedded: `'loaded'` and `'unloaded'` (a file was found, and is loaded when it is needed);
    /// `'missing'`; or `'external'`, where the caller hands vectors over.
    #[napi(ts_type = "'loaded' | 'unloaded' | 'missing' | 'external'")]
    pub availability: String,
    /// Why there is none; else null.
    pub reason: Option<String>,
}

/// The model of vectors that were stored earlier.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct OtherModel {
    /// Its family.
    pub name: String,
    /// Numbers in a vector.
    pub dimensions: f64,
}

/// How the documents and vectors of the tables do.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct VectorsStatus {
    /// `'current'`: every document has its vector. `'embedding'`: they are being made. `'waiting'`: some are owed and not
    /// made now, see `reason`. `'failing'`: the index cannot be written or the tables not read; it is tried again, see
    /// `reason`. `'unopened'`: nothing has been looked at yet.
    #[napi(ts_type = "'unopened' | 'current' | 'embedding' | 'waiting' | 'failing'")]
    pub state: String,
    /// Why it waits or fails; else null.
    pub reason: Option<String>,
    /// Observations, summaries and prompts in the index.
    pub rows: f64,
    /// Documents they are made into.
    pub documents: f64,
    /// Documents that have their vector.
    pub embedded: f64,
    /// Documents that owe it.
    pub pending: f64,
    /// The model in use.
    pub model: ModelStatus,
    /// The model that the stored vectors are of, where it is not the one in use, which cannot make others now: they are
    /// kept, and not searched. Else null.
    pub other_model: Option<OtherModel>,
    /// How a search by vectors is answered at present: `'exact'`, every vector in memory is compared; `'graph'`, by a graph
    /// above them, from 10,000 vectors on, while others are still embedded from 20,000 on; `'rebuilding'`, exactly until
    /// that graph is there; `'fromFile'`, read from the file for each search: before they are loaded, on a client, and
    /// where they would be more than `vectorMemoryBudget`.
    #[napi(ts_type = "'exact' | 'graph' | 'rebuilding' | 'fromFile'")]
    pub answers: String,
    /// How vectors are kept in memory: `'i16'` or `'i8'`.
    #[napi(ts_type = "'i16' | 'i8'")]
    pub precision: String,
    /// Vectors in memory.
    pub in_memory: f64,
    /// Bytes of vectors in memory.
    pub vector_bytes: f64,
    /// Bytes of their graph.
    pub graph_bytes: f64,
    /// Bytes of what tells which vector is whose.
    pub map_bytes: f64,
    /// Bytes of the model's weights, while it is loaded, matrices also as they are laid out for multiplying, and of
    /// remembered vectors of queries.
    pub model_bytes: f64,
    /// Bytes of `native/index.db` and its log.
    pub file_bytes: f64,
    /// When the tables were last looked at for changes, epoch ms; null before the first time.
    pub last_feed_epoch: Option<f64>,
    /// How often the file was made anew since open, the first time included.
    pub remade: f64,
    /// What was wrong with the file when it was last made anew; null where nothing was.
    pub last_doubt: Option<String>,
}

#[expect(clippy::cast_precision_loss, reason = "figures for people, far below 2^53")]
impl From<Status> for VectorsStatus {
    fn from(status: Status) -> Self {
        let reason = match &status.availability {
            crate::embedder::Availability::Missing { reason } => Some(reason.clone()),
            _ => None,
        };
        Self {
            state: status.state.as_str().to_owned(),
            reason: status.reason,
            rows: status.rows as f64,
            documents: status.documents as f64,
            embedded: (status.documents - status.pending) as f64,
            pending: status.pending as f64,
            model: ModelStatus {
                name: status.model.name,
                dimensions: status.model.dimensions as f64,
                availability: status.availability.as_str().to_owned(),
                reason,
            },
            other_model: status
                .other_model
                .map(|model| OtherModel { name: model.name, dimensions: model.dimensions as f64 }),
            answers: status.answers.as_str().to_owned(),
            precision: status.precision.as_str().to_owned(),
            in_memory: status.in_memory as f64,
            vector_bytes: status.memory.vectors as f64,
            graph_bytes: status.memory.graph as f64,
            map_bytes: status.memory.maps as f64,
            model_bytes: status.model_bytes as f64,
            file_bytes: status.file_bytes as f64,
            last_feed_epoch: status.last_feed_epoch.map(|epoch| epoch as f64),
            remade: status.remade as f64,
            last_doubt: status.last_doubt,
        }
    }
}

/// How far `vectors.sync()` and `vectors.rebuild()` are.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct SyncProgress {
    /// Documents that have their vector.
    pub done: f64,
    /// Documents there are, as far as rows have been read.
    pub total: f64,
    /// Vectors made a second, on average since it began.
    pub documents_per_second: f64,
    /// How long the rest takes at that speed, ms; null before the first vector is there.
    pub eta_ms: Option<f64>,
}

/// What `vectors.sync()` and `vectors.rebuild()` have done.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct SyncReport {
    /// Observations, summaries and prompts in the index.
    pub rows: f64,
    /// Documents they are made into.
    pub documents: f64,
    /// Vectors made meanwhile.
    pub embedded: f64,
    /// Documents that went meanwhile: their rows were deleted, or have other texts.
    pub removed: f64,
    /// Documents that had their vector before.
    pub unchanged: f64,
    /// Documents that still owe theirs.
    pub pending: f64,
    /// Why they do: there is no model, or the caller embeds. Else null.
    pub reason: Option<String>,
    /// How long it took.
    pub seconds: f64,
}

object_answer!(Progress { done: "done", total: "total", documents_per_second: "documentsPerSecond", eta_ms: "etaMs" });
object_answer!(Report {
    rows: "rows",
    documents: "documents",
    embedded: "embedded",
    removed: "removed",
    unchanged: "unchanged",
    pending: "pending",
    reason: "reason",
    seconds: "seconds",
});

/// Options of `vectors.search`: a `vector` or a `text`, and what may be found.
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct VectorSearchOptions {
    /// Near to this vector: of any length above 0, with as many numbers as those of the model.
    #[napi(ts_type = "Float32Array")]
    pub vector: Option<Vec<f64>>,
    /// Near to this text, which is embedded.
    pub text: Option<String>,
    /// Documents at most (1 to 1,000). Default 10.
    pub k: Option<f64>,
    /// Only documents of rows that this lets through, before anything is ranked.
    pub filter: Option<VectorFilter>,
    /// Only documents of these kinds of row. Default: all.
    #[napi(ts_type = "('observation' | 'summary' | 'prompt')[]")]
    pub kinds: Option<Vec<String>>,
}

/// What rows the documents of `vectors.search` may be of. A row that does not have what is asked for does not pass: with
/// `type` only observations do.
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct VectorFilter {
    /// Of this project; '' is any. A prompt is of its session's project.
    pub project: Option<String>,
    /// Observations of one of these types.
    #[napi(js_name = "type", ts_type = "string | string[]")]
    pub kind: Option<String>,
    /// Observations with one of these concepts.
    #[napi(ts_type = "string | string[]")]
    pub concepts: Option<String>,
    /// Observations and summaries with a path that contains one of these, as in SQL's LIKE.
    #[napi(ts_type = "string | string[]")]
    pub files: Option<String>,
    /// Of this time.
    pub date_range: Option<DateRange>,
}

/// One document that `vectors.search` has found.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct NearDocument {
    /// Its name: `obs_<id>_narrative`, `obs_<id>_text`, `obs_<id>_fact_<n>`, `summary_<id>_<field>` or `prompt_<id>`.
    pub document_id: String,
    /// What kind of row it is a field of.
    #[napi(ts_type = "'observation' | 'summary' | 'prompt'")]
    pub kind: String,
    /// The row's number in its table.
    pub row_id: f64,
    /// Which field.
    #[napi(
        ts_type = "'narrative' | 'text' | 'fact' | 'request' | 'investigated' | 'learned' | 'completed' | 'next_steps' | 'notes' | 'prompt'"
    )]
    pub field: String,
    /// 1 − cosine: 0 for the same direction, 2 for the opposite.
    pub distance: f64,
}

impl IntoAnswer for Near {
    fn into_answer(self) -> Answer {
        let document = self.document;
        Answer::object(
            &["documentId", "kind", "rowId", "field", "distance"],
            [
                document.into_answer(),
                document.field.kind().name().into_answer(),
                document.row_id.into_answer(),
                document.field.name().into_answer(),
                f64::from(self.distance).into_answer(),
            ],
        )
    }
}

impl IntoAnswer for DocumentId {
    fn into_answer(self) -> Answer {
        Answer::Text(self.to_string())
    }
}

/// A document that waits for a vector of the caller.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct PendingDocument {
    /// Its name.
    pub document_id: String,
    /// Of its text: hand it back to `put`, which then knows whether the text has changed since.
    pub revision: f64,
    /// What to embed.
    pub text: String,
}

object_answer!(index::Pending { document: "documentId", revision: "revision", text: "text" });

/// A vector that the caller has made.
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct GivenVector {
    /// Of which document.
    pub document_id: String,
    /// Its numbers: as many as option `model.dimensions` says, finite, not all 0. Of any length; it is stored at unit length.
    #[napi(ts_type = "Float32Array")]
    pub vector: Vec<f64>,
    /// As `pending` told it. Without it the vector is taken for that of the document's present text.
    pub revision: Option<f64>,
}

/// What became of vectors that the caller has made.
#[napi(object, object_from_js = false)]
#[derive(Debug)]
pub struct PutVectors {
    /// How many were stored.
    pub stored: f64,
    /// Documents whose text has changed since `revision`: not stored, `pending` hands out the new text.
    pub stale: Vec<String>,
    /// Names that no document has: not stored.
    pub unknown: Vec<String>,
}

object_answer!(Put { stored: "stored", stale: "stale", unknown: "unknown" });

/// The documents of observations, summaries and prompts, each a field with a vector of its own: `obs_<id>_narrative`,
/// `obs_<id>_text`, `obs_<id>_fact_<n>`, `summary_<id>_<request | investigated | learned | completed | next_steps | notes>`
/// and `prompt_<id>`. They lie in `native/index.db`, with the text indexes of `memory.search`: all derived from the tables,
/// and made anew on any doubt.
///
/// With `indexing: 'auto'` whatever this memory, a hook or anybody else stores, changes or deletes is picked up within a
/// second, and embedded in the background where there is a model. With `'manual'` nothing happens by itself; a search
/// still finds rows by their words as they are, and vectors are made by `sync()` alone.
///
/// Every method rejects (`sync` and `rebuild` throw) with `ERR_INVALID_ARG` for an argument of the wrong form, naming it,
/// with `ERR_DISPOSED` after the memory was disposed, and with `ERR_NOT_OPEN` where it was opened without the parts
/// `'store'` and `'vectors'`. On a client `search`, `get` and `status` read what the owner has committed; the others answer
/// `ERR_NOT_OPEN`.
#[napi]
pub struct Vectors {
    pub(super) memory: Arc<Memory>,
}

#[napi]
impl Vectors {
    /// Looks at every row, and makes every vector that is owed. `await` it for the report; `for await` shows how far it
    /// is. Where texts cannot be embedded it ends with `pending` and `reason` in the report. Disposed, or when the process
    /// dies, what it has done stays, and the next one goes on from there.
    ///
    /// Rejects with `ERR_DISK_FULL`, `ERR_IO`, `ERR_CORRUPT` (of `claude-mem.db`), `ERR_DISPOSED`.
    #[napi(ts_return_type = "Job<SyncProgress, SyncReport>", catch_unwind)]
    pub fn sync<'e>(&self, env: &'e Env) -> napi::Result<Unknown<'e>> {
        immediate(env, || Ok(JobHandle::answer(self.memory.sync_index(false)?)))
    }

    /// As `sync()`, but throws `native/index.db` away first: every document and vector is made anew, those that the caller
    /// has removed come back, and those that the caller has made are owed again.
    #[napi(ts_return_type = "Job<SyncProgress, SyncReport>", catch_unwind)]
    pub fn rebuild<'e>(&self, env: &'e Env) -> napi::Result<Unknown<'e>> {
        immediate(env, || Ok(JobHandle::answer(self.memory.sync_index(true)?)))
    }

    /// How it does. Looks at the tables first; where that fails the status says so.
    #[napi(ts_return_type = "Promise<VectorsStatus>", catch_unwind)]
    pub fn status<'e>(&self, env: &'e Env) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            let index = Arc::clone(self.memory.index()?);
            Ok(move |reply: Reply<Answer>| {
                let reply = Reply::new(move |status: Result<Status>| {
                    reply.settle(status.map(|status| health::answer(VectorsStatus::from(status))));
                });
                index.fresh_status(reply);
            })
        })
    }

    /// The documents nearest to a vector or a text, nearest first, of all that was committed before the call, by
    /// whomever. Filters hold before anything is ranked. Documents that have no vector yet are not found.
    ///
    /// Rejects with `ERR_NO_MODEL` for a text that cannot be embedded, and with `ERR_MODEL_MISMATCH` while the stored
    /// vectors are of another model.
    #[napi(ts_args_type = "options: VectorSearchOptions", ts_return_type = "Promise<NearDocument[]>", catch_unwind)]
    pub fn search<'e>(&self, env: &'e Env, options: Unknown<'e>) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            let given = Argument::new("options", &options).options(&["vector", "text", "k", "filter", "kinds"])?;
            let to = match (given.read("vector", Argument::floats)?, given.read("text", Argument::text)?) {
                (Some(vector), None) => To::Vector(vector),
                (None, Some(text)) => To::Text(text),
                _ => return Err(Error::invalid("give a vector or a text to search for, and not both")),
            };
            let k = given.read("k", |k| k.size(1..=MOST, "documents"))?.unwrap_or(NEAREST);
            let filter = given.read("filter", |filter| {
                filters_in(&filter.options(&["project", "type", "concepts", "files", "dateRange"])?)
            })?;
            let kinds = given.read("kinds", kinds)?.unwrap_or(Kinds::ALL);
            let search = self.memory.search()?;
            Ok(move |reply: Reply<Vec<Near>>| search.nearest(to, k, kinds, filter.unwrap_or_default(), reply))
        })
    }

    /// The vector of a document, at unit length, as exactly as it is stored (16 bits a number); null where there is no such
    /// document, or it has no vector yet.
    #[napi(ts_args_type = "documentId: string", ts_return_type = "Promise<Float32Array | null>", catch_unwind)]
    pub fn get<'e>(&self, env: &'e Env, document_id: Unknown<'e>) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            let document = document(&Argument::new("documentId", &document_id))?;
            let index = Arc::clone(self.memory.index()?);
            Ok(move |reply: Reply<Answer>| {
                index.get(document, Reply::new(move |found: Result<_>| reply.settle(found.map(floats_answer))));
            })
        })
    }

    /// Takes documents out: no search finds them by their vectors any more. They stay out until their text changes, or
    /// `rebuild()`; the words of their rows are found as before. Answers how many there were.
    #[napi(ts_args_type = "documentIds: string[]", ts_return_type = "Promise<number>", catch_unwind)]
    pub fn remove<'e>(&self, env: &'e Env, document_ids: Unknown<'e>) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            let ids = Argument::new("documentIds", &document_ids).array()?;
            let documents = ids.iter().map(document).collect::<Result<Vec<_>>>()?;
            let index = Arc::clone(self.memory.index()?);
            Ok(move |reply: Reply<usize>| index.remove(documents, reply))
        })
    }

    /// Documents that wait for a vector, newest first, with their texts: with `embedder: 'external'` embed them, and hand
    /// the vectors to `put`. `limit`: 1 to 10,000, by default 100.
    #[napi(
        ts_args_type = "options?: { limit?: number } | null",
        ts_return_type = "Promise<PendingDocument[]>",
        catch_unwind
    )]
    pub fn pending<'e>(&self, env: &'e Env, options: Unknown<'e>) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            let given = Argument::new("options", &options).options(&["limit"])?;
            let limit = given.read("limit", |limit| limit.size(1..=MOST_PENDING, "documents"))?.unwrap_or(PENDING);
            let index = Arc::clone(self.memory.index()?);
            Ok(move |reply: Reply<Vec<index::Pending>>| index.pending(limit, reply))
        })
    }

    /// Stores vectors that the caller has made, with `embedder: 'external'`; each in place of the one that is there. All of
    /// them in one transaction: where one is refused (`ERR_INVALID_ARG`, naming its document) none is stored.
    ///
    /// Rejects with `ERR_MODEL_MISMATCH` where the engine embeds itself: its vectors and those of another model are near
    /// to nothing of each other.
    #[napi(ts_args_type = "vectors: GivenVector[]", ts_return_type = "Promise<PutVectors>", catch_unwind)]
    pub fn put<'e>(&self, env: &'e Env, vectors: Unknown<'e>) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            let given = Argument::new("vectors", &vectors).array()?;
            let vectors = given.iter().map(given_vector).collect::<Result<Vec<_>>>()?;
            let index = Arc::clone(self.memory.index()?);
            index.must_be_external()?;
            Ok(move |reply: Reply<Put>| index.put(vectors, reply))
        })
    }
}

impl Vectors {
    pub(super) const fn new(memory: Arc<Memory>) -> Self {
        Self { memory }
    }
}

fn document(name: &Argument<'_>) -> Result<DocumentId> {
    let text = name.text()?;
    text.parse().map_err(|error: Error| error.with("documentId", text))
}

fn kinds(value: &Argument<'_>) -> Result<Kinds> {
    let names = Kind::ALL.map(|kind| (kind.name(), kind));
    let kinds = value.array()?.iter().map(|kind| kind.one_of(&names)).collect::<Result<Vec<_>>>()?;
    if kinds.is_empty() {
        return Err(
            Error::invalid("option 'kinds' names no kind; leave it out to search all").with("argument", "kinds")
        );
    }
    Ok(Kinds::of(&kinds))
}

fn given_vector(value: &Argument<'_>) -> Result<(DocumentId, Option<i64>, Vec<f32>)> {
    let fields: Fields<'_> = value.options(&["documentId", "vector", "revision", "text"])?;
    let document = document(&fields.required("documentId")?)?;
    Ok((document, fields.read("revision", Argument::id)?, fields.required("vector")?.floats()?))
}

impl std::fmt::Debug for Vectors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vectors")
    }
}
