//! What is near to a text or a vector, on a reader of `native/collections.db`; a text's vector that is not to be had at once
//! is made while no reader waits for it.
//!
//! A query begins on a reader, which looks whose vectors the collection has. Where the model is not in memory it gives the
//! reader back, has the vector made in the waiting line, and begins again with it: whatever became of the collection
//! meanwhile is seen then.

use std::sync::Arc;

use rusqlite::Connection;

use super::{
    Collections, Found, Near, Query, Shared,
    identity::Verdict,
    identity_text,
    loaded::Ask,
    model_name,
    reading::{self, Info},
};
use crate::{
    embedder::WaitingLine,
    error::{Code, Error, Result},
    reply::Reply,
    settings::Role,
};

/// A query on its way.
pub(super) struct Asked {
    /// Of which collection.
    pub name: String,
    /// What is searched for.
    pub query: Query,
    /// The vector of its text, where that had to be waited for.
    pub made: Option<Arc<[f32]>>,
}

/// How far a query has come on a reader.
enum Came {
    ToItsEnd(Vec<Found>),
    /// It lacks the vector of its text; with whether the collection's vectors are to be compared with the model's.
    ToItsText(Asked, bool),
}

/// The vector of a text, as far as a reader has come with it.
enum OfText {
    Made(Arc<[f32]>),
    Lacking { probes: bool },
}

impl Collections {
    /// Searches on a reader, as often as it takes: each time but the last a vector was lacking.
    pub(super) fn search(self: &Arc<Self>, asked: Asked, reply: Reply<Vec<Found>>) {
        let (own, here) = (Arc::clone(self), Arc::clone(self));
        let read = move |db: &Connection| here.shared.search(db, asked, &here.waiting_line);
        let reply = Reply::new(move |came: Result<Came>| match came {
            Ok(Came::ToItsEnd(found)) => reply.settle(Ok(found)),
            Ok(Came::ToItsText(asked, probes)) => own.make(asked, probes, reply),
            Err(error) => reply.settle(Err(error)),
        });
        self.shared.files.readers.call("collection.query", read, reply);
    }

    /// Has the vector made that a query lacks, and lets it begin again.
    fn make(self: &Arc<Self>, asked: Asked, probes: bool, reply: Reply<Vec<Found>>) {
        let shared = Arc::clone(&self.shared);
        let make = move || -> Result<Asked> {
            let Near::Text(text) = &asked.query.near else { return Ok(asked) };
            let made = Some(shared.embedder.query(text)?);
            if probes {
                shared.probed.made(&*shared.embedder)?;
            }
            Ok(Asked { made, ..asked })
        };
        let own = Arc::clone(self);
        let reply = Reply::new(move |made: Result<Result<Asked>>| match made.flatten() {
            Ok(asked) => own.search(asked, reply),
            Err(error) => reply.settle(Err(error)),
        });
        self.waiting_line.call("collection.query", make, reply);
    }
}

impl Shared {
    fn search(&self, db: &Connection, asked: Asked, line: &WaitingLine) -> Result<Came> {
        let of_text;
        let vector: &[f32] = match &asked.query.near {
            Near::Vector(vector) => vector,
            Near::Text(text) => match self.embedded(db, &asked.name, text, asked.made.as_ref(), line)? {
                OfText::Made(vector) => {
                    of_text = vector;
                    &of_text
                }
                OfText::Lacking { probes } => return Ok(Came::ToItsText(asked, probes)),
            },
        };
        let Query { k, max_distance, include, ref filter, .. } = asked.query;
        let ask = Ask { vector, k, filter: filter.as_ref(), max_distance, include };
        self.loaded.search(db, &asked.name, &ask).map(Came::ToItsEnd)
    }

    /// The vector of a query's text, where those of the collection are of the same model; `made`, where that is it.
    fn embedded(
        &self,
        db: &Connection,
        name: &str,
        text: &str,
        made: Option<&Arc<[f32]>>,
        line: &WaitingLine,
    ) -> Result<OfText> {
        let info = reading::find(db, name)?;
        if let Some(info) = &info {
            self.may_be_of_this_model(name, info)?;
        }
        if self.settings.role == Role::Client && !self.settings.model.for_client {
            return Err(Error::new(
                Code::NoModel,
                "this memory is a client, and loads no model unless it is told to: open it with clientModel: true, or \
                 query with a vector",
            ));
        }
        let probes = info.as_ref().is_some_and(|info| !self.probed.is_known(info.id));
        let vector = match (made, self.embedder.remembered(text)) {
            // The model is not asked here for what it has made of the probes, either.
            _ if probes => None,
            (Some(made), _) => Some(Arc::clone(made)),
            (None, Some(known)) => Some(known),
            (None, None) => line.here(|| self.embedder.query_now(text))?,
        };
        let Some(vector) = vector else { return Ok(OfText::Lacking { probes }) };
        if let Some(info) = &info
            && self.probed.compare(db, info.id, &*self.embedder)? == Verdict::Other
        {
            return Err(self.mismatch(name, "another model of that name"));
        }
        Ok(OfText::Made(vector))
    }

    /// What is known without the model.
    fn may_be_of_this_model(&self, name: &str, info: &Info) -> Result<()> {
        match info.space.model() {
            None => {
                let message = format!(
                    "the vectors of the collection '{name}' are your own, so there is no model that could tell which are \
                     near to a text; query it with a vector"
                );
                Err(Error::new(Code::NoModel, message))
            }
            Some(model) if model != identity_text(self.embedder.identity()) => {
                // Where there is no model either, that is what is to be mended.
                self.can_embed()?;
                Err(self.mismatch(name, &format!("the model {}", model_name(model))))
            }
            Some(_) => Ok(()),
        }
    }

    fn mismatch(&self, name: &str, of: &str) -> Error {
        let when = match self.settings.role {
            Role::Owner => "they are being made again; try again soon",
            Role::Client => "the worker makes them again when it runs with this model",
        };
        let ours = &self.embedder.identity().name;
        let message = format!("the vectors of the collection '{name}' are of {of}, not of {ours}: {when}");
        Error::new(Code::ModelMismatch, message)
    }
}
