//! Class `Collection`: the caller's own documents.

use std::sync::Arc;

use napi::{Env, Unknown, ValueType};
use napi_derive::napi;

use super::{
    answer::{Answer, IntoAnswer, object_answer},
    arguments::{Argument, Fields, MAX_SAFE_INTEGER},
    call::{Pending, Promised, immediate, promise},
    float_array::floats_answer,
    store::deadline_in,
};
use crate::{
    error::{Error, Result},
    index::collections::{
        Document, Filter, Found, Include, Metadata, Near, NewDocument, Query, Scalar, Upserted, Which, documents,
    },
    memory::Memory,
    reply::Reply,
};

/// Documents that one `get` answers at most.
const LIMIT: usize = 100_000;
/// Those that it answers where nothing is said.
const DEFAULT_LIMIT: usize = 10_000;
/// Documents that one `query` answers at most.
const K: usize = 10_000;
/// Bytes of a filter's JSON at most.
const FILTER_BYTES: usize = 4 << 20;

object_answer!(Upserted { stored: "stored", owed: "owed", reason: "reason" });

/// A document with what was asked for of it; without that it is null, and a vector absent.
struct Shown {
    document: Document,
    distance: Option<f32>,
    vector: bool,
}

impl IntoAnswer for Shown {
    fn into_answer(self) -> Answer {
        const FOUND: [&str; 5] = ["id", "text", "metadata", "distance", "vector"];
        const KEPT: [&str; 4] = ["id", "text", "metadata", "vector"];
        let Document { id, text, metadata, vector } = self.document;
        let mut values = vec![id.into_answer(), text.into_answer(), metadata.map_or(Answer::Null, Answer::Json)];
        let keys: &'static [&'static str] = match self.distance {
            Some(distance) => {
                values.push(f64::from(distance).into_answer());
                &FOUND
            }
            None => &KEPT,
        };
        if self.vector {
            values.push(floats_answer(vector));
            Answer::Object(keys, values)
        } else {
            Answer::Object(&keys[..values.len()], values)
        }
    }
}

/// A document that is handed over: a text, a vector, or both.
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct NewDocumentInput {
    /// By which you know it: 1 to 512 bytes, unique in its collection. One that is there already is replaced as a whole.
    pub id: String,
    /// What it says (up to 1 MiB); embedded by the model, where no vector is handed over.
    pub text: Option<String>,
    /// By which it is filtered: up to 256 values and 64 KiB of JSON. Null counts as missing in filters.
    #[napi(ts_type = "Record<string, string | number | boolean | null>")]
    pub metadata: Option<String>,
    /// Your own vector, of any length but zero; kept at unit length with 16 bits a number.
    #[napi(ts_type = "Float32Array | number[]")]
    pub vector: Option<Vec<f64>>,
}

/// What an upsert has done.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct UpsertResult {
    /// Documents that are stored.
    pub stored: u32,
    /// Those of them whose vectors are not made yet: `get` finds them, `query` does not. They are made as soon as there
    /// is a model, also after a restart.
    pub owed: u32,
    /// Why vectors are owed; null where none is.
    pub reason: Option<String>,
}

/// Options of `collection.query`: `text` or `vector`.
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct CollectionQuery {
    /// Documents near to what this says.
    pub text: Option<String>,
    /// Documents near to this.
    #[napi(ts_type = "Float32Array | number[]")]
    pub vector: Option<Vec<f64>>,
    /// At most so many (1 to 10,000). Default 10.
    pub k: Option<u32>,
    /// Only documents whose metadata fits.
    #[napi(js_name = "where", ts_type = "Where")]
    pub filter: Option<String>,
    /// Only documents whose text fits.
    #[napi(ts_type = "WhereDocument")]
    pub where_document: Option<String>,
    /// Only documents up to this distance (0 to 2).
    pub max_distance: Option<f64>,
    /// What is answered beside id and distance. Default `['text', 'metadata']`.
    #[napi(ts_type = "Array<'text' | 'metadata' | 'vector'>")]
    pub include: Option<Vec<String>>,
}

