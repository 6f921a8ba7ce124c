//! The two shapes of every method: one that promises and one that answers at once.

use std::{
    ffi::CStr,
    panic::{AssertUnwindSafe, Location, catch_unwind},
};

use napi::{
    Env, Unknown,
    bindgen_prelude::{FromNapiValue, JsValue, PromiseRaw, This},
};

use super::{
    answer::IntoAnswer,
    building::{self, Built},
    environment::Environment,
    errors::{caught, exception_text, from_napi, raw_of, thrown},
    values::Scope,
};
use crate::{
    error::{Code, Error, Result},
    reply::Reply,
};

pub use super::completions::Pending;

/// What a method that promises returns; its real type is in the method's `ts_return_type`.
pub type Promised<'e> = PromiseRaw<'e, ()>;

/// A promise for what the core replies.
///
/// `prepare` checks the arguments and the handle, and returns what starts the operation. Where it fails or
/// panics, nothing was started and the promise is rejected: an asynchronous method never throws. What it
/// returns is given the reply that settles the promise, from whichever thread.
///
/// ```ignore
/// promise(env, Pending::Operation, || {
///     let id = Argument::new("id", &id).id()?;
///     let core = self.core()?;
///     Ok(move |reply| core.session_by_id(id, reply))
/// })
/// ```
///
/// # Errors
/// Only where the environment is being torn down, so that there is nobody to promise anything to.
#[track_caller]
pub fn promise<'e, T, S>(
    env: &'e Env,
    pending: Pending,
    prepare: impl FnOnce() -> Result<S>,
) -> napi::Result<Promised<'e>>
where
    T: IntoAnswer,
    S: FnOnce(Reply<T>),
{
    // Not within a closure: there it would be the closure's own.
    let place = Location::caller();
    let prepared = caught("checking the arguments", prepare);
    // SAFETY: `env` is alive on this thread, and the call that we serve has a handle scope.
    let scope = unsafe { Scope::new(env.raw()) };
    let completions = Environment::of(env).map_err(|error| thrown(env, &error))?.completions();
    let promise = match prepared {
        Ok(start) => completions.promise(scope, pending, place, |reply| {
            // A panic drops the reply, which then settles with ERR_INTERNAL.
            drop(catch_unwind(AssertUnwindSafe(|| start(reply))));
        }),
        Err(error) => completions.rejected(scope, &error),
    };
    promise.map(|promise| PromiseRaw::new(env.raw(), promise)).map_err(|error| thrown(env, &error))
}

/// An answer at once; an error or a panic is thrown. For what is in native memory: nothing that can touch a
/// disk or wait for a lock.
///
/// # Errors
/// What `answer` fails with, as an `Error` object that napi-rs throws.
pub fn immediate<'e, T: IntoAnswer>(env: &'e Env, answer: impl FnOnce() -> Result<T>) -> napi::Result<Unknown<'e>> {
    immediate_value(env, |scope| {
        let answer = answer()?.into_answer();
        match building::begin(scope, Environment::of(env)?, answer, None)? {
            Built::Whole(value) => Ok(value),
            Built::Partly(_) => Err(Error::internal("an answer without a deadline was not whole")),
        }
    })
}

/// As [`immediate`], for an answer that is a handle made in the scope of this call.
///
/// # Errors
/// Those of [`immediate`].
pub(super) fn immediate_value<'e>(
    env: &'e Env,
    make: impl FnOnce(Scope) -> Result<napi::sys::napi_value>,
) -> napi::Result<Unknown<'e>> {
    // SAFETY: `env` is alive on this thread, and the call that we serve has a handle scope.
    let scope = unsafe { Scope::new(env.raw()) };
    let made = caught("the call", || make(scope));
    // It may have ended what somebody waits for.
    if let Ok(environment) = Environment::of(env) {
        environment.completions().hold();
    }
    match made {
        // SAFETY: the handle was made in the scope of this call.
        Ok(value) => unsafe { Unknown::from_napi_value(env.raw(), value) },
        Err(error) => Err(thrown(env, &with_exception(scope, error))),
    }
}

/// A part of a handle, such as `memory.store`: made when it is first asked for, the same one ever after. The getter
/// that calls this is found on the prototype once; from then on the handle has a read-only property of its own.
///
/// # Errors
/// What `part` fails with, thrown.
pub fn part<'e, T: IntoAnswer>(
    env: &'e Env,
    this: &This<'e>,
    name: &'static CStr,
    part: impl FnOnce() -> Result<T>,
) -> napi::Result<Unknown<'e>> {
    let value = immediate(env, part)?;
    let (_, raw) = raw_of(&value);
    // SAFETY: `env` is alive on this thread, and the call that we serve has a handle scope.
    let scope = unsafe { Scope::new(env.raw()) };
    scope.define_member(this.object.raw(), name, raw).map_err(|error| thrown(env, &with_exception(scope, error)))?;
    Ok(value)
}

/// The error, with the text of a JavaScript exception that its failure has left pending; that is taken away, as
/// N-API refuses to work before.
pub(super) fn with_exception(scope: Scope, error: Error) -> Error {
    match scope.take_exception().and_then(|exception| exception_text(scope, exception)) {
        Some(text) if error.code == Code::Internal => Error::internal(format!("{}: {text}", error.message)),
        _ => error,
    }
}

/// For a napi-rs call within `prepare` or `answer`.
///
/// # Errors
/// `ERR_INTERNAL` with what napi-rs says.
pub fn checked<T>(result: napi::Result<T>) -> Result<T> {
    result.map_err(|error| from_napi(&error))
}
