//! Class `Store`: the tables of claude-mem, as promises. One file a table or concept, as in [`crate::store`].

mod observations;
mod options;
mod prompts;
mod response;
pub mod rows;
mod sessions;
mod summaries;
mod text_search;
mod timeline;
mod totals;

use std::{sync::Arc, time::Duration};

use napi::Env;
use napi_derive::napi;
use rusqlite::Connection;

use super::{
    answer::IntoAnswer,
    call::{Pending, Promised, promise},
};
use crate::{db::Call, error::Result, memory::Memory, reply::Reply};

pub use options::{ByIdsOptions, ContextOptions, DateRange, RowOptions, SearchOptions, WriteOptions};
pub(in crate::js) use options::{deadline_in, filters_in, one_or_many};
pub use response::{Answered, ObservationInput, SessionResponse, StoredRow, SummaryInput, observations_of, summary_of};

/// The tables of claude-mem: sessions, observations, summaries and prompts, and full-text search in them.
///
/// Rows are objects whose keys are the column names; SQL NULL is `null`. A write is durable when its promise
/// resolves; where another process holds the file's write lock it waits until its deadline (`deadlineMs`, 5 s
/// where `openMemory` says nothing else), then rejects with `ERR_BUSY` and never runs. Reads wait for nobody.
///
/// Every method rejects with `ERR_INVALID_ARG` for an argument of the wrong form, naming it, and with
/// `ERR_DISPOSED` after the memory was disposed, `ERR_NOT_OPEN` where it was opened without the part `'store'`.
#[napi]
#[derive(Debug)]
pub struct Store {
    memory: Arc<Memory>,
}

/// A write that was prepared: its arguments are checked.
struct Prepared<R> {
    run: R,
    bytes: usize,
    deadline: Option<Duration>,
}

impl Store {
    pub(in crate::js) const fn new(memory: Arc<Memory>) -> Self {
        Self { memory }
    }

    /// Reads on a reader thread; `prepare` checks the arguments.
    fn read<'e, T, R>(
        &self,
        env: &'e Env,
        name: &'static str,
        prepare: impl FnOnce() -> Result<R>,
    ) -> napi::Result<Promised<'e>>
    where
        T: IntoAnswer + Send + 'static,
        R: FnOnce(&Connection) -> Result<T> + Send + 'static,
    {
        read(&self.memory, env, name, prepare)
    }

    /// Writes on the writer thread; `prepare` checks the arguments. `finish` turns what was committed into what
    /// is answered.
    fn write<'e, T, A, R>(
        &self,
        env: &'e Env,
        name: &'static str,
        prepare: impl FnOnce() -> Result<Prepared<R>>,
        finish: impl FnOnce(T) -> Result<A> + Send + 'static,
    ) -> napi::Result<Promised<'e>>
    where
        T: Send + 'static,
        A: IntoAnswer + Send + 'static,
        R: FnMut(&Connection) -> Result<T> + Send + 'static,
    {
        promise(env, Pending::Operation, || {
            let Prepared { run, bytes, deadline } = prepare()?;
            let memory = Arc::clone(&self.memory);
            let deadline = memory.deadline(deadline);
            Ok(move |reply: Reply<A>| {
                let reply = Reply::new(move |committed: Result<T>| reply.settle(committed.and_then(finish)));
                match memory.writer() {
                    Ok(writer) => writer.submit(Call::new(name, deadline, run, reply).bytes(bytes)),
                    Err(refusal) => reply.settle(Err(refusal)),
                }
            })
        })
    }
}

/// Reads on a reader thread of `memory`; `prepare` checks the arguments.
pub(in crate::js) fn read<'e, T, R>(
    memory: &Arc<Memory>,
    env: &'e Env,
    name: &'static str,
    prepare: impl FnOnce() -> Result<R>,
) -> napi::Result<Promised<'e>>
where
    T: IntoAnswer + Send + 'static,
    R: FnOnce(&Connection) -> Result<T> + Send + 'static,
{
    promise(env, Pending::Operation, || {
        let run = prepare()?;
        let memory = Arc::clone(memory);
        Ok(move |reply: Reply<T>| match memory.readers() {
            Ok(readers) => readers.call(name, run, reply),
            Err(refusal) => reply.settle(Err(refusal)),
        })
    })
}
