//! Class `RawMessage`: a message that comes in pieces, as a request body does.

use std::sync::{Arc, Mutex, PoisonError};

use napi::{Env, Unknown};
use napi_derive::napi;

use super::{
    arguments::Argument,
    call::{Pending, Promised, immediate, promise},
    queue_options::{RAW_OPTIONS, enqueue_options, message_shape},
};
use crate::{
    error::{Error, Result},
    memory::Memory,
    queue::{Enqueued, too_large},
    reply::Reply,
};

/// JSON text that is gathered in native memory while it comes in, and then enqueued: `memory.queue.raw(id)`. Each piece
/// is copied when it comes, so that even 50 MB never hold up the event loop at once.
#[napi]
pub struct RawMessage {
    memory: Arc<Memory>,
    session_id: i64,
    /// None once enqueued or disposed.
    body: Mutex<Option<Vec<u8>>>,
}

impl RawMessage {
    pub(super) const fn new(memory: Arc<Memory>, session_id: i64) -> Self {
        Self { memory, session_id, body: Mutex::new(Some(Vec::new())) }
    }

    fn take(&self) -> Result<Vec<u8>> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner).take().ok_or_else(gone)
    }
}

fn gone() -> Error {
    Error::disposed("raw message")
}

#[napi]
impl RawMessage {
    /// Row id of its session.
    #[napi(getter, ts_return_type = "number", catch_unwind)]
    pub fn session_db_id<'e>(&self, env: &'e Env) -> napi::Result<Unknown<'e>> {
        immediate(env, || Ok(self.session_id))
    }

    /// Adds a piece; its bytes are copied. Returns how many there are now. Throws `ERR_QUEUE_FULL` beyond
    /// `maxMessageBytes`, `ERR_DISPOSED` once it was enqueued or disposed.
    #[napi(ts_args_type = "piece: Uint8Array", ts_return_type = "number", catch_unwind)]
    pub fn append<'e>(&self, env: &'e Env, piece: Unknown<'e>) -> napi::Result<Unknown<'e>> {
        immediate(env, || {
            let piece = Argument::new("piece", &piece);
            let mut body = self.body.lock().unwrap_or_else(PoisonError::into_inner);
            let text = body.as_mut().ok_or_else(gone)?;
            let limit = self.memory.settings().bounds.message_bytes;
            piece.with_bytes(|bytes| {
                let size = text.len() + bytes.len();
                if size > limit {
                    return Err(too_large(self.session_id, size, limit));
                }
                text.extend_from_slice(bytes);
                i64::try_from(size).map_err(|_| Error::internal("a message is longer than memory"))
            })
        })
    }

    /// Enqueues what was gathered, as `enqueueRaw` does; afterwards this is disposed.
    #[napi(
        ts_args_type = "options?: EnqueueRawOptions | null",
        ts_return_type = "Promise<EnqueueResult>",
        catch_unwind
    )]
    pub fn enqueue<'e>(&self, env: &'e Env, options: Unknown<'e>) -> napi::Result<Promised<'e>> {
        promise(env, Pending::Operation, || {
            let given = Argument::new("options", &options).options(&RAW_OPTIONS)?;
            let (options, shape) = (enqueue_options(&given)?, message_shape(&given)?);
            let queue = Arc::clone(self.memory.queues()?);
            let (session, body) = (self.session_id, self.take()?);
            Ok(move |reply: Reply<Enqueued>| queue.enqueue_raw(session, body, shape, options, reply))
        })
    }

    /// Frees what was gathered. Twice without harm.
    #[napi(ts_return_type = "void", catch_unwind)]
    pub fn dispose<'e>(&self, env: &'e Env) -> napi::Result<Unknown<'e>> {
        immediate(env, || {
            drop(self.take());
            Ok(())
        })
    }

    /// As `dispose()`.
    #[napi(well_known_symbol = "dispose", ts_return_type = "void", catch_unwind)]
    pub fn symbol_dispose<'e>(&self, env: &'e Env) -> napi::Result<Unknown<'e>> {
        self.dispose(env)
    }
}