/// Options of `collection.get`; without `ids`, `where` and `whereDocument` it answers all documents.
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct CollectionGet {
    /// Only these (up to 10,000); those that are not there are left out.
    pub ids: Option<Vec<String>>,
    /// Only documents whose metadata fits.
    #[napi(js_name = "where", ts_type = "Where")]
    pub filter: Option<String>,
    /// Only documents whose text fits.
    #[napi(ts_type = "WhereDocument")]
    pub where_document: Option<String>,
    /// At most so many (1 to 100,000). Default 10,000.
    pub limit: Option<u32>,
    /// Skip so many. Default 0.
    pub offset: Option<f64>,
    /// What is answered beside the id. Default `['text', 'metadata']`.
    #[napi(ts_type = "Array<'text' | 'metadata' | 'vector'>")]
    pub include: Option<Vec<String>>,
}

/// Options of `collection.delete`: one of `ids`, `where` and `whereDocument` at least; documents that fit all go.
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct CollectionDelete {
    /// Only these (up to 10,000).
    pub ids: Option<Vec<String>>,
    /// Only documents whose metadata fits.
    #[napi(js_name = "where", ts_type = "Where")]
    pub filter: Option<String>,
    /// Only documents whose text fits.
    #[napi(ts_type = "WhereDocument")]
    pub where_document: Option<String>,
    /// How long to wait for a lock that another process holds, ms. Default: `deadlineMs` of `openMemory`.
    pub deadline_ms: Option<f64>,
}

/// Options of `collection.count`.
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct CollectionCount {
    /// Only documents whose metadata fits.
    #[napi(js_name = "where", ts_type = "Where")]
    pub filter: Option<String>,
    /// Only documents whose text fits.
    #[napi(ts_type = "WhereDocument")]
    pub where_document: Option<String>,
}

/// A document of a collection.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct CollectionDocument {
    /// By which you know it.
    pub id: String,
    /// Its text; null where it has none, or it was not asked for.
    pub text: Option<String>,
    /// Its metadata, likewise.
    #[napi(ts_type = "Record<string, string | number | boolean | null> | null")]
    pub metadata: Option<String>,
    /// With `include: ['vector']`: its vector at unit length, with 16 bits a number; null while it is not made yet.
    #[napi(js_name = "vector?", ts_type = "Float32Array | null")]
    pub vector: Option<Vec<f64>>,
}

/// The caller's own documents, for workers whose tables the engine does not know: texts with metadata, found by what
/// they say, by vectors, and by conditions as users of Chroma know them. They lie in `native/collections.db`.
///
/// A promise of a write is resolved when it is durable. Clients (`role: 'client'`) read what the owner has committed;
/// their writes answer `ERR_NOT_OPEN`. A collection that is not there yet is empty.
///
/// Every method rejects with `ERR_INVALID_ARG` for an argument of the wrong form, naming it, with `ERR_DISPOSED` after
/// the memory was disposed, and with `ERR_NOT_OPEN` where it was opened without the part `'vectors'`.
#[napi]
pub struct Collection {
    memory: Arc<Memory>,
    name: String,
}

impl Collection {
    pub(super) const fn new(memory: Arc<Memory>, name: String) -> Self {
        Self { memory, name }
    }
}

/// A collection's name.
pub(super) fn collection_name(value: &Unknown<'_>) -> Result<String> {
    let name = Argument::new("name", value).nonempty_text()?;
    documents::check_name(&name)?;
    Ok(name)
}

fn new_document(value: &Argument<'_>, number: usize) -> Result<NewDocument> {
    let given = value.object()?;
    known_fields(&given, number)?;
    Ok(NewDocument {
        id: given.required("id")?.text()?,
        text: given.read("text", |value| value.text())?,
        metadata: given.read("metadata", metadata)?,
        vector: given.read("vector", |value| value.floats())?,
    })
}

fn known_fields(given: &Fields<'_>, number: usize) -> Result<()> {
    const KNOWN: [&str; 4] = ["id", "text", "metadata", "vector"];
    match given.names().find(|name| !KNOWN.contains(name)) {
        None => Ok(()),
        Some(name) => {
            let place = format!("documents[{number}].{name}");
            let known = KNOWN.join(", ");
            let message = format!("'{place}' is not known; a document has {known}: put everything else into metadata");
            Err(Error::invalid(message).with("argument", place))
        }
    }
}

