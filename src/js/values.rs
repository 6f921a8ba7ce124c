//! Plain N-API calls on JavaScript values, each with its status checked.
//!
//! A [`Scope`] is the proof that the code runs on the JS thread of a live environment, inside a handle scope
//! that Node or this layer has opened. Handles that come out of it are good until that scope closes.

use std::{ffi::CStr, ptr};

use napi::sys;

use crate::error::{Error, Result};

/// Turns a status into an error that says what N-API could not do.
pub(super) fn check(status: sys::napi_status, what: &str) -> Result<()> {
    if status == sys::Status::napi_ok {
        Ok(())
    } else {
        Err(Error::internal(format!("Node could not {what}: {:?}", napi::Status::from(status))))
    }
}

/// One N-API function that makes a handle.
macro_rules! make {
    ($scope:expr, $what:literal, $function:ident($($argument:expr),*)) => {{
        let mut value = std::ptr::null_mut();
        // SAFETY: a `Scope` is the proof of a live environment on its own thread; the other arguments are handles
        // of its open handle scope, or slices that outlive the call.
        let status = unsafe { napi::sys::$function($scope.env(), $($argument,)* &raw mut value) };
        $crate::js::values::check(status, $what).map(|()| value)
    }};
}
pub(super) use make;

/// The JS thread of one live environment, within an open handle scope.
#[derive(Clone, Copy)]
pub(super) struct Scope {
    env: sys::napi_env,
}

impl Scope {
    /// # Safety
    /// `env` must be alive, this must be its thread, and a handle scope must be open for as long as the value
    /// and the handles made with it are used.
    pub(super) const unsafe fn new(env: sys::napi_env) -> Self {
        Self { env }
    }

    pub(super) const fn env(self) -> sys::napi_env {
        self.env
    }

    pub(super) fn undefined(self) -> Result<sys::napi_value> {
        make!(self, "get undefined", napi_get_undefined())
    }

    pub(super) fn null(self) -> Result<sys::napi_value> {
        make!(self, "get null", napi_get_null())
    }

    pub(super) fn boolean(self, value: bool) -> Result<sys::napi_value> {
        make!(self, "get a boolean", napi_get_boolean(value))
    }

    pub(super) fn number(self, value: f64) -> Result<sys::napi_value> {
        make!(self, "create a number", napi_create_double(value))
    }

    /// An integer; beyond ±2^53 JavaScript sees the nearest double.
    pub(super) fn integer(self, value: i64) -> Result<sys::napi_value> {
        match i32::try_from(value) {
            Ok(small) => make!(self, "create a number", napi_create_int32(small)),
            Err(_) => make!(self, "create a number", napi_create_int64(value)),
        }
    }

    /// A string; the bytes are copied.
    pub(super) fn string(self, text: &str) -> Result<sys::napi_value> {
        let length = isize::try_from(text.len()).map_err(|_| Error::internal("a text is longer than memory"))?;
        // ASCII is Latin-1: V8 copies it instead of decoding it.
        if text.is_ascii() {
            make!(self, "create a string", napi_create_string_latin1(text.as_ptr().cast(), length))
        } else {
            make!(self, "create a string", napi_create_string_utf8(text.as_ptr().cast(), length))
        }
    }

    /// A `Buffer` with these bytes, one part after the other; its memory is not on the JavaScript heap.
    pub(super) fn buffer(self, parts: &[&[u8]]) -> Result<sys::napi_value> {
        let length = parts.iter().map(|part| part.len()).sum();
        let mut data = ptr::null_mut();
        let buffer = make!(self, "create a buffer", napi_create_buffer(length, &raw mut data))?;
        let mut to = data.cast::<u8>();
        for part in parts.iter().filter(|part| !part.is_empty()) {
            // SAFETY: the new buffer has room for all parts, nobody else knows it yet, and `to` stays within it.
            unsafe {
                ptr::copy_nonoverlapping(part.as_ptr(), to, part.len());
                to = to.add(part.len());
            }
        }
        Ok(buffer)
    }

    pub(super) fn array(self, length: usize) -> Result<sys::napi_value> {
        make!(self, "create an array", napi_create_array_with_length(length))
    }

    pub(super) fn set_element(self, array: sys::napi_value, index: usize, value: sys::napi_value) -> Result<()> {
        let index = u32::try_from(index).map_err(|_| Error::internal("an array has more than 2^32 elements"))?;
        // SAFETY: both handles belong to this scope.
        check(unsafe { sys::napi_set_element(self.env, array, index, value) }, "set an array element")
    }

    pub(super) fn set_property(self, object: sys::napi_value, key: &str, value: sys::napi_value) -> Result<()> {
        let key = self.string(key)?;
        // SAFETY: the handles belong to this scope.
        check(unsafe { sys::napi_set_property(self.env, object, key, value) }, "set a property")
    }

    pub(super) fn get_property(self, object: sys::napi_value, key: &str) -> Result<sys::napi_value> {
        let key = self.string(key)?;
        make!(self, "read a property", napi_get_property(object, key))
    }

