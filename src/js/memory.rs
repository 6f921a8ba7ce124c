//! `openMemory` and class `Memory`.

use std::{
    cell::OnceCell,
    sync::Arc,
    time::{Duration, Instant},
};

use napi::{Env, Unknown, bindgen_prelude::Reference};
use napi_derive::napi;

use super::{
    answer::Answer,
    arguments::Argument,
    call::{Pending, Promised, immediate, promise},
    environment::{Environment, Teardown, watch},
    health, open_options, packaging,
    pages::Pages,
    queue::Queue,
    search::Search,
    sessions::Sessions,
    store::Store,
    vectors::Vectors,
};
use crate::{
    db::activity::Activity,
    error::{Error, Result},
    memory,
    reply::Reply,
};

/// How long an environment that goes away waits for what is being written.
const TEARDOWN: Duration = Duration::from_secs(2);

/// Opens a data directory: brings the database up to claude-mem 6.0.2's schema, takes the owner lock, recovers the
/// queues. Nothing of it runs on the JS thread. With `role: 'client'` it only looks at the database, and opens it
/// when it is first needed.
///
/// Rejects with `ERR_LOCKED` where another process or handle owns the directory (the message names it),
/// `ERR_SCHEMA_UNSUPPORTED` where a claude-mem that this engine does not know has made the database (which is left
/// as it was), `ERR_CORRUPT`, `ERR_IO`, `ERR_DISK_FULL`, `ERR_BUSY`, and `ERR_INVALID_ARG` for an option that is
/// unknown or out of its range. Where no binary of this module can be loaded, `require` and `import` succeed all the
/// same, and this rejects with `ERR_NATIVE_BINDING`: a `NativeBindingError`, which says what was tried and what helps.
#[napi(ts_args_type = "options?: OpenOptions | null", ts_return_type = "Promise<Memory>", catch_unwind)]
pub fn open_memory<'e>(env: &'e Env, options: Unknown<'e>) -> napi::Result<Promised<'e>> {
    promise(env, Pending::Operation, || {
        let mut settings = open_options::settings(&Argument::new("options", &options))?;
        settings.model.packaged = packaging::models(env);
        let activity = Arc::new(Activity::default());
        // Before its memory: what is told to end first is waited for last.
        Environment::of(env)?.watch(&(Arc::clone(&activity) as Arc<dyn Teardown>));
        Ok(move |reply: Reply<Answer>| {
            memory::Memory::open(
                settings,
                activity,
                Reply::new(move |opened: Result<Arc<memory::Memory>>| {
                    reply.settle(opened.map(|core| Answer::Made(Box::new(move |env| Memory::make(env, core)))));
                }),
            );
        })
    })
}

/// One open data directory: the tables, the queues and the sessions, until `dispose()`.
#[napi]
pub struct Memory {
    pub(super) core: Arc<memory::Memory>,
    store: OnceCell<Reference<Store>>,
    pages: OnceCell<Reference<Pages>>,
    queue: OnceCell<Reference<Queue>>,
    sessions: OnceCell<Reference<Sessions>>,
    search: OnceCell<Reference<Search>>,
    vectors: OnceCell<Reference<Vectors>>,
}

impl Teardown for memory::Memory {
    fn teardown(&self) {
        // Whatever takes longer ends with its thread; what was acknowledged is safe either way.
        self.dispose_here(TEARDOWN);
    }
}

/// A memory that is still opening, is being disposed, or was only garbage-collected has threads that nobody joins.
/// Each of them keeps this alive.
impl Teardown for Activity {
    fn teardown(&self) {
        self.wait_until_ended(Instant::now() + TEARDOWN);
    }
}

/// The part of a memory that `cell` keeps: one JavaScript object, made when it is first asked for.
fn part<T: napi::bindgen_prelude::JavaScriptClassExt + 'static>(
    env: &Env,
    cell: &OnceCell<Reference<T>>,
    make: impl FnOnce() -> T,
) -> napi::Result<Reference<T>> {
    match cell.get() {
        Some(known) => known.clone(*env),
        None => {
            let made = make().into_reference(*env)?;
            let answer = made.clone(*env)?;
            drop(cell.set(made));
            Ok(answer)
        }
    }
}