fn metadata(value: &Argument<'_>) -> Result<Metadata> {
    let given = value.object()?;
    let names: Vec<String> = given.names().map(str::to_owned).collect();
    let mut values = Vec::with_capacity(names.len());
    for name in names {
        let Some(value) = given.property(&name)? else { continue };
        let scalar = match value.kind() {
            ValueType::Null => None,
            ValueType::Boolean => Some(Scalar::Boolean(value.boolean()?)),
            ValueType::Number => Some(Scalar::number(value.number()?)),
            ValueType::String => Some(Scalar::Text(value.text()?)),
            _ => return Err(value.expected("a string, a finite number, a boolean or null")),
        };
        values.push((name, scalar));
    }
    Ok(Metadata(values))
}

/// `where` and `whereDocument` in one.
fn filter(given: &Fields<'_>) -> Result<Option<Filter>> {
    let read = |name: &str, read: fn(&serde_json::Value) -> Result<Filter>| {
        given.read(name, |value| {
            let text = value.json()?;
            if text.len() > FILTER_BYTES {
                let message = format!("option '{name}' has {} bytes of JSON, the limit is {FILTER_BYTES}", text.len());
                return Err(Error::invalid(message).with("argument", name.to_owned()));
            }
            let json = serde_json::from_str(&text)
                .map_err(|error| Error::invalid(format!("option '{name}' cannot be read as JSON: {error}")))?;
            read(&json)
        })
    };
    Ok(match (read("where", Filter::metadata)?, read("whereDocument", Filter::text)?) {
        (Some(metadata), Some(text)) => Some(Filter::All(vec![metadata, text])),
        (one, other) => one.or(other),
    })
}

fn include(given: &Fields<'_>) -> Result<Include> {
    let Some(named) = given.get("include")? else {
        return Ok(Include { text: true, metadata: true, vector: false });
    };
    let mut include = Include { text: false, metadata: false, vector: false };
    for name in named.array()? {
        match name.one_of(&[("text", 0), ("metadata", 1), ("vector", 2)])? {
            0 => include.text = true,
            1 => include.metadata = true,
            _ => include.vector = true,
        }
    }
    Ok(include)
}

fn which(given: &Fields<'_>) -> Result<Which> {
    Ok(Which { ids: given.read("ids", |value| value.texts())?, filter: filter(given)? })
}