    /// Defines an enumerable property that nobody can change.
    pub(super) fn define_member(self, object: sys::napi_value, name: &CStr, value: sys::napi_value) -> Result<()> {
        let member = sys::napi_property_descriptor {
            utf8name: name.as_ptr(),
            name: ptr::null_mut(),
            method: None,
            getter: None,
            setter: None,
            value,
            attributes: sys::PropertyAttributes::enumerable,
            data: ptr::null_mut(),
        };
        // SAFETY: the handles belong to this scope, and the descriptor outlives the call.
        let status = unsafe { sys::napi_define_properties(self.env, object, 1, &raw const member) };
        check(status, "define a property")
    }

    /// Calls `function` with `undefined` as `this`.
    pub(super) fn call(self, function: sys::napi_value, arguments: &[sys::napi_value]) -> Result<sys::napi_value> {
        let this = self.undefined()?;
        make!(self, "call a function", napi_call_function(this, function, arguments.len(), arguments.as_ptr()))
    }

    /// The text of a JavaScript string.
    pub(super) fn read_string(self, value: sys::napi_value) -> Result<String> {
        // Most texts are short: one call, one copy. A last character can need up to four bytes, so what ends
        // earlier was not cut.
        const SHORT: usize = 512;
        let mut short = [0_u8; SHORT];
        let mut written = 0;
        // SAFETY: the handle belongs to the scope, and the buffer is as long as said.
        let status = unsafe {
            sys::napi_get_value_string_utf8(self.env, value, short.as_mut_ptr().cast(), SHORT, &raw mut written)
        };
        check(status, "read a string")?;
        if written < SHORT - 4 {
            return Ok(String::from_utf8_lossy(&short[..written]).into_owned());
        }
        let mut length = 0;
        // SAFETY: without a buffer the call only measures.
        let status = unsafe { sys::napi_get_value_string_utf8(self.env, value, ptr::null_mut(), 0, &raw mut length) };
        check(status, "measure a string")?;
        // With room for the NUL that N-API writes.
        let mut bytes = vec![0_u8; length + 1];
        // SAFETY: the buffer is as long as said.
        let status = unsafe {
            sys::napi_get_value_string_utf8(self.env, value, bytes.as_mut_ptr().cast(), bytes.len(), &raw mut written)
        };
        check(status, "read a string")?;
        bytes.truncate(written);
        // V8 has already written U+FFFD for lone surrogates; this keeps the promise whatever it writes.
        Ok(String::from_utf8(bytes).unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned()))
    }

    /// Evaluates `source` as a script. Unlike `new Function` this works under
    /// `--disallow-code-generation-from-strings`.
    pub(super) fn run_script(self, source: &str) -> Result<sys::napi_value> {
        let source = self.string(source)?;
        make!(self, "compile a script", napi_run_script(source))
    }

    /// Takes away the exception that a failed call left pending, so that the next call can work.
    pub(super) fn take_exception(self) -> Option<sys::napi_value> {
        let mut pending = false;
        // SAFETY: the scope's environment is alive, and both calls may be made with an exception pending.
        unsafe {
            sys::napi_is_exception_pending(self.env, &raw mut pending);
            if !pending {
                return None;
            }
            let mut exception = ptr::null_mut();
            (sys::napi_get_and_clear_last_exception(self.env, &raw mut exception) == sys::Status::napi_ok)
                .then_some(exception)
        }
    }

    /// Runs `work` in a handle scope of its own, so that its handles do not pile up in the outer one.
    pub(super) fn nested<T>(self, work: impl FnOnce(Self) -> T) -> Result<T> {
        let mut scope = ptr::null_mut();
        // SAFETY: the environment is alive; the scope is closed below, in order.
        check(unsafe { sys::napi_open_handle_scope(self.env, &raw mut scope) }, "open a handle scope")?;
        // Closed on unwinding too: scopes must nest.
        let _closer = Closer { env: self.env, scope };
        Ok(work(self))
    }
}

struct Closer {
    env: sys::napi_env,
    scope: sys::napi_handle_scope,
}

impl Drop for Closer {
    fn drop(&mut self) {
        // SAFETY: opened by `Scope::nested` on this thread, and the innermost scope again by now.
        unsafe { sys::napi_close_handle_scope(self.env, self.scope) };
    }
}

/// Keeps a JavaScript object alive beyond its handle scope. Only ever used on the JS thread.
pub(super) struct Reference {
    env: sys::napi_env,
    raw: sys::napi_ref,
}

impl Reference {
    pub(super) fn new(scope: Scope, value: sys::napi_value) -> Result<Self> {
        let mut raw = ptr::null_mut();
        // SAFETY: the handle belongs to the scope.
        check(unsafe { sys::napi_create_reference(scope.env, value, 1, &raw mut raw) }, "keep a value alive")?;
        Ok(Self { env: scope.env, raw })
    }

    /// A handle of the object in `scope`.
    pub(super) fn get(&self, scope: Scope) -> Result<sys::napi_value> {
        make!(scope, "find a value again", napi_get_reference_value(self.raw))
    }
}

impl Drop for Reference {
    fn drop(&mut self) {
        // SAFETY: references live only in the state of their environment, which is emptied on the JS thread by
        // the cleanup hook while the environment is still alive.
        unsafe { sys::napi_delete_reference(self.env, self.raw) };
    }
}
