//! A hidden function that sets the wall clock of this process wrong; compiled only into the test build.

use napi::{Env, Unknown};
use napi_derive::napi;

use super::{
    arguments::{Argument, MAX_SAFE_INTEGER},
    call::immediate,
};
use crate::fault;

/// Sets the engine's wall clock wrong by `ms`, which may be negative. Test build only.
#[napi(catch_unwind)]
pub fn set_wall_clock_offset<'e>(env: &'e Env, ms: Unknown<'e>) -> napi::Result<Unknown<'e>> {
    immediate(env, || {
        fault::set_wall_clock_offset(Argument::new("ms", &ms).integer(-MAX_SAFE_INTEGER..=MAX_SAFE_INTEGER, "ms")?);
        Ok(())
    })
}