#[napi]
impl Memory {
    /// The data directory, absolute.
    #[napi(getter, ts_return_type = "string", catch_unwind)]
    pub fn data_dir<'e>(&self, env: &'e Env) -> napi::Result<Unknown<'e>> {
        immediate(env, || Ok(self.core.settings().data_dir.display().to_string()))
    }

    /// What this memory is to its data directory.
    #[napi(getter, ts_return_type = "'owner' | 'client'", catch_unwind)]
    pub fn role<'e>(&self, env: &'e Env) -> napi::Result<Unknown<'e>> {
        immediate(env, || Ok(self.core.settings().role.as_str().to_owned()))
    }

    /// The tables, and full-text search in them; its calls answer `ERR_NOT_OPEN` without the part `'store'`.
    #[napi(getter)]
    pub fn store(&self, env: &Env) -> napi::Result<Reference<Store>> {
        part(env, &self.store, || Store::new(Arc::clone(&self.core)))
    }

    /// The viewer's lists; its calls answer `ERR_NOT_OPEN` without the part `'store'`.
    #[napi(getter)]
    pub fn pages(&self, env: &Env) -> napi::Result<Reference<Pages>> {
        part(env, &self.pages, || Pages::new(Arc::clone(&self.core)))
    }

    /// The durable queues; its calls answer `ERR_NOT_OPEN` without the part `'queue'`.
    #[napi(getter)]
    pub fn queue(&self, env: &Env) -> napi::Result<Reference<Queue>> {
        part(env, &self.queue, || Queue::new(Arc::clone(&self.core)))
    }

    /// The active sessions; its calls answer `ERR_NOT_OPEN` without the part `'queue'`.
    #[napi(getter)]
    pub fn sessions(&self, env: &Env) -> napi::Result<Reference<Sessions>> {
        part(env, &self.sessions, || Sessions::new(Arc::clone(&self.core)))
    }

    /// Search by words and by meaning; its calls answer `ERR_NOT_OPEN` without the parts `'store'` and `'vectors'`.
    #[napi(getter)]
    pub fn search(&self, env: &Env) -> napi::Result<Reference<Search>> {
        part(env, &self.search, || Search::new(Arc::clone(&self.core)))
    }

    /// The documents and vectors of the tables; its calls answer `ERR_NOT_OPEN` without the parts `'store'` and `'vectors'`.
    #[napi(getter)]
    pub fn vectors(&self, env: &Env) -> napi::Result<Reference<Vectors>> {
        part(env, &self.vectors, || Vectors::new(Arc::clone(&self.core)))
    }

    /// How this memory does: one object that a `/health` route can send as it is. Waits for no disk and no lock;
    /// figures from disk are sampled and carry their age.
    #[napi(ts_return_type = "Promise<Health>", catch_unwind)]
    pub fn health<'e>(&self, env: &'e Env) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            if self.core.is_disposed() {
                return Err(Error::disposed("memory"));
            }
            let report = health::report(env, &self.core);
            Ok(move |reply: Reply<Answer>| reply.settle(report.map(health::answer)))
        })
    }

    /// Ends every consumer, lets commits finish, closes the files and gives the directory up. Afterwards every
    /// call rejects with `ERR_DISPOSED`. Twice without harm.
    #[napi(ts_return_type = "Promise<void>", catch_unwind)]
    pub fn dispose<'e>(&self, env: &'e Env) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            let core = Arc::clone(&self.core);
            Ok(move |reply: Reply<()>| core.dispose(reply))
        })
    }

    /// As `dispose()`: `await using memory = await openMemory()`.
    #[napi(well_known_symbol = "asyncDispose", ts_return_type = "Promise<void>", catch_unwind)]
    pub fn async_dispose<'e>(&self, env: &'e Env) -> napi::Result<Promised<'e>> {
        self.dispose(env)
    }
}

impl Memory {
    /// The instance, on the JS thread.
    fn make(env: &Env, core: Arc<memory::Memory>) -> napi::Result<napi::sys::napi_value> {
        let target: Arc<dyn Teardown> = Arc::clone(&core) as _;
        watch(env, &target)?;
        let memory = Self {
            core,
            store: OnceCell::new(),
            pages: OnceCell::new(),
            queue: OnceCell::new(),
            sessions: OnceCell::new(),
            search: OnceCell::new(),
            vectors: OnceCell::new(),
        };
        // SAFETY: called on the JS thread, with the environment that the instance will belong to.
        unsafe { napi::bindgen_prelude::ToNapiValue::to_napi_value(env.raw(), memory) }
    }
}