#[napi]
impl Collection {
    /// Its name.
    #[napi(getter, ts_return_type = "string", catch_unwind)]
    pub fn name<'e>(&self, env: &'e Env) -> napi::Result<Unknown<'e>> {
        immediate(env, || Ok(self.name.clone()))
    }

    /// Stores up to 10,000 documents, all or none; one whose id is there already is replaced as a whole. The first upsert
    /// makes the collection: for texts of the model; where every document has a vector, and not as many numbers as
    /// the model's (or with `embedder: 'external'`), for vectors of your own.
    ///
    /// The texts are durable before their vectors are made, and the promise resolves when both are: `query` finds them
    /// then. Where there is no model it resolves at once; the vectors are `owed`, and made as soon as there is one.
    ///
    /// Rejects with `ERR_NO_MODEL` for a document without a vector where vectors are your own, `ERR_BUSY`,
    /// `ERR_DISK_FULL`; nothing is stored then.
    #[napi(
        ts_args_type = "documents: NewDocumentInput[], options?: { deadlineMs?: number } | null",
        ts_return_type = "Promise<UpsertResult>",
        catch_unwind
    )]
    pub fn upsert<'e>(&self, env: &'e Env, documents: Unknown<'e>, options: Unknown<'e>) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            let given = Argument::new("options", &options).options(&["deadlineMs"])?;
            let deadline = self.memory.deadline(deadline_in(&given)?);
            let collections = Arc::clone(self.memory.collections_to_write()?);
            let documents = Argument::new("documents", &documents).array()?;
            documents::check_count(documents.len())?;
            let documents = documents
                .iter()
                .enumerate()
                .map(|(number, document)| new_document(document, number))
                .collect::<Result<Vec<_>>>()?;
            let name = self.name.clone();
            Ok(move |reply: Reply<Upserted>| collections.upsert(name, documents, deadline, reply))
        })
    }

    /// The documents that are nearest to a text or a vector, nearest first; distance is 1 − cosine (0: the same
    /// direction, 2: the opposite). The filters hold before the ranking.
    ///
    /// Rejects with `ERR_NO_MODEL` (with the reason) for a text where there is no model or vectors are your own,
    /// `ERR_MODEL_MISMATCH` while the vectors are of another model.
    #[napi(
        ts_args_type = "query: CollectionQuery",
        ts_return_type = "Promise<Array<CollectionDocument & { distance: number }>>",
        catch_unwind
    )]
    pub fn query<'e>(&self, env: &'e Env, query: Unknown<'e>) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            let known = ["text", "vector", "k", "where", "whereDocument", "maxDistance", "include"];
            let given = Argument::new("query", &query).options(&known)?;
            let near = match (given.get("text")?, given.get("vector")?) {
                (Some(text), None) => Near::Text(text.text()?),
                (None, Some(vector)) => Near::Vector(vector.floats()?),
                _ => {
                    let message = "give either 'text' or 'vector': near to what documents are searched for";
                    return Err(Error::invalid(message).with("argument", "text"));
                }
            };
            let max_distance = given.read("maxDistance", |value| {
                let distance = value.number()?;
                if (0.0..=2.0).contains(&distance) { Ok(distance) } else { Err(value.expected("a number from 0 to 2")) }
            })?;
            let include = include(&given)?;
            #[expect(clippy::cast_possible_truncation, reason = "from 0 to 2")]
            let query = Query {
                near,
                k: given.read("k", |value| value.size(1..=K, ""))?.unwrap_or(10),
                filter: filter(&given)?,
                max_distance: max_distance.map(|distance| distance as f32),
                include,
            };
            let (collections, name) = (Arc::clone(self.memory.collections()?), self.name.clone());
            Ok(move |reply: Reply<Vec<Shown>>| {
                let shown = move |found: Found| Shown {
                    document: found.document,
                    distance: Some(found.distance),
                    vector: include.vector,
                };
                let reply = Reply::new(move |found: Result<Vec<Found>>| {
                    reply.settle(found.map(|found| found.into_iter().map(shown).collect()));
                });
                collections.query(name, query, reply);
            })
        })
    }

    /// Documents in the order in which they first came.
    #[napi(
        ts_args_type = "options?: CollectionGet | null",
        ts_return_type = "Promise<CollectionDocument[]>",
        catch_unwind
    )]
    pub fn get<'e>(&self, env: &'e Env, options: Unknown<'e>) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            let known = ["ids", "where", "whereDocument", "limit", "offset", "include"];
            let given = Argument::new("options", &options).options(&known)?;
            let (which, include) = (which(&given)?, include(&given)?);
            let limit = given.read("limit", |value| value.size(1..=LIMIT, ""))?.unwrap_or(DEFAULT_LIMIT);
            let most = usize::try_from(MAX_SAFE_INTEGER).unwrap_or(usize::MAX);
            let offset = given.read("offset", |value| value.size(0..=most, ""))?.unwrap_or(0);
            let (collections, name) = (Arc::clone(self.memory.collections()?), self.name.clone());
            Ok(move |reply: Reply<Vec<Shown>>| {
                let shown = move |document| Shown { document, distance: None, vector: include.vector };
                let reply = Reply::new(move |found: Result<Vec<Document>>| {
                    reply.settle(found.map(|found| found.into_iter().map(shown).collect()));
                });
                collections.get(name, which, offset, limit, include, reply);
            })
        })
    }

    /// Removes documents. Resolves how many there were.
    #[napi(ts_args_type = "options: CollectionDelete", ts_return_type = "Promise<number>", catch_unwind)]
    pub fn delete<'e>(&self, env: &'e Env, options: Unknown<'e>) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            let known = ["ids", "where", "whereDocument", "deadlineMs"];
            let given = Argument::new("options", &options).options(&known)?;
            let which = which(&given)?;
            let deadline = self.memory.deadline(deadline_in(&given)?);
            let (collections, name) = (Arc::clone(self.memory.collections_to_write()?), self.name.clone());
            Ok(move |reply: Reply<usize>| collections.delete(name, which, deadline, reply))
        })
    }

    /// How many documents there are; with a filter, how many fit.
    #[napi(ts_args_type = "options?: CollectionCount | null", ts_return_type = "Promise<number>", catch_unwind)]
    pub fn count<'e>(&self, env: &'e Env, options: Unknown<'e>) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            let given = Argument::new("options", &options).options(&["where", "whereDocument"])?;
            let filter = filter(&given)?;
            let (collections, name) = (Arc::clone(self.memory.collections()?), self.name.clone());
            Ok(move |reply: Reply<u64>| collections.count(name, filter, reply))
        })
    }
}

impl std::fmt::Debug for Collection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Collection").field("name", &self.name).finish_non_exhaustive()
    }
}
