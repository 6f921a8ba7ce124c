//! Errors of the core as JavaScript `Error` objects.

use std::panic::{AssertUnwindSafe, catch_unwind};

use napi::{
    Env, Unknown,
    bindgen_prelude::{FromNapiValue, JsValue},
    sys,
};

use super::values::{Scope, make};
use crate::error::{Detail, Error, Result};

/// An `Error` object with `code`, `message` and the figures as properties of their own.
pub(super) fn to_js(scope: Scope, error: &Error) -> Result<sys::napi_value> {
    let code = scope.string(error.code.as_str())?;
    let message = scope.string(&error.message)?;
    let object = make!(scope, "create an error", napi_create_error(code, message))?;
    for (name, detail) in &error.details {
        let value = match detail {
            Detail::Number(number) => scope.number(*number)?,
            Detail::Text(text) => scope.string(text)?,
        };
        scope.set_property(object, name, value)?;
    }
    Ok(object)
}

/// What napi-rs itself reports, as an error of this module.
pub(super) fn from_napi(error: &napi::Error) -> Error {
    Error::internal(format!("Node refused: {} ({})", error.reason, error.status))
}

/// The error that a `#[napi]` function returns so that the `Error` object of [`to_js`] is thrown.
pub(super) fn thrown(env: &Env, error: &Error) -> napi::Error {
    // SAFETY: `env` is a live environment of this thread, within the scope of the call it is serving.
    let scope = unsafe { Scope::new(env.raw()) };
    let made = to_js(scope, error)
        // SAFETY: the handle was made in the same scope.
        .and_then(|object| unsafe { Unknown::from_napi_value(env.raw(), object) }.map_err(|error| from_napi(&error)));
    match made {
        Ok(object) => object.into(),
        Err(_) => napi::Error::from_reason(error.to_string()),
    }
}

/// The message of an exception that JavaScript threw into this layer, taken without running its code where it
/// is no `Error`.
pub(super) fn exception_text(scope: Scope, exception: sys::napi_value) -> Option<String> {
    let mut is_error = false;
    // SAFETY: the handle belongs to the scope.
    unsafe { sys::napi_is_error(scope.env(), exception, &raw mut is_error) };
    let text = if is_error { scope.get_property(exception, "message").ok()? } else { exception };
    scope.read_string(text).ok()
}

/// Runs `work`; a panic in it becomes `ERR_INTERNAL`.
pub(super) fn caught<T>(operation: &str, work: impl FnOnce() -> Result<T>) -> Result<T> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|payload| Err(Error::from_panic(operation, &*payload)))
}

/// The raw handle of an argument.
pub(super) fn raw_of(value: &Unknown<'_>) -> (sys::napi_env, sys::napi_value) {
    let value = value.value();
    (value.env, value.value)
}
