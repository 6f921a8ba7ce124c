//! Class `Vectors`: collections of the caller's own documents.

use std::sync::Arc;

use napi::{Env, Unknown};
use napi_derive::napi;

use super::{
    answer::{Answer, IntoAnswer},
    arguments::Argument,
    call::{Pending, Promised, immediate, promise},
    collection::{Collection, collection_name},
    store::deadline_in,
    vectors::Vectors,
};
use crate::{
    index::collections::{Listed, documents::DIMENSIONS},
    reply::Reply,
    settings::Precision,
};

impl IntoAnswer for Listed {
    fn into_answer(self) -> Answer {
        let Self { name, count, owed, dimensions, model, created_at_epoch, in_memory } = self;
        Answer::object(
            &["name", "count", "owed", "dimensions", "model", "createdAtEpoch", "answers", "precision", "memoryBytes"],
            [
                name.into_answer(),
                count.into_answer(),
                owed.into_answer(),
                dimensions.into_answer(),
                model.into_answer(),
                created_at_epoch.into_answer(),
                in_memory.answers.as_str().into_answer(),
                in_memory.precision.map(Precision::as_str).into_answer(),
                in_memory.bytes.into_answer(),
            ],
        )
    }
}

/// A collection, as it is listed.
#[napi(object, object_from_js = false, use_nullable = true)]
#[derive(Debug)]
pub struct CollectionInfo {
    /// Its name.
    pub name: String,
    /// Documents in it.
    pub count: f64,
    /// Those of them whose vectors are not made yet, so that `query` does not find them.
    pub owed: f64,
    /// Numbers in a vector.
    pub dimensions: u32,
    /// The model that makes vectors of its texts; null where every vector is the caller's own.
    pub model: Option<String>,
    /// When it was made, epoch ms.
    pub created_at_epoch: f64,
    /// How a search of it is answered at present: `'exact'`, every vector in memory is compared; `'graph'`, by a graph above
    /// them; `'rebuilding'`, exactly until that graph is there; `'fromFile'`, read from the file: before the first search
    /// has read them, while it does, and where they would be more than `vectorMemoryBudget`.
    #[napi(ts_type = "'exact' | 'graph' | 'rebuilding' | 'fromFile'")]
    pub answers: String,
    /// How its vectors are kept in memory; null where none are.
    #[napi(ts_type = "'i16' | 'i8' | null")]
    pub precision: Option<String>,
    /// Bytes of its vectors in memory, with their graph.
    pub memory_bytes: f64,
}

/// Options of `createCollection`.
#[napi(object, object_to_js = false)]
#[derive(Debug)]
pub struct CreateCollectionOptions {
    /// For vectors of your own: how many numbers each has (1 to 4,096). Without it texts are embedded by the model.
    pub dimensions: Option<u32>,
    /// How long to wait for a lock that another process holds, ms. Default: `deadlineMs` of `openMemory`.
    pub deadline_ms: Option<f64>,
}

#[napi]
impl Vectors {
    /// The collection with this name (1 to 512 bytes), whether or not it is there yet: the first `upsert` makes it.
    #[napi(ts_args_type = "name: string", ts_return_type = "Collection", catch_unwind)]
    pub fn collection<'e>(&self, env: &'e Env, name: Unknown<'e>) -> napi::Result<Unknown<'e>> {
        immediate(env, || {
            let name = collection_name(&name)?;
            Ok(Answer::instance(Collection::new(Arc::clone(&self.memory), name)))
        })
    }

    /// Makes a collection where there is none of this name. Only needed for vectors of your own that have as many numbers
    /// as the model's: else the first `upsert` tells. Rejects with `ERR_INVALID_ARG` where there is one with other
    /// vectors.
    #[napi(
        ts_args_type = "name: string, options?: CreateCollectionOptions | null",
        ts_return_type = "Promise<void>",
        catch_unwind
    )]
    pub fn create_collection<'e>(
        &self,
        env: &'e Env,
        name: Unknown<'e>,
        options: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            let name = collection_name(&name)?;
            let given = Argument::new("options", &options).options(&["dimensions", "deadlineMs"])?;
            let dimensions = given.read("dimensions", |value| value.size(1..=DIMENSIONS, "numbers"))?;
            let deadline = self.memory.deadline(deadline_in(&given)?);
            let collections = Arc::clone(self.memory.collections_to_write()?);
            Ok(move |reply: Reply<()>| collections.create(name, dimensions, deadline, reply))
        })
    }

    /// All collections, by name.
    #[napi(ts_return_type = "Promise<CollectionInfo[]>", catch_unwind)]
    pub fn collections<'e>(&self, env: &'e Env) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            let collections = Arc::clone(self.memory.collections()?);
            Ok(move |reply: Reply<Vec<Listed>>| collections.list(reply))
        })
    }

    /// Removes a collection with all its documents. Resolves whether there was one.
    #[napi(
        ts_args_type = "name: string, options?: { deadlineMs?: number } | null",
        ts_return_type = "Promise<boolean>",
        catch_unwind
    )]
    pub fn drop_collection<'e>(
        &self,
        env: &'e Env,
        name: Unknown<'e>,
        options: Unknown<'e>,
    ) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            let name = collection_name(&name)?;
            let given = Argument::new("options", &options).options(&["deadlineMs"])?;
            let deadline = self.memory.deadline(deadline_in(&given)?);
            let collections = Arc::clone(self.memory.collections_to_write()?);
            Ok(move |reply: Reply<bool>| collections.drop_collection(name, deadline, reply))
        })
    }
}
