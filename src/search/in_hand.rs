//! What a search has that no reader should wait for: vectors that a model makes which may have to be loaded first.
//!
//! A search begins on a reader with nothing in hand. Where it comes to need a vector that is not to be had at once it
//! stops ([`Stop::Lacks`]) and gives its reader back; the vector is made in the index's waiting line, and the search begins
//! again with it in hand. So nothing is decided before the reader knows what the search needs, and between the decision and
//! the use of the model nothing can change: the reader uses the model where it has found it in memory, or not at all.

use std::{collections::HashMap, sync::Arc};

use rusqlite::Connection;

use super::service::{Answered, Search};
use crate::{
    embedder::Priority,
    error::{Error, Result},
    reply::Reply,
};

/// How often a search begins again at most. A second time for the query, a third for what was just stored; then rows
/// change faster than they are read.
const MOST_ROUNDS: u32 = 5;

/// Vectors that were made for a search.
#[derive(Debug, Clone, Default)]
pub(super) struct InHand {
    rounds: u32,
    query: Option<Result<Arc<[f32]>>>,
    documents: HashMap<String, Vec<f32>>,
    /// Why those of documents cannot be made.
    failure: Option<Error>,
}

/// What has to be made before a search can go on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Lack {
    /// The vector of the query.
    Query(String),
    /// Those of some documents' texts.
    Documents(Vec<String>),
}

/// Why a search goes no further on this reader.
#[derive(Debug)]
pub(super) enum Stop {
    /// It failed.
    Failed(Error),
    /// It waits for something.
    Lacks(Lack),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<rusqlite::Error> for Stop {
    fn from(error: rusqlite::Error) -> Self {
        Self::Failed(error.into())
    }
}

/// How far a search has come on a reader.
enum Came<T> {
    ToItsEnd(T),
    To(Lack),
}

/// What a search does on a reader; it may be done again.
pub(super) type Work<T> = Arc<dyn Fn(&Search, &Connection, &InHand) -> Answered<T> + Send + Sync>;

impl Search {
    /// The vector of a query, or why there is none.
    pub(super) fn query_vector(&self, text: &str, in_hand: &InHand) -> Answered<Result<Arc<[f32]>>> {
        if let Some(made) = &in_hand.query {
            return Ok(made.clone());
        }
        match self.index().query_vector_now(text).transpose() {
            Some(made) => Ok(made),
            None => Err(Stop::Lacks(Lack::Query(text.to_owned()))),
        }
    }

    /// The vectors of documents' texts, or why there are none.
    pub(super) fn vectors_of(&self, texts: &[&str], in_hand: &InHand) -> Answered<Result<Vec<Vec<f32>>>> {
        if let Some(failure) = &in_hand.failure {
            return Ok(Err(failure.clone()));
        }
        let known: Option<Vec<_>> = texts.iter().map(|text| in_hand.documents.get(*text).cloned()).collect();
        if let Some(known) = known {
            return Ok(Ok(known));
        }
        if in_hand.rounds >= MOST_ROUNDS {
            return Ok(self.index().embedder().embed(texts, Priority::Query));
        }
        match self.index().embed_now(texts).transpose() {
            Some(made) => Ok(made),
            None => Err(Stop::Lacks(Lack::Documents(texts.iter().map(|text| (*text).to_owned()).collect()))),
        }
    }

    /// Does `work` on a reader of the index, which is up to date then, as often as it takes.
    pub(super) fn go_on<T: Send + 'static>(&self, name: &'static str, work: Work<T>, in_hand: InHand, reply: Reply<T>) {
        let in_hand = Arc::new(in_hand);
        let (here, run, had) = (self.clone(), Arc::clone(&work), Arc::clone(&in_hand));
        let read = move |db: &Connection| match run(&here, db, &had) {
            Ok(answer) => Ok(Came::ToItsEnd(answer)),
            Err(Stop::Lacks(lack)) => Ok(Came::To(lack)),
            Err(Stop::Failed(error)) => Err(error),
        };
        let search = self.clone();
        let reply = Reply::new(move |came: Result<Came<T>>| match came {
            Ok(Came::ToItsEnd(answer)) => reply.settle(Ok(answer)),
            Ok(Came::To(lack)) => search.make(name, lack, work, InHand::clone(&in_hand), reply),
            Err(error) => reply.settle(Err(error)),
        });
        self.index().read(name, read, reply);
    }

    /// Has made in the waiting line what a search lacks, and lets it begin again.
    fn make<T: Send + 'static>(&self, name: &'static str, lack: Lack, work: Work<T>, in_hand: InHand, reply: Reply<T>) {
        let (index, search) = (Arc::clone(self.index()), self.clone());
        let make = move || {
            let mut in_hand = in_hand;
            in_hand.rounds += 1;
            match lack {
                Lack::Query(text) => in_hand.query = Some(index.query_vector(&text)),
                Lack::Documents(texts) => {
                    let borrowed: Vec<&str> = texts.iter().map(String::as_str).collect();
                    match index.embedder().embed(&borrowed, Priority::Query) {
                        Ok(vectors) => in_hand.documents.extend(texts.into_iter().zip(vectors)),
                        Err(error) => in_hand.failure = Some(error),
                    }
                }
            }
            in_hand
        };
        let reply = Reply::new(move |made: Result<InHand>| match made {
            Ok(in_hand) => search.go_on(name, work, in_hand, reply),
            Err(error) => reply.settle(Err(error)),
        });
        self.index().waiting_line().call(name, make, reply);
    }
}
