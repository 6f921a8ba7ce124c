//! The N-API surface: one file a class; argument checks, rows to objects; no SQL, no threads.
//!
//! # The crossing
//! - [`call`]: the two shapes of every method, [`call::promise`] and [`call::immediate`].
//! - [`arguments`]: decodes what JavaScript gives; `fields`: its objects; `place`, `suggestion`: what errors say of it.
//! - [`answer`]: what it gets back.
//! - `completions`: the port by which promises are settled; `pace`: for which of them the JS thread stays awake; `building`, `row_factory`, `values`: how answers become
//!   JavaScript values; `errors`: how errors do.
//! - [`environment`]: what is kept for each JavaScript environment, and what happens when one is torn down.
//!
//! # How a class is written
//! ```ignore
//! /// The tables of claude-mem, as promises.          (doc comments become index.d.ts)
//! #[napi]
//! pub struct Store {
//!     core: Arc<crate::memory::Core>,
//! }
//!
//! #[napi]
//! impl Store {
//!     /// The session with this id, or null.
//!     #[napi(ts_args_type = "id: number", ts_return_type = "Promise<SessionRow | null>", catch_unwind)]
//!     pub fn get_session_by_id<'e>(&self, env: &'e Env, id: Unknown<'e>) -> napi::Result<Promised<'e>> {
//!         promise(env, Pending::Operation, || {
//!             let id = Argument::new("id", &id).id()?;
//!             let core = self.core.open()?;                       // ERR_DISPOSED
//!             Ok(move |reply: Reply<Answer>| core.session_by_id(id, reply))
//!         })
//!     }
//! }
//! ```
//! - Every `#[napi]` function has `catch_unwind`, takes its arguments as [`napi::Unknown`] (a wrong type is then
//!   rejected with `ERR_INVALID_ARG`, not with napi's own error) and does all its work inside `promise` or
//!   `immediate`: what panics there becomes `ERR_INTERNAL` of that call.
//! - Names in JavaScript are camelCase by themselves; acronyms need `js_name = "createSDKSession"`.
//! - `#[napi]` accessors (`getter`) return `immediate(env, || …)` as well.
//! - A reply settles from any thread, also at once on the JS thread. Its type needs [`answer::IntoAnswer`]: numbers,
//!   strings, `Rows`, `Option`, `Vec` and [`answer::Answer`] have it; a struct gets it from
//!   [`object_answer!`](crate::object_answer), an instance of another class from [`answer::Answer::instance`].
//!
//! # Types
//! `index.d.ts` is generated. For the shapes of rows and options it has structs that stand beside the class, and exist
//! for this purpose only (rows themselves are built from their column names):
//! ```ignore
//! /// A session, as `sdk_sessions` has it.
//! #[napi(object, object_from_js = false, use_nullable = true)]   // Option<T> is `T | null`
//! pub struct SessionRow {
//!     /// Row id.
//!     pub id: i64,
//!     /// When it began, epoch ms.
//!     #[napi(js_name = "created_at_epoch")]                       // the default is camelCase
//!     pub created_at_epoch: i64,
//!     /// What has become of it.
//!     #[napi(ts_type = "'active' | 'completed' | 'failed'")]
//!     pub status: String,
//! }
//! /// Options of `openMemory`.
//! #[napi(object, object_to_js = false)]                          // Option<T> is `name?: T`
//! pub struct OpenOptions {
//!     /// How long to wait for another owner, ms. Default 10,000.
//!     pub lock_wait_ms: Option<f64>,
//! }
//! ```
//! Getters take a `ts_return_type` as well. Well-known symbols come out as `[globalThis.Symbol.asyncDispose]()`; a class
//! with `next()` and `[Symbol.asyncIterator](): this` is an `AsyncIterable` to TypeScript.
//!
//! # Handles
//! A class that holds something open keeps its core object as `Mutex<Option<Arc<Core>>>`, or asks the core object itself
//! whether it is still open. Then:
//! - `dispose()` takes the core object out and closes it; a second call finds nothing and is fine. Every other method
//!   finds nothing and answers `ERR_DISPOSED` through [`crate::error::Error::disposed`].
//! - The well-known symbols are methods of their own: `#[napi(well_known_symbol = "dispose", catch_unwind)]`, and
//!   `"asyncDispose"` for what closes with a promise. `"asyncIterator"` returns `this.object.to_unknown()`. Node 20.16
//!   has all of them.
//! - A part such as `memory.store` is a getter that calls [`call::part`]: made once a handle, the same object ever after.
//! - Rust's `Drop` runs in the garbage collector's finalizer: there nothing is sent, joined or waited for. It sets a
//!   flag that the owning thread sees, or drops a channel's sender.
//! - What has threads implements [`environment::Teardown`] and is given to [`environment::watch`], which holds it weakly:
//!   Node tells it when the environment goes away. An object that came into being on another thread is watched where it
//!   becomes an instance, by [`answer::Answer::watched`].

pub mod answer;
pub mod arguments;
pub mod batch;
mod building;
pub mod call;
pub mod collection;
pub mod collections;
pub mod compact;
mod completions;
pub mod consumer;
pub mod dead_letters;
pub mod deletion;
pub mod environment;
mod errors;
mod fields;
pub mod files;
mod float_array;
pub mod health;
pub mod job;
pub mod memory;
pub mod open_options;
mod pace;
pub mod packaging;
pub mod pages;
pub mod peek;
mod place;
mod port;
pub mod portable;
pub mod queue;
pub mod queue_options;
pub mod raw_message;
mod row_factory;
pub mod search;
pub mod sessions;
pub mod store;
mod suggestion;
pub mod takeover;
mod values;
pub mod vectors;

#[cfg(feature = "fault-injection")]
pub mod crossing_probe;
#[cfg(feature = "fault-injection")]
pub mod wall_clock;
