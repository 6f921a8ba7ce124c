//! The caller's own documents, in `native/collections.db`: for workers whose tables the engine does not know.
//!
//! A collection has documents: an id, a text, metadata, a vector. What is written is durable when it is answered, as
//! everything that cannot be derived. Vectors are made of texts by the model, after the text is stored ([`embedding`]),
//! or handed over. [`storage`] is what is written, [`reading`] what is read, [`where_filter`] by what it is chosen,
//! [`loaded`] what of it is in memory, [`graph_file`] and [`keeping`] the graphs between two opens, [`format`] and
//! [`files`] how the file is opened.

mod closing;
pub mod damage;
pub mod documents;
mod embedding;
mod files;
mod filter_sets;
pub mod format;
mod graph_file;
mod identity;
mod keeping;
pub mod loaded;
mod querying;
pub mod reading;
pub mod scan;
pub mod storage;
#[cfg(test)]
mod tests;
pub mod where_filter;

use std::{
    any::Any,
    sync::{
        Arc, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use rusqlite::Connection;
use serde_json::json;

pub use self::{
    documents::{Document, Include, Metadata, NewDocument, Scalar},
    files::only_the_owner,
    loaded::{Found, InMemory},
    where_filter::Filter,
};
use self::{
    documents::{check, check_ids, check_name, check_query},
    embedding::{Embedding, Waiting},
    files::Files,
    identity::Probed,
    keeping::Keeping,
    loaded::Loaded,
    storage::{Space, Stored},
};
use crate::{
    clock,
    db::{Budget, Call, Writer, activity::Activity},
    embedder::{Availability, Embedder, Identity, WaitingLine},
    error::{Code, Error, Result},
    reply::Reply,
    settings::{Role, Settings},
};

/// The collections of a data directory.
pub struct Collections {
    shared: Arc<Shared>,
    embedding: Embedding,
    keeping: Keeping,
    /// Where queries wait for the vectors of their texts.
    waiting_line: WaitingLine,
    /// Whether vectors are owed that nobody is making, for want of a model.
    owes: AtomicBool,
}

/// What the threads share.
struct Shared {
    settings: Arc<Settings>,
    embedder: Arc<dyn Embedder>,
    files: Files,
    loaded: Loaded,
    probed: Probed,
}

/// What an upsert has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Upserted {
    /// Documents that are stored.
    pub stored: usize,
    /// Those of them whose vectors are not made yet.
    pub owed: usize,
    /// Why, where there are any.
    pub reason: Option<String>,
}

/// A collection, as it is listed.
#[derive(Debug, Clone, PartialEq)]
pub struct Listed {
    /// By which its owner knows it.
    pub name: String,
    /// Documents in it.
    pub count: u64,
    /// Those of them whose vectors are not made yet.
    pub owed: u64,
    /// Numbers in a vector.
    pub dimensions: usize,
    /// The model that makes vectors of its texts; none where they are the caller's own.
    pub model: Option<String>,
    /// When it was made, epoch ms.
    pub created_at_epoch: i64,
    /// How its vectors are in memory.
    pub in_memory: InMemory,
}

/// Near to what.
#[derive(Debug, Clone)]
pub enum Near {
    /// What this says.
    Text(String),
    /// This.
    Vector(Vec<f32>),
}

/// What is searched for.
#[derive(Debug, Clone)]
pub struct Query {
    /// Near to what.
    pub near: Near,
    /// How many documents at most.
    pub k: usize,
    /// Only those that it holds for.
    pub filter: Option<Filter>,
    /// Only those up to this distance.
    pub max_distance: Option<f32>,
    /// What of them is answered.
    pub include: Include,
}

/// Which documents.
#[derive(Debug, Clone, Default)]
pub struct Which {
    /// Those with these ids.
    pub ids: Option<Vec<String>>,
    /// Those that it holds for.
    pub filter: Option<Filter>,
}

impl Collections {
    /// Opens the file where there is one; threads start when they are first needed. The owner's `guard` lives as long as
    /// its writer.
    ///
    /// # Errors
    /// `ERR_SCHEMA_UNSUPPORTED` where a later engine wrote the file, `ERR_CORRUPT`, `ERR_IO`, `ERR_BUSY`.
    pub fn open(
        settings: &Arc<Settings>,
        embedder: Arc<dyn Embedder>,
        budget: &Arc<Budget>,
        activity: &Arc<Activity>,
        guard: Option<Arc<dyn Any + Send + Sync>>,
    ) -> Result<Self> {
        let files = Files::open(settings, &identity_text(embedder.identity()), budget, activity, guard)?;
        let (behind, loaded) = (files.behind, Loaded::new(settings));
        let shared =
            Arc::new(Shared { settings: Arc::clone(settings), embedder, files, loaded, probed: Probed::default() });
        let (embedding, keeping) = (Embedding::default(), Keeping::default());
        let waiting_line = WaitingLine::new("cm-collect-wait", settings.readers, Arc::clone(activity));
        let opened = Self { shared, embedding, keeping, waiting_line, owes: AtomicBool::new(behind) };
        opened.pay_what_is_owed();
        Ok(opened)
    }

    /// Has vectors made that are owed from before, once there is a model.
    fn pay_what_is_owed(&self) {
        if self.owes.load(Ordering::Relaxed)
            && self.shared.can_embed().is_ok()
            && self.owes.swap(false, Ordering::Relaxed)
        {
            self.embedding.ask(&self.shared, None);
        }
    }

    /// Stores documents, each as it is given, and has their vectors made. Answered once both is done, or once it is
    /// known that a vector cannot be made now: it is owed then, and made as soon as there is a model.
    pub fn upsert(
        self: &Arc<Self>,
        name: String,
        documents: Vec<NewDocument>,
        deadline: Instant,
        reply: Reply<Upserted>,
    ) {
        if let Err(error) = check_name(&name).and_then(|()| check(&documents)) {
            return reply.settle(Err(error));
        }
        let space = match self.space_for(&documents) {
            Ok(space) => space,
            Err(error) => return reply.settle(Err(error)),
        };
        let bytes = documents.iter().map(NewDocument::bytes).sum();
        let run = move |db: &Connection| {
            let now = clock::now_epoch();
            let collection = match (reading::find(db, &name)?, &space) {
                (Some(found), _) => found,
                (None, Some(space)) => storage::create(db, &name, space, now)?,
                (None, None) => return Ok(Stored::default()),
            };
            storage::upsert(db, &collection, &documents, now)
        };
        let own = Arc::clone(self);
        let reply = Reply::new(move |stored: Result<Stored>| match stored {
            Ok(Stored { documents, owed }) if !owed.is_empty() => own.wait_for_vectors(documents, owed, reply),
            other => reply.settle(other.map(|stored| Upserted { stored: stored.documents, owed: 0, reason: None })),
        });
        self.writer().submit(Call::new("collection.upsert", deadline, run, reply).bytes(bytes));
    }

    /// What a collection is that these documents make; none where there are none.
    fn space_for(&self, documents: &[NewDocument]) -> Result<Option<Space>> {
        let identity = self.shared.embedder.identity();
        let own = |dimensions| Some(Space::Given { dimensions });
        let first = documents.iter().find_map(|document| document.vector.as_ref()).map(Vec::len);
        let has_texts_alone = documents.iter().position(|document| document.vector.is_none());
        if self.shared.embedder.availability() == Availability::External {
            if let Some(number) = has_texts_alone {
                return Err(Error::new(
                    Code::NoModel,
                    format!(
                        "'documents[{number}]' has no vector, and this memory was opened with embedder: 'external'; hand \
                         one over with each document"
                    ),
                ));
            }
            return Ok(first.and_then(own));
        }
        let of_model = || Space::Model { identity: identity_text(identity), dimensions: identity.dimensions };
        Ok(match (first, has_texts_alone) {
            (None, None) => None,
            (Some(dimensions), None) if dimensions != identity.dimensions => own(dimensions),
            _ => Some(of_model()),
        })
    }

    fn wait_for_vectors(&self, stored: usize, keys: Vec<i64>, reply: Reply<Upserted>) {
        self.pay_what_is_owed();
        if let Err(error) = self.shared.can_embed() {
            self.owes.store(true, Ordering::Relaxed);
            let owed = keys.len();
            return reply.settle(Ok(Upserted { stored, owed, reason: Some(error.message) }));
        }
        let reply = Reply::new(move |made: Result<(usize, Option<String>)>| {
            reply.settle(made.map(|(owed, reason)| Upserted { stored, owed, reason }));
        });
        self.embedding.ask(&self.shared, Some(Waiting { keys, reply }));
    }

    /// Makes a collection where there is none of this name: for vectors of the caller's own where it is told how many
    /// numbers they have, else for texts.
    pub fn create(&self, name: String, dimensions: Option<usize>, deadline: Instant, reply: Reply<()>) {
        if let Err(error) = check_name(&name) {
            return reply.settle(Err(error));
        }
        let identity = self.shared.embedder.identity();
        let space = match dimensions {
            Some(dimensions) => Space::Given { dimensions },
            None if self.shared.embedder.availability() == Availability::External => {
                return reply.settle(Err(Error::invalid(
                    "option 'dimensions' is missing: with embedder: 'external' it says how many numbers a vector has",
                )
                .with("argument", "dimensions")));
            }
            None => Space::Model { identity: identity_text(identity), dimensions: identity.dimensions },
        };
        let run = move |db: &Connection| storage::create(db, &name, &space, clock::now_epoch()).map(drop);
        self.writer().call("createCollection", deadline, run, reply);
    }

    /// Removes a collection with all its documents; answers whether there was one.
    pub fn drop_collection(self: &Arc<Self>, name: String, deadline: Instant, reply: Reply<bool>) {
        let run = move |db: &Connection| {
            let found = reading::find(db, &name)?;
            storage::drop_collection(db, &name)?;
            Ok(found.map(|found| found.id))
        };
        let own = Arc::clone(self);
        let reply = Reply::new(move |dropped: Result<Option<i64>>| {
            if let Ok(Some(id)) = dropped {
                own.shared.loaded.forget(id);
                // One that stays is tidied away at the next open.
                drop(own.shared.loaded.files().keep_only(id, None));
            }
            reply.settle(dropped.map(|id| id.is_some()));
        });
        self.writer().call("dropCollection", deadline, run, reply);
    }

    /// Removes documents; answers how many.
    pub fn delete(&self, name: String, which: Which, deadline: Instant, reply: Reply<usize>) {
        if let Err(error) = which.ids.as_deref().map_or(Ok(()), check_ids) {
            return reply.settle(Err(error));
        }
        if which.ids.is_none() && which.filter.is_none() {
            return reply.settle(Err(Error::invalid(
                "say which documents: give 'ids', 'where' or 'whereDocument'; to remove all use dropCollection",
            )));
        }
        let run = move |db: &Connection| {
            let Some(found) = reading::find(db, &name)? else { return Ok(0) };
            let keys = reading::chosen(db, found.id, which.ids.as_deref(), which.filter.as_ref(), 0, None)?;
            storage::remove(db, found.id, &keys)
        };
        self.writer().call("collection.delete", deadline, run, reply);
    }

    /// Lists the collections, by name.
    pub fn list(&self, reply: Reply<Vec<Listed>>) {
        let loaded = Arc::clone(&self.shared);
        let read = move |db: &Connection| {
            let loaded = &loaded.loaded;
            let transaction = db.unchecked_transaction()?;
            let listed = reading::all(&transaction)?.into_iter().map(|info| {
                let (count, owed) = reading::counts(&transaction, info.id)?;
                Ok(Listed {
                    count,
                    owed,
                    dimensions: info.space.dimensions(),
                    model: info.space.model().map(model_name),
                    name: info.name,
                    created_at_epoch: info.created_at_epoch,
                    in_memory: loaded.in_memory(info.id),
                })
            });
            listed.collect()
        };
        self.shared.files.readers.call("collections", read, reply);
    }

    /// Documents in the order in which they first came.
    pub fn get(
        &self,
        name: String,
        which: Which,
        offset: usize,
        limit: usize,
        include: Include,
        reply: Reply<Vec<Document>>,
    ) {
        if let Err(error) = which.ids.as_deref().map_or(Ok(()), check_ids) {
            return reply.settle(Err(error));
        }
        let read = move |db: &Connection| {
            let db = db.unchecked_transaction()?;
            let Some(found) = reading::find(&db, &name)? else { return Ok(Vec::new()) };
            let (ids, filter) = (which.ids.as_deref(), which.filter.as_ref());
            let keys = reading::chosen(&db, found.id, ids, filter, offset, Some(limit))?;
            let mut documents = reading::Documents::of(&db, include)?;
            keys.into_iter().filter_map(|key| documents.read(key).transpose()).collect()
        };
        self.shared.files.readers.call("collection.get", read, reply);
    }

    /// How many documents there are; with a filter, how many it holds for.
    pub fn count(&self, name: String, filter: Option<Filter>, reply: Reply<u64>) {
        let read = move |db: &Connection| {
            let db = db.unchecked_transaction()?;
            let Some(found) = reading::find(&db, &name)? else { return Ok(0) };
            reading::count(&db, found.id, filter.as_ref())
        };
        self.shared.files.readers.call("collection.count", read, reply);
    }

    /// The documents that are nearest to a text or a vector, nearest first. What is owed is not found.
    pub fn query(self: &Arc<Self>, name: String, query: Query, reply: Reply<Vec<Found>>) {
        if let Near::Vector(vector) = &query.near
            && let Err(error) = check_query(vector)
        {
            return reply.settle(Err(error));
        }
        if self.shared.settings.role == Role::Owner {
            self.pay_what_is_owed();
        }
        let own = Arc::clone(self);
        let reply = Reply::new(move |found: Result<Vec<Found>>| {
            let of_another_model = found.as_ref().is_err_and(|error| error.code == Code::ModelMismatch);
            if of_another_model && own.shared.settings.role == Role::Owner {
                own.embedding.ask(&own.shared, None);
            }
            if own.shared.loaded.has_news() {
                own.keeping.changed(&own.shared);
            }
            reply.settle(found);
        });
        self.search(querying::Asked { name, query, made: None }, reply);
    }

    /// Has vectors that are damaged made again of their texts; answers how many. One that was handed over cannot be.
    pub fn owe_damaged_vectors(self: &Arc<Self>, deadline: Instant, reply: Reply<usize>) {
        let own = Arc::clone(self);
        let reply = Reply::new(move |owed: Result<usize>| {
            if owed.as_ref().is_ok_and(|owed| *owed > 0) {
                own.embedding.ask(&own.shared, None);
            }
            reply.settle(owed);
        });
        self.writer().call("repair", deadline, damage::owe_damaged_vectors, reply);
    }

    /// Bytes of vectors in memory.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.shared.loaded.bytes()
    }

    /// The writer of the file.
    #[must_use]
    pub fn writer(&self) -> &Writer {
        &self.shared.files.writer
    }

    /// Lets what was begun finish, and closes the file. Vectors that are not made yet stay owed; whoever waits for them
    /// is told. A graph that is not in a file yet is saved where that is quick. Twice without harm.
    pub fn close(&self, bound: Duration) {
        // Whoever comes to the line from a reader after this is told the same.
        self.waiting_line.shut();
        self.embedding.close(bound);
        self.shared.files.readers.close(bound);
        self.waiting_line.join(bound);
        self.keeping.close(bound);
        self.shared.files.writer.close(bound);
        drop(self.shared.files.held.lock().unwrap_or_else(PoisonError::into_inner).take());
    }
}

/// `collections.model`: what makes two vectors comparable.
fn identity_text(identity: &Identity) -> String {
    let Identity { name, dimensions, pooling, max_tokens } = identity;
    json!({ "name": name, "dimensions": dimensions, "pooling": pooling, "maxTokens": max_tokens }).to_string()
}

/// The name in a `collections.model`.
fn model_name(identity: &str) -> String {
    let read: serde_json::Value = serde_json::from_str(identity).unwrap_or_default();
    read["name"].as_str().unwrap_or(identity).to_owned()
}
